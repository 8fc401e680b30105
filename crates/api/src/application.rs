//! Project and Component: as far as builds read them. Whatever else is written into them is kept.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::schema::{self, Object};

/// A group of components.
#[derive(CustomResource, Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "openchoreo.dev",
    version = "v1alpha1",
    kind = "Project",
    namespaced,
    status = "ApplicationStatus",
    derive = "PartialEq",
    doc = "Project is a group of components.",
    shortname = "proj",
    shortname = "projs",
    category = "openchoreo",
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ProjectSpec {
    /// How the project's components are promoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment_pipeline_ref: Option<String>,
    /// Fields that builds do not read.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// A deployable part of a project.
#[derive(CustomResource, Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "openchoreo.dev",
    version = "v1alpha1",
    kind = "Component",
    namespaced,
    status = "ApplicationStatus",
    derive = "PartialEq",
    doc = "Component is a deployable part of a project.",
    shortname = "comp",
    shortname = "comps",
    category = "openchoreo",
    printcolumn = r#"{"name": "Project", "type": "string", "jsonPath": ".spec.owner.projectName"}"#,
    printcolumn = r#"{"name": "ComponentType", "type": "string", "jsonPath": ".spec.componentType.name"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ComponentSpec {
    /// The project that it belongs to.
    #[x_kube(validation = Rule::new("self == oldSelf").message("the owner of a Component cannot be changed"))]
    pub owner: ComponentOwner,
    /// What kind of component it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component_type: Option<ComponentTypeRef>,
    /// Whether a push builds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_build: Option<bool>,
    /// Whether a build deploys it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_deploy: Option<bool>,
    /// How it is built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<ComponentWorkflow>,
    /// Fields that builds do not read.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// The project that a component belongs to.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ComponentOwner {
    /// Name of the project.
    #[schemars(length(min = 1, max = 253))]
    pub project_name: String,
}

/// Names the type of a component.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ComponentTypeRef {
    /// Kind of the type.
    #[serde(default)]
    pub kind: ComponentTypeKind,
    /// Name of the type: `<workload type>/<name>`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Kinds of component type.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ComponentTypeKind {
    /// One of the namespace.
    #[default]
    ComponentType,
    /// A cluster-scoped one.
    ClusterComponentType,
}

/// How a component is built: copied into the runs that it triggers.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ComponentWorkflow {
    /// A Workflow of the component's namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The parameters of its runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object")]
    pub parameters: Option<Object>,
}

/// The status of a Project or Component, which builds do not read.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
pub struct ApplicationStatus {
    /// The state of the object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Whatever else its controllers keep there.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}
