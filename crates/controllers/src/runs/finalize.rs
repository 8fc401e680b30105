//! The end of a run: what it made on its plane goes, in bounded time.

use std::sync::Arc;

use buildplane_api::WorkflowRun;
use buildplane_api::meta::finalizer::WORKFLOW_RUN;
use buildplane_api::run::WorkflowRunStatus;
use jiff::Timestamp;
use kube::Resource as _;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;

use super::kind::{Context, RunError};
use super::plane;
use super::remote::Remote;
use crate::error::chain;
use crate::finalizer;

pub(super) async fn finalize(run: &WorkflowRun, context: &Arc<Context>) -> Result<Action, RunError> {
    let object = ObjectRef::from_obj(run);
    context.watches.release(&object, None);
    if !finalizer::has(run, WORKFLOW_RUN) {
        return Ok(Action::await_change());
    }
    let status = run.status.clone().unwrap_or_default();
    if let Err(left) = clean_up(run, &status, context).await {
        let waited =
            run.metadata.deletion_timestamp.as_ref().map(|since| Timestamp::now().duration_since(since.0));
        let waited = waited.and_then(|waited| std::time::Duration::try_from(waited).ok()).unwrap_or_default();
        if !left.is_hopeless && waited < context.timings.run_cleanup {
            tracing::info!(run = %object, why = left.message, "clean-up on the build plane is tried again");
            return Ok(Action::requeue(context.retries.failed(object)));
        }
        tracing::warn!(run = %object, why = left.message, "objects of the run are left behind on the build plane");
        let note = format!("objects of the run are left behind on the build plane: {}", left.message);
        context.events.warning(&run.object_ref(&()), "CleanupFailed", &note);
    }
    context.retries.forget(&object);
    finalizer::remove(&context.runs_of(run), run, WORKFLOW_RUN).await.map_err(RunError::Finalizer)?;
    Ok(Action::await_change())
}

/// Why something may be left on the plane.
struct Left {
    message: String,
    /// Whether waiting cannot help.
    is_hopeless: bool,
}

/// Deletes the run's objects on the plane that the run noted, whatever its Workflow names by now.
async fn clean_up(run: &WorkflowRun, status: &WorkflowRunStatus, context: &Context) -> Result<(), Left> {
    let Some(record) = &status.build_plane else { return Ok(()) };
    let hopeless = |message: &str| Left { message: message.to_owned(), is_hopeless: true };
    let Some((cr, recorded_id)) = plane::from_record(record) else {
        return Err(hopeless("the run's notes of its plane cannot be read"));
    };
    let plane_id = match plane::current_id(&context.client, &cr).await {
        Ok(Some(plane_id)) => plane_id,
        Ok(None) => {
            let message =
                format!("{} (plane id {recorded_id}) does not exist any longer", plane::describe(&cr));
            return Err(hopeless(&message));
        }
        Err(error) => return Err(Left { message: chain(&error), is_hopeless: false }),
    };
    let remote = Remote::new(context.gateway.plane(&plane_id, &cr), context.timings.request);
    let uid = run.metadata.uid.as_deref().unwrap_or_default();
    // The run first: what it still does might need the others.
    let references = status.run_reference.iter().chain(status.resources.iter().flatten());
    for reference in references {
        let what = format!("{} {}", reference.kind, reference.name);
        match remote.delete_owned(reference, uid).await {
            Ok(true) => {}
            Ok(false) => return Err(Left { message: format!("{what} was replaced"), is_hopeless: false }),
            Err(error) => {
                return Err(Left { message: format!("{what}: {}", chain(&error)), is_hopeless: false });
            }
        }
    }
    Ok(())
}
