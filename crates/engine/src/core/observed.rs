//! What the core is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use buildplane_argo::{Workflow, labels};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Something the core may have to know about that is not part of the workflow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// A pod, in the workflow's namespace.
    Pod(String),
    /// A WorkflowTemplate, in the workflow's namespace.
    Template(String),
    /// A ClusterWorkflowTemplate.
    ClusterTemplate(String),
}

/// A workflow and what surrounds it.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The workflow as last read or written.
    pub workflow: Arc<Workflow>,
    /// Its pods by name.
    pub pods: BTreeMap<String, Arc<PodView>>,
    /// Specifications of template objects that were asked for.
    pub templates: BTreeMap<Reference, Arc<Value>>,
    /// What was asked for and is not there.
    pub absent: BTreeSet<Reference>,
    /// Objects that the API refused to create, by name, with the reason.
    pub refused: BTreeMap<String, String>,
}

impl Observed {
    /// A workflow of which nothing else is known yet.
    pub fn new(workflow: Arc<Workflow>) -> Self {
        Self {
            workflow,
            pods: BTreeMap::new(),
            templates: BTreeMap::new(),
            absent: BTreeSet::new(),
            refused: BTreeMap::new(),
        }
    }
}

/// What the engine reads of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodView {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The uid of the workflow that owns it.
    pub owner: Option<String>,
    /// The node it runs.
    pub node_id: Option<String>,
    /// `Pending`, `Running`, `Succeeded`, `Failed`.
    pub phase: Option<String>,
    /// Why it stands there, in one word.
    pub reason: Option<String>,
    /// Why it stands there.
    pub message: Option<String>,
    /// Why its container does not start.
    pub waiting: Option<Waiting>,
    /// How its container ended.
    pub terminated: Option<Terminated>,
    /// When it was taken up.
    pub started_at: Option<Timestamp>,
    /// The machine it runs on.
    pub host: Option<String>,
    /// The files it handed back.
    pub collected: BTreeMap<String, String>,
}

/// Why a container does not start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// In one word.
    #[serde(default)]
    pub reason: Option<String>,
    /// For people.
    #[serde(default)]
    pub message: Option<String>,
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terminated {
    /// Its exit code.
    #[serde(default)]
    pub exit_code: i32,
    /// In one word.
    #[serde(default)]
    pub reason: Option<String>,
    /// For people.
    #[serde(default)]
    pub message: Option<String>,
    /// When.
    #[serde(default)]
    pub finished_at: Option<Timestamp>,
}

impl PodView {
    /// Reads a pod. What is malformed is as good as absent: a pod nobody can read never finishes its node, and cannot
    /// harm another.
    pub fn read(pod: &Value) -> Self {
        let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let annotation = |key: &str| pod["metadata"]["annotations"][key].as_str();
        let state = pod["status"]["containerStatuses"]
            .as_array()
            .and_then(|all| all.iter().find(|status| status["name"] == labels::MAIN_CONTAINER))
            .map(|status| &status["state"]);
        let owner = pod["metadata"]["ownerReferences"]
            .as_array()
            .and_then(|owners| owners.iter().find(|owner| owner["kind"] == "Workflow"))
            .and_then(|owner| owner["uid"].as_str());
        Self {
            name: text("/metadata/name").unwrap_or_default(),
            uid: text("/metadata/uid").unwrap_or_default(),
            owner: owner.map(str::to_owned),
            node_id: annotation(labels::NODE_ID).map(str::to_owned),
            phase: text("/status/phase"),
            reason: text("/status/reason"),
            message: text("/status/message"),
            waiting: state.and_then(|state| part(&state["waiting"])),
            terminated: state.and_then(|state| part(&state["terminated"])),
            started_at: text("/status/startTime").and_then(|time| time.parse().ok()),
            host: text("/spec/nodeName"),
            collected: annotation(labels::COLLECTED_FILES)
                .and_then(|json| serde_json::from_str(json).ok())
                .unwrap_or_default(),
        }
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        matches!(self.phase.as_deref(), Some("Succeeded" | "Failed"))
    }
}

fn part<T: for<'de> Deserialize<'de>>(value: &Value) -> Option<T> {
    if value.is_null() { None } else { T::deserialize(value).ok() }
}
