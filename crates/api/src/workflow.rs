//! Workflow: a parameterized template of what a run starts on a build plane.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::PlaneKind;
use crate::schema::{self, Object};

/// A parameterized template of what a run starts on a build plane.
#[derive(CustomResource, Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "openchoreo.dev",
    version = "v1alpha1",
    kind = "Workflow",
    namespaced,
    status = "WorkflowStatus",
    derive = "PartialEq",
    doc = "Workflow is a parameterized template of what a WorkflowRun starts on a build plane.",
    category = "openchoreo",
    printcolumn = r#"{"name": "Plane", "type": "string", "jsonPath": ".spec.buildPlaneRef.name"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowSpec {
    /// Where runs go. Default: BuildPlane `default` of the namespace, else ClusterBuildPlane `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_plane_ref: Option<BuildPlaneRef>,
    /// The parameters of a run, in shorthand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<ParameterSchema>,
    /// The manifest of what runs, an Argo Workflow, with `${…}` expressions.
    #[schemars(schema_with = "schema::object")]
    pub run_template: Object,
    /// Further objects that a run needs on the build plane.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]))]
    #[schemars(length(max = 64))]
    pub resources: Vec<ResourceTemplate>,
    /// Objects of the control plane that the templates read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]))]
    #[schemars(length(max = 64))]
    pub external_refs: Vec<ExternalRef>,
    /// How long a run is kept after its end, such as `1d12h`. Default: for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = r"^(\d+d)?(\d+h)?(\d+m)?(\d+s)?$"))]
    pub ttl_after_completion: Option<String>,
}

/// Names the plane that runs of a Workflow go to.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct BuildPlaneRef {
    /// Kind of the plane.
    pub kind: BuildPlaneRefKind,
    /// Name of the plane.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
}

/// The kinds of plane that a Workflow may name.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildPlaneRefKind {
    /// A BuildPlane of the Workflow's namespace.
    BuildPlane,
    /// A ClusterBuildPlane.
    ClusterBuildPlane,
}

impl From<BuildPlaneRefKind> for PlaneKind {
    fn from(kind: BuildPlaneRefKind) -> Self {
        match kind {
            BuildPlaneRefKind::BuildPlane => Self::BuildPlane,
            BuildPlaneRefKind::ClusterBuildPlane => Self::ClusterBuildPlane,
        }
    }
}

/// The parameters of a run, in shorthand.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ParameterSchema {
    /// Named types that the parameters use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object")]
    pub types: Option<Object>,
    /// The parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object")]
    pub parameters: Option<Object>,
}

/// A further object that a run needs on the build plane.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ResourceTemplate {
    /// Names the entry within the Workflow.
    #[schemars(length(min = 1, max = 253))]
    pub id: String,
    /// `${…}` expression: whether the object is made. Default: it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_when: Option<String>,
    /// The manifest of the object, with `${…}` expressions.
    #[schemars(schema_with = "schema::object")]
    pub template: Object,
}

/// An object of the control plane that the templates read, as `externalRefs['<id>']`.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ExternalRef {
    /// Names the object in expressions.
    #[schemars(length(min = 2, max = 63), regex(pattern = "^[a-z][a-z0-9-]*[a-z0-9]$"))]
    pub id: String,
    /// Group and version of the object.
    #[schemars(length(min = 1, max = 253))]
    pub api_version: String,
    /// Kind of the object.
    pub kind: ExternalRefKind,
    /// Name of the object, possibly with `${…}` expressions. If it renders to nothing, there is no object.
    #[schemars(length(min = 1))]
    pub name: String,
}

/// The kinds of object that templates may read.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExternalRefKind {
    /// A SecretReference of the run's namespace.
    SecretReference,
}

/// What is known about a Workflow.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowStatus {
    /// The generation of the object that the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The state of the Workflow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
