//! Follows a run that was started, until its end.

use std::sync::Arc;
use std::time::Duration;

use buildplane_api::WorkflowRun;
use buildplane_api::conditions::run::reason;
use buildplane_api::names::{CrRef, PlaneId};
use buildplane_api::run::{ResourceReference, RunPhase, WorkflowRunStatus};
use buildplane_argo::Workflow;
use jiff::Timestamp;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use serde_json::{Map, Value, json};

use super::kind::{Context, RunError, write};
use super::plane;
use super::remote::{Remote, collection_of, owner_uid};
use super::status::{State, tell};
use super::tasks;
use super::workload;

/// How soon a run is looked at again although its watch is silent.
const RECHECK: Duration = Duration::from_mins(1);
/// How soon a run that is followed is looked at without a reason: a deletion of its plane object may have been missed.
const LOOK: Duration = Duration::from_mins(5);

pub(super) async fn observe(
    run: &WorkflowRun,
    status: &WorkflowRunStatus,
    context: &Arc<Context>,
) -> Result<Action, RunError> {
    let object = ObjectRef::from_obj(run);
    let (Some(record), Some(reference)) = (&status.build_plane, &status.run_reference) else {
        return lost(run, "the run has lost its notes of where it runs", context).await;
    };
    let (Some((cr, recorded_id)), Some(collection)) = (plane::from_record(record), collection_of(reference))
    else {
        return lost(run, "the run's notes of where it runs cannot be read", context).await;
    };
    let namespace = reference.namespace.clone().unwrap_or_default();
    // The plane object may be gone, or have been given another plane id since.
    let current = plane::current_id(&context.client, &cr).await;
    let Some(plane_id) = current.map_err(|source| RunError::ReadPlane(Box::new(source)))? else {
        return orphaned(run, &cr, context).await;
    };
    context.orphans.forget(&object);
    let key = context.watches.key(&cr, &plane_id, &namespace);
    let view = context.watches.ensure(key.clone(), object.clone());
    context.watches.release(&object, Some(&key));
    let remote = Remote::new(context.gateway.plane(&plane_id, &cr), context.timings.request);
    match view.get(&namespace, &reference.name) {
        Some(workflow) => see(run, reference, &workflow, &remote, &collection, context).await,
        None if !view.is_synced() => Ok(Action::requeue(RECHECK)),
        None if plane_id != recorded_id => {
            moved(run, reference, &remote, &collection, (&recorded_id, &plane_id), context).await
        }
        None => vanished(run, reference, &remote, &collection, context).await,
    }
}

/// The plane object is gone, and with it the only way to the run. It may be about to be made anew; that is waited for, but
/// not for ever.
async fn orphaned(run: &WorkflowRun, cr: &CrRef, context: &Arc<Context>) -> Result<Action, RunError> {
    let object = ObjectRef::from_obj(run);
    let plane = plane::describe(cr);
    let patience = context.timings.run_cleanup;
    let left = patience.saturating_sub(context.orphans.waited(object.clone()));
    let now = Timestamp::now();
    if !left.is_zero() && !run.spec.cancel {
        let message = format!(
            "{plane}, on which the run was started, is deleted; unless it is made anew within {} s the run ends as failed",
            patience.as_secs()
        );
        write(run, tell(run, State::Orphaned { message }, now), context).await?;
        return Ok(Action::requeue(left));
    }
    let (phase, why) = if run.spec.cancel {
        (RunPhase::Canceled, reason::WORKFLOW_CANCELED)
    } else {
        (RunPhase::Failed, reason::BUILD_PLANE_DELETED)
    };
    let message = format!(
        "{plane}, on which the run was started, is deleted: what became of the run is not known, and what it still does there \
         goes on until it ends by itself"
    );
    write(run, tell(run, State::Ended { phase, reason: why, message }, now), context).await?;
    context.orphans.forget(&object);
    context.watches.release(&object, None);
    Ok(Action::await_change())
}

/// The plane object names another plane, where the watch knows no such Workflow. Both ids may be names of one cluster.
async fn moved(
    run: &WorkflowRun,
    reference: &ResourceReference,
    remote: &Remote,
    collection: &str,
    (from, to): (&PlaneId, &PlaneId),
    context: &Arc<Context>,
) -> Result<Action, RunError> {
    let found = remote.find(collection, &reference.name).await;
    if found.map_err(|source| RunError::ReadRemote(Box::new(source)))?.is_some() {
        return vanished(run, reference, remote, collection, context).await;
    }
    let message = format!(
        "the build plane's id was changed from {from} to {to}, where there is no Workflow {}/{}: what became of the run is not \
         known; create the run again",
        reference.namespace.as_deref().unwrap_or_default(),
        reference.name
    );
    let ended = State::Ended { phase: RunPhase::Failed, reason: reason::BUILD_PLANE_DELETED, message };
    write(run, tell(run, ended, Timestamp::now()), context).await?;
    context.watches.release(&ObjectRef::from_obj(run), None);
    Ok(Action::await_change())
}

/// The watch knows no such Workflow. That alone ends no run: the plane is asked once more, directly.
async fn vanished(
    run: &WorkflowRun,
    reference: &ResourceReference,
    remote: &Remote,
    collection: &str,
    context: &Arc<Context>,
) -> Result<Action, RunError> {
    // Nothing that is to be canceled waits for the engine's kinds to come back.
    let found = if run.spec.cancel {
        remote.find(collection, &reference.name).await
    } else {
        remote.read(collection, &reference.name).await
    };
    if let Some(found) = found.map_err(|source| RunError::ReadRemote(Box::new(source)))? {
        match serde_json::from_value::<Workflow>(found) {
            Ok(workflow) => see(run, reference, &workflow, remote, collection, context).await,
            Err(error) => {
                lost(run, &format!("the Workflow on the build plane cannot be read: {error}"), context).await
            }
        }
    } else {
        let message = format!(
            "Workflow {}/{} was deleted from the build plane; create the run again",
            reference.namespace.as_deref().unwrap_or_default(),
            reference.name
        );
        lost(run, &message, context).await
    }
}

async fn lost(run: &WorkflowRun, message: &str, context: &Arc<Context>) -> Result<Action, RunError> {
    let ended = State::Ended {
        phase: RunPhase::Failed,
        reason: reason::WORKFLOW_DELETED,
        message: message.to_owned(),
    };
    write(run, tell(run, ended, Timestamp::now()), context).await?;
    context.watches.release(&ObjectRef::from_obj(run), None);
    Ok(Action::await_change())
}

async fn see(
    run: &WorkflowRun,
    reference: &ResourceReference,
    workflow: &Workflow,
    remote: &Remote,
    collection: &str,
    context: &Arc<Context>,
) -> Result<Action, RunError> {
    let metadata = json!({"metadata": {"annotations": workflow.metadata.annotations}});
    if owner_uid(&metadata) != run.metadata.uid.as_deref() {
        return lost(run, "another Workflow took the name of the run's on the build plane", context).await;
    }
    let seen = tasks::read(workflow);
    if !seen.phase.is_final() {
        let patch = control(run, &workflow.raw_spec);
        if !patch.is_empty() {
            let patch = json!({"spec": patch});
            let patched = remote.merge(collection, &reference.name, &patch).await;
            patched.map_err(|source| RunError::Control(Box::new(source)))?;
        }
    }
    let workload = if seen.phase == RunPhase::Succeeded {
        workload::store(&context.client, run, &seen.workload).await?
    } else {
        None
    };
    let told = tell(run, State::Seen { seen: &seen, workload }, Timestamp::now());
    write(run, told, context).await?;
    if seen.phase.is_final() {
        context.watches.release(&ObjectRef::from_obj(run), None);
    }
    context.retries.forget(&ObjectRef::from_obj(run));
    if seen.phase.is_final() { Ok(Action::await_change()) } else { Ok(Action::requeue(LOOK)) }
}

/// What has to change in the Workflow's spec for the run to be held, let go or ended.
fn control(run: &WorkflowRun, spec: &Value) -> Map<String, Value> {
    let mut patch = Map::new();
    let shutdown = spec.get("shutdown").and_then(Value::as_str).unwrap_or_default();
    if run.spec.cancel && shutdown.is_empty() {
        patch.insert("shutdown".to_owned(), "Terminate".into());
    }
    let suspended = spec.get("suspend").and_then(Value::as_bool).unwrap_or_default();
    // A run that is held could not end.
    let suspend = run.spec.suspend && !run.spec.cancel;
    if suspend != suspended {
        patch.insert("suspend".to_owned(), if suspend { true.into() } else { Value::Null });
    }
    patch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancel_and_suspend_reach_the_engine_once() {
        let run = |cancel, suspend| {
            let mut run = WorkflowRun::new("r", buildplane_api::run::WorkflowRunSpec::default());
            run.spec.cancel = cancel;
            run.spec.suspend = suspend;
            run
        };
        for (cancel, suspend, spec, expected) in [
            (false, false, json!({}), json!({})),
            (true, false, json!({}), json!({"shutdown": "Terminate"})),
            (true, false, json!({"shutdown": "Terminate"}), json!({})),
            (false, true, json!({}), json!({"suspend": true})),
            (false, true, json!({"suspend": true}), json!({})),
            (false, false, json!({"suspend": true}), json!({"suspend": null})),
            (true, true, json!({"suspend": true}), json!({"shutdown": "Terminate", "suspend": null})),
        ] {
            assert_eq!(
                Value::Object(control(&run(cancel, suspend), &spec)),
                expected,
                "{cancel} {suspend} {spec}"
            );
        }
    }
}
