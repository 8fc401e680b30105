//! Starts a run: dereference, validate, build, apply.

use std::sync::Arc;

use buildplane_api::WorkflowRun;
use buildplane_api::conditions::run::reason;
use buildplane_api::run::{ResourceReference, WorkflowRunStatus};
use buildplane_api::workflow::{BuildPlaneRef, BuildPlaneRefKind};
use buildplane_api::{PlaneKind, Workflow};
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use serde_json::json;

use super::build::{Objects, build};
use super::cancel::cancel;
use super::kind::{Context, RunError, write};
use super::plane::{self, Target};
use super::problem::{Problem, Remedy};
use super::remote::{Remote, collection_of, owner_uid};
use super::status::{State, is_done, is_started, tell};
use super::{apply, dereference, validate};

/// How soon a run that waits for somebody is looked at without a reason.
const RECHECK: std::time::Duration = std::time::Duration::from_mins(5);

/// How soon the plane is asked again about a run that is to be canceled.
const CANCEL_RECHECK: std::time::Duration = std::time::Duration::from_secs(2);

/// Where a step of the start left the run.
pub(super) enum Step {
    Started,
    Over,
    /// Somebody else wrote the run meanwhile; it is looked at again because of that.
    Overtaken,
}

pub(super) async fn start(object: &WorkflowRun, context: &Arc<Context>) -> Result<Action, RunError> {
    // What is decided here is decided once, so that it is decided about the run as it is and not as it was last seen.
    let api = context.runs_of(object);
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let Some(run) = api.get_opt(name).await.map_err(|source| RunError::ReadRun(Box::new(source)))? else {
        return Ok(Action::await_change());
    };
    let status = run.status.clone().unwrap_or_default();
    if run.metadata.uid != object.metadata.uid
        || run.metadata.deletion_timestamp.is_some()
        || is_started(&status)
        || is_done(&status)
    {
        return Ok(Action::await_change());
    }
    let key = ObjectRef::from_obj(&run);
    match attempt(&run, &status, context).await {
        Ok(Step::Started | Step::Over) => {
            context.retries.forget(&key);
            context.cancels.forget(&key);
            Ok(Action::await_change())
        }
        Ok(Step::Overtaken) => Ok(Action::requeue(context.timings.retry_min)),
        Err(Stop::Problem(problem, recorded)) => {
            // What was noted before the creation stands: it may have reached the plane without an answer.
            let run = recorded.map_or(run, |recorded| *recorded);
            write(&run, tell(&run, State::Waiting(&problem), Timestamp::now()), context).await?;
            Ok(match problem.remedy {
                Remedy::Retry if run.spec.cancel => {
                    Action::requeue(context.retries.failed(key).min(CANCEL_RECHECK))
                }
                Remedy::Retry => Action::requeue(context.retries.failed(key)),
                Remedy::Change => Action::requeue(RECHECK),
                Remedy::None => Action::await_change(),
            })
        }
        Err(Stop::Error(error)) => Err(error),
    }
}

/// Why an attempt ended early.
pub(super) enum Stop {
    /// To be told to whoever waits for the run; with the run as it was recorded, where it was.
    Problem(Problem, Option<Box<WorkflowRun>>),
    /// The control plane's own API failed.
    Error(RunError),
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem, None)
    }
}

impl From<RunError> for Stop {
    fn from(error: RunError) -> Self {
        Self::Error(error)
    }
}

async fn attempt(
    run: &WorkflowRun,
    status: &WorkflowRunStatus,
    context: &Arc<Context>,
) -> Result<Step, Stop> {
    if run.spec.cancel {
        return cancel(run, status, context).await;
    }
    let namespace = validate::names(run)?;
    let own = run.metadata.namespace.as_deref().unwrap_or_default();
    let chosen = chosen_plane(status);
    if let (Some(_), Some(reference)) = (&chosen, &status.run_reference) {
        let target = plane::resolve(&context.client, own, chosen.as_ref()).await?;
        require_connected(&target)?;
        if let Some(step) = adopt(run, &target, reference, context).await? {
            return Ok(step);
        }
    }
    if run.spec.suspend {
        return Err(Problem::change(
            reason::WORKFLOW_SUSPENDED,
            "held by spec.suspend; set it to false to start",
        )
        .into());
    }
    let workflow = dereference::workflow(&context.client, own, &run.spec.workflow.name).await?;
    let reference = chosen.or_else(|| workflow.spec.build_plane_ref.clone());
    let target = plane::resolve(&context.client, own, reference.as_ref()).await?;
    let prepared = validate::prepare(run, &workflow, namespace, target.secret_store.clone())?;
    let external_refs =
        dereference::external_refs(&context.client, own, prepared.external_ref_names()?).await?;
    let validated = prepared.render(external_refs)?;
    require_connected(&target)?;
    let objects = build(run, validated);
    let Some(run) = record(run, &workflow, &target, &objects, context).await? else {
        return Ok(Step::Overtaken);
    };
    create(&run, &target, &objects, context).await
}

/// Nothing is tried on a plane that is known to have no agent; the run goes on when it has one.
pub(super) fn require_connected(target: &Target) -> Result<(), Problem> {
    target.disconnected.as_ref().map_or(Ok(()), |why| {
        let message = format!("{} cannot run anything now: {why}", target.describe());
        Err(Problem::change(reason::BUILD_PLANE_UNREACHABLE, message))
    })
}

/// The plane that an earlier attempt chose, as a reference.
pub(super) fn chosen_plane(status: &WorkflowRunStatus) -> Option<BuildPlaneRef> {
    let (cr, _) = plane::from_record(status.build_plane.as_ref()?)?;
    let kind = match cr.kind() {
        PlaneKind::BuildPlane => BuildPlaneRefKind::BuildPlane,
        PlaneKind::ClusterBuildPlane => BuildPlaneRefKind::ClusterBuildPlane,
        PlaneKind::DataPlane
        | PlaneKind::ClusterDataPlane
        | PlaneKind::ObservabilityPlane
        | PlaneKind::ClusterObservabilityPlane => return None,
    };
    Some(BuildPlaneRef { kind, name: cr.name().to_owned() })
}

/// Takes up what an earlier attempt created without living to say so.
async fn adopt(
    run: &WorkflowRun,
    target: &Target,
    reference: &ResourceReference,
    context: &Arc<Context>,
) -> Result<Option<Step>, Stop> {
    let Some(collection) = collection_of(reference) else { return Ok(None) };
    let plane = target.describe();
    let existing = remote(context, target).read(&collection, &reference.name).await;
    match existing.map_err(|error| Problem::from_plane(&plane, "the run", &error))? {
        Some(existing) if owner_uid(&existing) == run.metadata.uid.as_deref() => {
            Ok(Some(started(run, target, reference, context).await?))
        }
        Some(_) | None => Ok(None),
    }
}

/// Writes down plane and names before anything is created, so that no crash can leave something that nobody knows of.
/// None if somebody else wrote the run meanwhile.
async fn record(
    run: &WorkflowRun,
    workflow: &Workflow,
    target: &Target,
    objects: &Objects,
    context: &Context,
) -> Result<Option<WorkflowRun>, RunError> {
    let api = context.runs_of(run);
    let name = run.metadata.name.as_deref().unwrap_or_default();
    let mut run = run.clone();
    if let (None, Some(ttl)) = (&run.spec.ttl_after_completion, &workflow.spec.ttl_after_completion) {
        let patch = json!({
            "metadata": {"resourceVersion": run.metadata.resource_version},
            "spec": {"ttlAfterCompletion": ttl},
        });
        run = match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(run) => run,
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return Ok(None),
            Err(source) => return Err(RunError::WriteSpec(Box::new(source))),
        };
    }
    let told = tell(&run, State::Recorded { target, objects }, Timestamp::now());
    match context.write_status(&run, &told.status, run.metadata.resource_version.as_deref()).await {
        Ok(run) => Ok(run),
        Err(RunError::WriteStatus(source)) if matches!(&*source, kube::Error::Api(status) if status.code == 409) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn create(
    run: &WorkflowRun,
    target: &Target,
    objects: &Objects,
    context: &Arc<Context>,
) -> Result<Step, Stop> {
    apply::apply(&remote(context, target), run, &target.describe(), objects)
        .await
        .map_err(|problem| Stop::Problem(problem, Some(Box::new(run.clone()))))?;
    Ok(started(run, target, &objects.run.reference, context).await?)
}

pub(super) fn remote(context: &Context, target: &Target) -> Remote {
    Remote::new(context.gateway.plane(&target.plane_id, &target.cr), context.timings.request)
}

pub(super) async fn started(
    run: &WorkflowRun,
    target: &Target,
    reference: &ResourceReference,
    context: &Arc<Context>,
) -> Result<Step, RunError> {
    let plane = target.describe();
    write(run, tell(run, State::Started { plane: &plane }, Timestamp::now()), context).await?;
    let namespace = reference.namespace.as_deref().unwrap_or_default();
    let key = context.watches.key(&target.cr, &target.plane_id, namespace);
    context.watches.ensure(key, ObjectRef::from_obj(run));
    Ok(Step::Started)
}
