//! Removing what is no longer needed.

use std::time::Duration;

use buildplane_argo::{NodeStatus, WorkflowPhase, WorkflowSpec, WorkflowStatus};
use jiff::{Timestamp, ToSpan};

use crate::core::execute::Execution;
use crate::core::observed::{Observed, PodView};
use crate::core::outcome::{Actions, Effect, Outcome};
use crate::core::{finish, retry};

/// Stops pods whose nodes are over, and removes finished ones as the workflow asks.
pub(crate) fn running(execution: &mut Execution<'_>) {
    let observed = execution.observed;
    let mut removals = Vec::new();
    for pod in observed.pods.values().filter(|pod| is_own(observed, pod)) {
        let node = pod.node_id.as_deref().and_then(|id| execution.nodes.by_id(id));
        if !node.is_some_and(NodeStatus::is_fulfilled) {
            continue;
        }
        if pod.is_finished() {
            removals.push(pod.clone());
        } else {
            execution.after.push(Effect::DeletePod(pod.name.clone()));
        }
    }
    for pod in removals {
        match removal(execution.spec, &pod, None, execution.now) {
            Some(at) if at <= execution.now => execution.after.push(Effect::DeletePod(pod.name.clone())),
            Some(at) => execution.wake(at),
            None => {}
        }
    }
}

/// Stops every pod of a workflow that cannot go on.
pub(crate) fn stop_all(observed: &Observed, actions: &mut Actions) {
    for pod in observed.pods.values().filter(|pod| is_own(observed, pod) && !pod.is_finished()) {
        actions.after.push(Effect::DeletePod(pod.name.clone()));
    }
}

/// What remains to be done for a workflow that is over.
pub(crate) fn completed(
    observed: &Observed,
    spec: &WorkflowSpec,
    mut status: WorkflowStatus,
    now: Timestamp,
) -> Outcome {
    let mut actions = Actions::default();
    stop_all(observed, &mut actions);
    let phase = status.phase.clone().unwrap_or(WorkflowPhase::Error);
    for pod in observed.pods.values().filter(|pod| is_own(observed, pod) && pod.is_finished()) {
        match removal(spec, pod, Some(&phase), now) {
            Some(at) if at <= now => actions.after.push(Effect::DeletePod(pod.name.clone())),
            Some(at) => wake(&mut actions, at),
            None => {}
        }
    }
    let strategy = spec.volume_claim_gc.as_ref().and_then(|gc| gc.strategy.as_deref());
    let keeps_claims = strategy != Some("OnWorkflowCompletion") && phase != WorkflowPhase::Succeeded;
    if !keeps_claims {
        for volume in std::mem::take(&mut status.persistent_volume_claims) {
            if let Some(name) = volume["persistentVolumeClaim"]["claimName"].as_str() {
                actions.before.push(Effect::DeleteClaim(name.to_owned()));
            }
        }
    }
    expire(spec, &status, &phase, now, &mut actions);
    // The status of a finished workflow is history: only the claims may go from it.
    if !actions.before.is_empty() {
        actions.status = serde_json::to_value(&status).ok();
    }
    finish::mark(observed, &phase, &mut actions);
    Outcome::Act(Box::new(actions))
}

fn expire(
    spec: &WorkflowSpec,
    status: &WorkflowStatus,
    phase: &WorkflowPhase,
    now: Timestamp,
    actions: &mut Actions,
) {
    let Some(strategy) = &spec.ttl_strategy else { return };
    let specific = match phase {
        WorkflowPhase::Succeeded => strategy.seconds_after_success,
        WorkflowPhase::Failed | WorkflowPhase::Error => strategy.seconds_after_failure,
        WorkflowPhase::Pending | WorkflowPhase::Running | WorkflowPhase::Other(_) => None,
    };
    let seconds = specific.or(strategy.seconds_after_completion);
    let (Some(seconds), Some(finished)) = (seconds, &status.finished_at) else { return };
    let Ok(at) = finished.0.checked_add(i64::from(seconds.max(0)).seconds()) else { return };
    if at <= now {
        actions.after = vec![Effect::DeleteWorkflow];
    } else {
        wake(actions, at);
    }
}

/// When a finished pod is to be removed, if ever. `phase` is that of the workflow once it is over.
fn removal(
    spec: &WorkflowSpec,
    pod: &PodView,
    phase: Option<&WorkflowPhase>,
    now: Timestamp,
) -> Option<Timestamp> {
    let gc = spec.pod_gc.as_ref()?;
    let is_due = match gc.strategy.as_deref()? {
        "OnPodCompletion" => true,
        "OnPodSuccess" => pod.phase.as_deref() == Some("Succeeded"),
        "OnWorkflowCompletion" => phase.is_some(),
        "OnWorkflowSuccess" => phase == Some(&WorkflowPhase::Succeeded),
        _ => false,
    };
    let delay = gc.delete_delay_duration.as_deref().and_then(retry::duration).unwrap_or(Duration::ZERO);
    let ended = pod.terminated.as_ref().and_then(|end| end.finished_at).unwrap_or(now);
    is_due.then(|| ended.checked_add(delay).unwrap_or(now))
}

fn is_own(observed: &Observed, pod: &PodView) -> bool {
    pod.owner.is_some() && pod.owner == observed.workflow.metadata.uid
}

fn wake(actions: &mut Actions, at: Timestamp) {
    actions.wake_at = Some(actions.wake_at.map_or(at, |earlier| earlier.min(at)));
}
