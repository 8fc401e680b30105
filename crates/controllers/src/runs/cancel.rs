//! Cancels a run that is not known to have started: what became of its creation is looked up, for a limited time.

use std::sync::Arc;
use std::time::Duration;

use buildplane_api::WorkflowRun;
use buildplane_api::conditions::run::reason;
use buildplane_api::run::{ResourceReference, RunPhase, WorkflowRunStatus};
use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;

use super::kind::{Context, write};
use super::plane;
use super::problem::{Problem, Remedy};
use super::remote::{collection_of, owner_uid};
use super::start::{Step, Stop, chosen_plane, remote, require_connected, started};
use super::status::{State, tell};
use crate::error::chain;

/// How long a plane that does not answer is asked whether the run was created there.
const PATIENCE: Duration = Duration::from_secs(15);

const CANCELED: &str = "the run was canceled before it started";

/// Ends the run, unless it is on its plane after all; then it is taken up, and ended there.
pub(super) async fn cancel(
    run: &WorkflowRun,
    status: &WorkflowRunStatus,
    context: &Arc<Context>,
) -> Result<Step, Stop> {
    let Some(reference) = &status.run_reference else {
        return end(run, CANCELED.to_owned(), context).await;
    };
    let problem = match look(run, status, reference, context).await {
        Ok(Found::Run(step)) => return Ok(step),
        Ok(Found::Nothing { left }) => {
            let message = if left.is_empty() {
                CANCELED.to_owned()
            } else {
                format!("{CANCELED}; {}", leftover(&left))
            };
            return end(run, message, context).await;
        }
        Err(Stop::Problem(problem, _)) => problem,
        Err(error) => return Err(error),
    };
    let patience = PATIENCE.min(context.timings.run_cleanup);
    let is_hopeless =
        problem.reason == reason::BUILD_PLANE_RESOLUTION_FAILED && problem.remedy != Remedy::Retry;
    if !is_hopeless && context.cancels.waited(ObjectRef::from_obj(run)) < patience {
        let message =
            format!("to be canceled, but it is not known yet whether it was created: {}", problem.message);
        return Err(Problem::retry(problem.reason, message).into());
    }
    let all: Vec<&ResourceReference> =
        std::iter::once(reference).chain(status.resources.iter().flatten()).collect();
    end(run, format!("the run was canceled; {}: {}", leftover(&all), problem.message), context).await
}

/// What the plane knows of the run.
enum Found<'a> {
    /// It was created.
    Run(Step),
    /// It was not; these objects that it was to use could not be deleted.
    Nothing { left: Vec<&'a ResourceReference> },
}

async fn look<'a>(
    run: &WorkflowRun,
    status: &'a WorkflowRunStatus,
    reference: &ResourceReference,
    context: &Arc<Context>,
) -> Result<Found<'a>, Stop> {
    let unreadable = || {
        Problem::change(reason::BUILD_PLANE_RESOLUTION_FAILED, "the run's notes of its plane cannot be read")
    };
    let chosen = chosen_plane(status).ok_or_else(unreadable)?;
    let collection = collection_of(reference).ok_or_else(unreadable)?;
    let own = run.metadata.namespace.as_deref().unwrap_or_default();
    let target = plane::resolve(&context.client, own, Some(&chosen)).await?;
    require_connected(&target)?;
    let remote = remote(context, &target);
    let uid = run.metadata.uid.as_deref();
    let found = remote.find(&collection, &reference.name).await.map_err(|error| {
        let plane = target.describe();
        let message = format!("{plane} does not tell whether the run is there: {}", chain(&error));
        Problem::retry(reason::BUILD_PLANE_UNREACHABLE, message)
    })?;
    if found.is_some_and(|found| owner_uid(&found) == uid) {
        return Ok(Found::Run(started(run, &target, reference, context).await?));
    }
    let clean_up = async {
        let mut left = Vec::new();
        for resource in status.resources.iter().flatten() {
            if !matches!(remote.delete_owned(resource, uid.unwrap_or_default()).await, Ok(true)) {
                left.push(resource);
            }
        }
        left
    };
    let cleaned = tokio::time::timeout(context.timings.request, clean_up).await;
    let left = cleaned.unwrap_or_else(|_elapsed| status.resources.iter().flatten().collect());
    Ok(Found::Nothing { left })
}

/// What may be left on the plane, in words.
fn leftover(references: &[&ResourceReference]) -> String {
    let named: Vec<String> = references
        .iter()
        .map(|reference| {
            let namespace = reference.namespace.as_deref().unwrap_or_default();
            format!("{} {namespace}/{}", reference.kind, reference.name)
        })
        .collect();
    format!("{} may be left on the build plane until the run is deleted", named.join(", "))
}

async fn end(run: &WorkflowRun, message: String, context: &Arc<Context>) -> Result<Step, Stop> {
    let ended = State::Ended { phase: RunPhase::Canceled, reason: reason::WORKFLOW_CANCELED, message };
    write(run, tell(run, ended, Timestamp::now()), context).await?;
    Ok(Step::Over)
}
