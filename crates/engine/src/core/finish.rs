//! From nodes to the status of the whole.

use std::collections::BTreeMap;

use buildplane_argo::status::Condition;
use buildplane_argo::{NodePhase, NodeType, WorkflowPhase, WorkflowStatus, labels};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use crate::core::execute::Execution;
use crate::core::housekeeping;
use crate::core::limits::Limits;
use crate::core::observed::Observed;
use crate::core::outcome::{Actions, Outcome};
use crate::core::run::exit_node;

/// The phase of a workflow whose outermost node is in this phase.
pub(crate) fn workflow_phase(node: Option<&NodePhase>) -> WorkflowPhase {
    match node {
        Some(NodePhase::Succeeded | NodePhase::Skipped | NodePhase::Omitted) => WorkflowPhase::Succeeded,
        Some(NodePhase::Failed) => WorkflowPhase::Failed,
        Some(NodePhase::Error) => WorkflowPhase::Error,
        Some(NodePhase::Pending | NodePhase::Running | NodePhase::Other(_)) | None => WorkflowPhase::Running,
    }
}

/// Sets phase and message from the outermost nodes.
pub(crate) fn conclude(execution: &Execution<'_>, status: &mut WorkflowStatus) {
    let name = &execution.workflow;
    let root = execution.nodes.by_name(name);
    let phase = workflow_phase(root.and_then(|node| node.phase.as_ref()));
    status.message.clone_from(&execution.waits_for);
    if !phase.is_completed() {
        status.phase = Some(WorkflowPhase::Running);
        return;
    }
    let exit = execution.nodes.by_name(&exit_node(name));
    let is_terminated = execution.control.shutdown.as_deref() == Some("Terminate");
    let wants_exit = execution.spec.on_exit.as_ref().is_some_and(|template| !template.is_empty());
    let exit_phase = exit.and_then(|node| node.phase.clone());
    if wants_exit
        && !exit_phase.as_ref().is_some_and(NodePhase::is_fulfilled)
        && !(is_terminated && exit.is_none())
    {
        status.phase = Some(WorkflowPhase::Running);
        return;
    }
    let stopped = execution.control.shutdown.as_ref().filter(|_| phase != WorkflowPhase::Succeeded);
    let (phase, message) = match (&phase, exit_phase) {
        // A workflow that did its work but not its exit handler is not a success.
        (WorkflowPhase::Succeeded, Some(failed)) if failed.is_failed_or_error() => {
            (workflow_phase(Some(&failed)), exit.and_then(|node| node.message.clone()))
        }
        _ => (phase, root.and_then(|node| node.message.clone())),
    };
    status.message = stopped.map(|strategy| format!("Stopped with strategy '{strategy}'")).or(message);
    status.phase = Some(phase);
    status.finished_at = Some(Time(execution.now));
}

/// Ends a workflow that cannot go on: what runs is stopped, what is open ends with it.
pub(crate) fn fatal(
    observed: &Observed,
    mut status: WorkflowStatus,
    message: &str,
    limits: &Limits,
    now: Timestamp,
) -> Outcome {
    status.phase = Some(WorkflowPhase::Error);
    status.message = Some(bounded(message));
    status.started_at = status.started_at.or(Some(Time(now)));
    status.finished_at = Some(Time(now));
    for node in status.nodes.values_mut().filter(|node| !node.is_fulfilled()) {
        node.phase = Some(NodePhase::Error);
        node.message = Some("the workflow ended with an error".to_owned());
        node.finished_at = Some(Time(now));
    }
    let mut actions = Actions::default();
    housekeeping::stop_all(observed, &mut actions);
    seal(observed, status, &mut actions, limits, now)
}

/// Completes a status with what follows from its nodes, and turns it into an answer.
pub(crate) fn seal(
    observed: &Observed,
    mut status: WorkflowStatus,
    actions: &mut Actions,
    limits: &Limits,
    now: Timestamp,
) -> Outcome {
    progress(&mut status);
    conditions(&mut status);
    let phase = status.phase.clone().unwrap_or(WorkflowPhase::Running);
    let mut value = to_value(&status);
    if value.to_string().len() > limits.status_bytes {
        let problem = format!(
            "the status would be larger than {} bytes: hand back less, or use fewer steps",
            limits.status_bytes
        );
        if status.message.as_deref() != Some(&problem) {
            return fatal(observed, lean(status), &problem, limits, now);
        }
        status.nodes.clear();
        status.stored_templates.clear();
        status.stored_workflow_spec = None;
        value = to_value(&status);
    }
    if value != observed.workflow.raw_status {
        actions.status = Some(value);
    }
    mark(observed, &phase, actions);
    Outcome::Act(Box::new(std::mem::take(actions)))
}

/// Adds the labels and annotations by which others find a workflow, where they are missing.
pub(crate) fn mark(observed: &Observed, phase: &WorkflowPhase, actions: &mut Actions) {
    let metadata = &observed.workflow.metadata;
    let has = |entries: &Option<BTreeMap<String, String>>, key: &str, value: &str| {
        entries.as_ref().and_then(|entries| entries.get(key)).is_some_and(|found| found == value)
    };
    let completed = if phase.is_completed() { "true" } else { "false" };
    for (key, value) in [(labels::PHASE, phase.as_str()), (labels::COMPLETED, completed)] {
        if !has(&metadata.labels, key, value) {
            actions.labels.insert(key.to_owned(), value.to_owned());
        }
    }
    if !has(&metadata.annotations, labels::POD_NAME_FORMAT, "v2") {
        actions.annotations.insert(labels::POD_NAME_FORMAT.to_owned(), "v2".to_owned());
    }
}

/// The status without what nodes were given and handed back, which is what makes one large.
fn lean(mut status: WorkflowStatus) -> WorkflowStatus {
    for node in status.nodes.values_mut() {
        node.inputs = None;
        node.outputs = None;
    }
    status
}

fn to_value(status: &WorkflowStatus) -> Value {
    serde_json::to_value(status).unwrap_or(Value::Null)
}

/// Counts finished and known pods, for the whole and for every node above a pod.
fn progress(status: &mut WorkflowStatus) {
    let ids: BTreeMap<String, String> =
        status.nodes.values().map(|node| (node.name.clone(), node.id.clone())).collect();
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut total = (0, 0);
    for node in status.nodes.values().filter(|node| node.type_ == NodeType::Pod) {
        let done = usize::from(node.is_fulfilled());
        total = (total.0 + done, total.1 + 1);
        let ends = node.name.char_indices().filter(|(_, c)| matches!(c, '[' | '.' | '(')).map(|(at, _)| at);
        for above in ends.map(|end| &node.name[..end]).chain([node.name.as_str()]) {
            // The end of a step group is a bracket, which no prefix above ends with.
            for name in [above.to_owned(), format!("{above}]")] {
                if let Some(id) = ids.get(&name).filter(|_| name == above || node.name.starts_with(&name)) {
                    let count = counts.entry(id.clone()).or_default();
                    *count = (count.0 + done, count.1 + 1);
                }
            }
        }
    }
    for (id, node) in &mut status.nodes {
        node.progress = counts.get(id).map(|(done, all)| format!("{done}/{all}"));
    }
    status.progress = (total.1 > 0).then(|| format!("{}/{}", total.0, total.1));
}

fn conditions(status: &mut WorkflowStatus) {
    let is_running = status
        .nodes
        .values()
        .any(|node| node.type_ == NodeType::Pod && node.phase == Some(NodePhase::Running));
    let is_completed = status.phase.as_ref().is_some_and(WorkflowPhase::is_completed);
    set(status, "PodRunning", is_running);
    if is_completed {
        set(status, "Completed", true);
    }
}

fn set(status: &mut WorkflowStatus, type_: &str, holds: bool) {
    let text = if holds { "True" } else { "False" };
    match status.conditions.iter_mut().find(|condition| condition.type_ == type_) {
        Some(condition) => text.clone_into(&mut condition.status),
        None => status.conditions.push(Condition {
            type_: type_.to_owned(),
            status: text.to_owned(),
            ..Condition::default()
        }),
    }
}

/// A message of a length that people can read and objects can hold.
fn bounded(message: &str) -> String {
    const LIMIT: usize = 2_000;
    if message.chars().nth(LIMIT).is_none() {
        return message.to_owned();
    }
    message.chars().take(LIMIT).chain("…".chars()).collect()
}
