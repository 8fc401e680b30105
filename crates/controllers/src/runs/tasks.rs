//! Reading an Argo Workflow's status in our words.

use buildplane_api::meta::{WORKLOAD_OUTPUT, WORKLOAD_TASK};
use buildplane_api::run::{RunPhase, TaskOutput, TaskPhase, WorkflowTask};
use buildplane_argo::{NodePhase, NodeStatus, Workflow, WorkflowPhase, WorkflowStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// More tasks than these are not listed; the object has to stay below what an API takes.
const MAX_TASKS: usize = 500;
/// Longer messages are cut.
const MAX_MESSAGE: usize = 1024;
/// Longer outputs are left out.
const MAX_OUTPUT: usize = 1024;

/// What the engine says about a run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    pub(super) phase: RunPhase,
    pub(super) message: Option<String>,
    pub(super) tasks: Vec<WorkflowTask>,
    pub(super) started_at: Option<Time>,
    pub(super) completed_at: Option<Time>,
    pub(super) workload: Produced,
}

/// The Workload that a run produced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Produced {
    /// It has no task that makes one.
    NotAsked,
    /// The task made none.
    Nothing,
    /// As YAML.
    Manifest(String),
}

/// Reads a Workflow. One whose status cannot be read is told as it stands, without tasks.
pub(super) fn read(workflow: &Workflow) -> Seen {
    match workflow.status() {
        Ok(status) => seen(workflow, &status),
        Err(error) => Seen {
            phase: RunPhase::Running,
            message: Some(format!("the status on the build plane cannot be read: {error}")),
            tasks: Vec::new(),
            started_at: None,
            completed_at: None,
            workload: Produced::NotAsked,
        },
    }
}

fn seen(workflow: &Workflow, status: &WorkflowStatus) -> Seen {
    let suspended = workflow.raw_spec.get("suspend").and_then(serde_json::Value::as_bool) == Some(true);
    let phase = match &status.phase {
        None | Some(WorkflowPhase::Pending) => RunPhase::Pending,
        Some(WorkflowPhase::Succeeded) => RunPhase::Succeeded,
        Some(WorkflowPhase::Failed | WorkflowPhase::Error) => RunPhase::Failed,
        Some(WorkflowPhase::Running | WorkflowPhase::Other(_)) => RunPhase::Running,
    };
    let phase = if suspended && !phase.is_final() { RunPhase::Suspended } else { phase };
    Seen {
        phase,
        message: status.message.clone().filter(|message| !message.is_empty()),
        tasks: status.pods().into_iter().take(MAX_TASKS).map(task).collect(),
        started_at: status.started_at.clone(),
        completed_at: status.finished_at.clone().filter(|_| phase.is_final()),
        workload: produced(status),
    }
}

fn task(node: &NodeStatus) -> WorkflowTask {
    let parameters = node.outputs.iter().flat_map(|outputs| &outputs.parameters);
    let outputs = parameters.filter_map(|parameter| {
        let value = parameter.value_str().filter(|value| value.len() <= MAX_OUTPUT)?;
        let is_shown = parameter.name != WORKLOAD_OUTPUT;
        is_shown.then(|| TaskOutput { name: parameter.name.clone(), value: value.trim_end().to_owned() })
    });
    WorkflowTask {
        name: node.task_name().to_owned(),
        phase: node.phase.as_ref().map(phase),
        started_at: node.started_at.clone(),
        completed_at: node.finished_at.clone(),
        message: node.message.as_deref().filter(|message| !message.is_empty()).map(cut),
        outputs: outputs.collect(),
    }
}

fn phase(phase: &NodePhase) -> TaskPhase {
    match phase {
        NodePhase::Pending | NodePhase::Other(_) => TaskPhase::Pending,
        NodePhase::Running => TaskPhase::Running,
        NodePhase::Succeeded => TaskPhase::Succeeded,
        NodePhase::Skipped => TaskPhase::Skipped,
        NodePhase::Failed => TaskPhase::Failed,
        NodePhase::Error => TaskPhase::Error,
        NodePhase::Omitted => TaskPhase::Omitted,
    }
}

fn cut(message: &str) -> String {
    message[..message.floor_char_boundary(MAX_MESSAGE)].to_owned()
}

fn produced(status: &WorkflowStatus) -> Produced {
    let mut asked = false;
    for node in status.nodes.values().filter(|node| node.task_name() == WORKLOAD_TASK) {
        asked = true;
        if node.phase == Some(NodePhase::Succeeded)
            && let Some(manifest) = node.output_parameter(WORKLOAD_OUTPUT)
        {
            return Produced::Manifest(manifest.to_owned());
        }
    }
    if asked { Produced::Nothing } else { Produced::NotAsked }
}

/// Why a run failed, in a line: what the engine says, and the first task that failed.
pub(super) fn failure(seen: &Seen) -> String {
    let failed =
        seen.tasks.iter().find(|task| matches!(task.phase, Some(TaskPhase::Failed | TaskPhase::Error)));
    match (failed, &seen.message) {
        (Some(task), _) => match &task.message {
            Some(message) => format!("task {} failed: {message}", task.name),
            None => format!("task {} failed", task.name),
        },
        (None, Some(message)) => message.clone(),
        (None, None) => "the workflow failed".to_owned(),
    }
}

#[cfg(test)]
mod tests;
