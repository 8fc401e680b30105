//! WorkflowRun: one run of a Workflow.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::conditions::run;
use crate::schema::{self, Object};

/// One run of a Workflow.
#[derive(CustomResource, Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "openchoreo.dev",
    version = "v1alpha1",
    kind = "WorkflowRun",
    namespaced,
    status = "WorkflowRunStatus",
    derive = "PartialEq",
    doc = "WorkflowRun is one run of a Workflow.",
    shortname = "wfr",
    category = "openchoreo",
    printcolumn = r#"{"name": "Workflow", "type": "string", "jsonPath": ".spec.workflow.name"}"#,
    printcolumn = r#"{"name": "Phase", "type": "string", "jsonPath": ".status.phase"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].reason", "priority": 1}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowRunSpec {
    /// What runs.
    pub workflow: WorkflowRunWorkflow,
    /// How long the run is kept after its end, such as `1d12h`. Default: the Workflow's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = r"^(\d+d)?(\d+h)?(\d+m)?(\d+s)?$"))]
    pub ttl_after_completion: Option<String>,
    /// Ends the run: what runs is terminated, what has not started never does.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancel: bool,
    /// Holds the run: what runs goes on, nothing further starts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

/// Names the Workflow and gives it parameters.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowRunWorkflow {
    /// A Workflow of the run's namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The parameters; what the Workflow's schema gives a default may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object")]
    pub parameters: Option<Object>,
}

/// What is known about a run.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowRunStatus {
    /// The generation of the object that the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where the run stands, in a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<RunPhase>,
    /// The state of the run, aspect by aspect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The plane that the run uses. Chosen once, so that later changes of references never clean up elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_plane: Option<RunPlane>,
    /// What runs on the build plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_reference: Option<ResourceReference>,
    /// The further objects of the run on the build plane, in the order they were made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Vec<ResourceReference>>,
    /// The steps of the run, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<WorkflowTask>,
    /// When the run started on the build plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When the run ended on the build plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,
}

impl WorkflowRun {
    /// Why the run does not start, where no waiting helps: somebody has to change the run, its Workflow or what they
    /// refer to. It goes on by itself once that is done.
    pub fn blocked(&self) -> Option<&Condition> {
        let status = self.status.as_ref()?;
        if status.phase != Some(RunPhase::Pending) {
            return None;
        }
        let ready = status.conditions.iter().find(|condition| condition.type_ == run::READY)?;
        let is_current = ready.observed_generation == self.metadata.generation;
        (is_current && run::reason::BLOCKING.contains(&ready.reason.as_str())).then_some(ready)
    }
}

/// Where a run stands.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunPhase {
    /// Has not started; a condition says what it waits for.
    Pending,
    /// Runs on the build plane.
    Running,
    /// Is held by `spec.suspend`.
    Suspended,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Was ended by `spec.cancel`.
    Canceled,
}

impl RunPhase {
    /// Whether nothing further will happen.
    pub fn is_final(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Canceled => true,
            Self::Pending | Self::Running | Self::Suspended => false,
        }
    }

    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Suspended => "Suspended",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Canceled => "Canceled",
        }
    }
}

/// The plane that a run uses.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RunPlane {
    /// Kind of the plane: BuildPlane or ClusterBuildPlane.
    pub kind: String,
    /// Namespace of the plane, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the plane.
    pub name: String,
    /// The plane id in effect when it was chosen.
    #[serde(rename = "planeID")]
    pub plane_id: String,
}

/// Names an object on the build plane.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ResourceReference {
    /// Group and version of the object.
    pub api_version: String,
    /// Kind of the object.
    pub kind: String,
    /// Namespace of the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the object.
    pub name: String,
}

/// One step of a run.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowTask {
    /// Name of the step.
    pub name: String,
    /// Where the step stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<TaskPhase>,
    /// When the step started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When the step ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,
    /// What the engine says about the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The step's short output parameters; long ones are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<TaskOutput>,
}

/// An output parameter of a step.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TaskOutput {
    /// Name of the parameter.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Where a step stands.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskPhase {
    /// Has not started.
    Pending,
    /// Runs.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Was not to run.
    Skipped,
    /// Could not be run.
    Error,
    /// Never ran, because what it depends on did not come to pass.
    Omitted,
}
