//! Workload: what a build produced, for a component to deploy.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::schema;

/// What a build produced, for a component to deploy.
#[derive(CustomResource, Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "openchoreo.dev",
    version = "v1alpha1",
    kind = "Workload",
    namespaced,
    status = "WorkloadStatus",
    derive = "PartialEq",
    doc = "Workload is what a build produced, for a component to deploy.",
    category = "openchoreo",
    printcolumn = r#"{"name": "Project", "type": "string", "jsonPath": ".spec.owner.projectName"}"#,
    printcolumn = r#"{"name": "Component", "type": "string", "jsonPath": ".spec.owner.componentName"}"#,
    printcolumn = r#"{"name": "Image", "type": "string", "jsonPath": ".spec.container.image", "priority": 1}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadSpec {
    /// The component that it belongs to.
    #[x_kube(validation = Rule::new("self == oldSelf").message("the owner of a Workload cannot be changed"))]
    pub owner: WorkloadOwner,
    /// What runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<WorkloadContainer>,
    /// Where it listens, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object")]
    pub endpoints: Option<schema::Object>,
    /// What it calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "connections")]
    pub connections: Option<Value>,
}

fn connections(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    // A map by name upstream at first, a list later: both are kept as they are written.
    schemars::json_schema!({"x-kubernetes-preserve-unknown-fields": true})
}

/// The component that a Workload belongs to.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadOwner {
    /// Name of the project.
    #[schemars(length(min = 1, max = 253))]
    pub project_name: String,
    /// Name of the component.
    #[schemars(length(min = 1, max = 253))]
    pub component_name: String,
}

/// What runs.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadContainer {
    /// The image, best by digest.
    #[schemars(length(min = 1))]
    pub image: String,
    /// What is started in place of the image's entry point.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Its arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Its environment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::objects")]
    pub env: Vec<Value>,
    /// Files put beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::objects")]
    pub files: Vec<Value>,
}

/// What is known about a Workload.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadStatus {
    /// The state of the Workload.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Whatever other controllers keep there.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}
