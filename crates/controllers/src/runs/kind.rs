//! WorkflowRuns: what makes them look again, and the reconcile itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use buildplane_admission::parse_ttl;
use buildplane_api::conditions::run::{self, reason};
use buildplane_api::meta::finalizer::WORKFLOW_RUN;
use buildplane_api::names::{CrRef, PlaneId, PlaneKind};
use buildplane_api::run::WorkflowRunStatus;
use buildplane_api::{SecretReference, Workflow, WorkflowRun};
use futures::FutureExt as _;
use jiff::Timestamp;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::PartialObjectMeta;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::{self, watcher};
use kube::{Client, Resource as _};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::finalize::finalize;
use super::observe::observe;
use super::plane;
use super::start::start;
use super::status::{Told, is_done, is_started};
use super::watches::Watches;
use crate::conditions::{Change, Truth};
use crate::config::Timings;
use crate::events::Events;
use crate::finalizer::{self, FinalizerError};
use crate::follow::follow;
use crate::gateway::GatewayClient;
use crate::objects::{self, Objects};
use crate::planes::PlaneListener;
use crate::retry::{Retries, Since};

/// The field manager of run statuses and Workloads.
pub(super) const FIELD_MANAGER: &str = "workflowrun-controller";
/// Reconciles at a time.
const CONCURRENCY: u16 = 32;
/// The longest time without a look at a run that is kept until its time is over.
const RECHECK: Duration = Duration::from_hours(1);

/// What the steps of a run need.
pub(crate) struct Context {
    pub(super) client: Client,
    pub(super) gateway: GatewayClient,
    pub(super) watches: Arc<Watches>,
    pub(super) events: Events,
    pub(super) timings: Timings,
    pub(super) retries: Retries<ObjectRef<WorkflowRun>>,
    /// Since when runs wait for what became of their creation, to be canceled.
    pub(super) cancels: Since<ObjectRef<WorkflowRun>>,
    /// Since when runs wait for their plane object to come back.
    pub(super) orphans: Since<ObjectRef<WorkflowRun>>,
}

impl Context {
    /// The runs of a run's namespace.
    pub(super) fn runs_of(&self, run: &WorkflowRun) -> Api<WorkflowRun> {
        Api::namespaced(self.client.clone(), run.metadata.namespace.as_deref().unwrap_or_default())
    }

    /// Writes a status; none if the run is gone. With a version, only if nobody wrote the run since.
    pub(super) async fn write_status(
        &self,
        run: &WorkflowRun,
        status: &WorkflowRunStatus,
        version: Option<&str>,
    ) -> Result<Option<WorkflowRun>, RunError> {
        let metadata = &run.metadata;
        let name = metadata.name.as_deref().unwrap_or_default();
        let mut patch = json!({
            "apiVersion": WorkflowRun::api_version(&()),
            "kind": WorkflowRun::kind(&()),
            "metadata": {"name": name, "namespace": metadata.namespace, "uid": metadata.uid},
            "status": status,
        });
        if let Some(version) = version {
            patch["metadata"]["resourceVersion"] = version.into();
        }
        let params = PatchParams::apply(FIELD_MANAGER).force();
        match self.runs_of(run).patch_status(name, &params, &Patch::Apply(&patch)).await {
            Ok(run) => Ok(Some(run)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(source) => Err(RunError::WriteStatus(Box::new(source))),
        }
    }
}

/// Why a run could not be reconciled; tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error("failed to read the run")]
    ReadRun(#[source] Box<kube::Error>),
    #[error("failed to read the run's build plane")]
    ReadPlane(#[source] Box<kube::Error>),
    #[error("failed to read the run on its build plane")]
    ReadRemote(#[source] Box<kube::Error>),
    #[error("failed to hold, let go or end the run on its build plane")]
    Control(#[source] Box<kube::Error>),
    #[error("failed to store the Workload")]
    StoreWorkload(#[source] Box<kube::Error>),
    #[error("failed to write the run's spec")]
    WriteSpec(#[source] Box<kube::Error>),
    #[error("failed to write the status")]
    WriteStatus(#[source] Box<kube::Error>),
    #[error("failed to delete the run, whose time is over")]
    Delete(#[source] Box<kube::Error>),
    #[error(transparent)]
    Finalizer(FinalizerError),
}

/// The runs.
pub(crate) struct Runs {
    context: Arc<Context>,
    objects: Objects<WorkflowRun>,
    /// The plane objects as they were last seen, to know when one moves.
    plane_ids: Mutex<HashMap<CrRef, PlaneId>>,
}

impl Runs {
    pub(crate) fn new(
        client: Client,
        gateway: GatewayClient,
        events: Events,
        timings: Timings,
        shutdown: CancellationToken,
    ) -> Arc<Self> {
        let objects = Objects::new();
        let watches = Arc::new(Watches::new(gateway.clone(), Arc::clone(objects.queue()), shutdown));
        let retries = Retries::new(&timings);
        let (cancels, orphans) = (Since::default(), Since::default());
        let context =
            Arc::new(Context { client, gateway, watches, events, timings, retries, cancels, orphans });
        Arc::new(Self { context, objects, plane_ids: Mutex::default() })
    }

    /// Follows and reconciles the runs until `shutdown`. Runs once.
    pub(crate) async fn run(&self, shutdown: CancellationToken) {
        let context = &self.context;
        let watched = self.objects.watch(Api::all(context.client.clone()), &shutdown, |change| {
            if let objects::Change::Deleted(run) = change {
                let object = ObjectRef::from_obj(run);
                context.retries.forget(&object);
                context.cancels.forget(&object);
                context.orphans.forget(&object);
                context.watches.release(&object, None);
            }
        });
        let reconciled = self.objects.reconcile(
            Arc::clone(context),
            CONCURRENCY,
            |run, context| reconcile(run, context).boxed(),
            |run, _, context| Action::requeue(context.retries.failed(ObjectRef::from_obj(run))),
            shutdown.clone(),
        );
        tokio::join!(
            watched,
            self.watch_workflows(&shutdown),
            self.watch_secret_references(&shutdown),
            reconciled,
        );
        context.watches.drain().await;
    }

    async fn watch_workflows(&self, shutdown: &CancellationToken) {
        let api = Api::<PartialObjectMeta<Workflow>>::all(self.context.client.clone());
        follow("Workflow", watcher(api, watcher::Config::default()), shutdown, |event| {
            if let watcher::Event::Apply(workflow) | watcher::Event::InitApply(workflow) = event {
                let (namespace, name) = (workflow.metadata.namespace, workflow.metadata.name);
                self.objects.enqueue_where(|run| {
                    is_waiting(run)
                        && run.metadata.namespace == namespace
                        && Some(&run.spec.workflow.name) == name.as_ref()
                });
            }
        })
        .await;
    }

    async fn watch_secret_references(&self, shutdown: &CancellationToken) {
        let api = Api::<PartialObjectMeta<SecretReference>>::all(self.context.client.clone());
        follow("SecretReference", watcher(api, watcher::Config::default()), shutdown, |event| {
            if let watcher::Event::Apply(reference) | watcher::Event::InitApply(reference) = event {
                let namespace = reference.metadata.namespace;
                self.objects.enqueue_where(|run| is_waiting(run) && run.metadata.namespace == namespace);
            }
        })
        .await;
    }
}

/// Whether a run has not started, so that a change elsewhere may bring it further.
fn is_waiting(run: &WorkflowRun) -> bool {
    run.status.as_ref().is_none_or(|status| !is_started(status) && !is_done(status))
}

fn is_running_on(run: &WorkflowRun, cr: &CrRef) -> bool {
    run.status.as_ref().is_some_and(|status| {
        let noted = status.build_plane.as_ref().and_then(plane::from_record);
        is_started(status) && !is_done(status) && noted.is_some_and(|(noted, _)| noted == *cr)
    })
}

impl PlaneListener for Runs {
    fn plane_touched(&self, cr: &CrRef) {
        self.context.watches.wake(cr);
        match cr.kind() {
            PlaneKind::BuildPlane => {
                self.objects.enqueue_where(|run| {
                    is_waiting(run) && run.metadata.namespace.as_deref() == cr.namespace()
                });
            }
            PlaneKind::ClusterBuildPlane => self.objects.enqueue_where(is_waiting),
            PlaneKind::DataPlane
            | PlaneKind::ClusterDataPlane
            | PlaneKind::ObservabilityPlane
            | PlaneKind::ClusterObservabilityPlane => {}
        }
    }

    /// Runs on a plane that went, came back or moved look where they are.
    fn plane_seen(&self, cr: &CrRef, plane_id: Option<PlaneId>) {
        let mut known = self.plane_ids.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match &plane_id {
            Some(plane_id) => known.insert(cr.clone(), plane_id.clone()),
            None => known.remove(cr),
        };
        drop(known);
        if before != plane_id {
            self.objects.enqueue_where(|run| is_running_on(run, cr));
        }
    }

    fn secret_touched(&self, _: &str, _: &str) {}
}

/// Start, then observe, then keep for its time.
async fn reconcile(run: Arc<WorkflowRun>, context: Arc<Context>) -> Result<Action, RunError> {
    if run.metadata.deletion_timestamp.is_some() {
        return finalize(&run, &context).await;
    }
    if !finalizer::has(run.as_ref(), WORKFLOW_RUN) {
        finalizer::add(&context.runs_of(&run), run.as_ref(), WORKFLOW_RUN)
            .await
            .map_err(RunError::Finalizer)?;
        return start(&run, &context).await;
    }
    let status = run.status.clone().unwrap_or_default();
    if is_done(&status) {
        context.watches.release(&ObjectRef::from_obj(run.as_ref()), None);
        keep(&run, &status, &context).await
    } else if is_started(&status) {
        observe(&run, &status, &context).await
    } else {
        start(&run, &context).await
    }
}

/// Keeps a run for as long as it asks, then deletes it.
async fn keep(run: &WorkflowRun, status: &WorkflowRunStatus, context: &Context) -> Result<Action, RunError> {
    let ttl = run.spec.ttl_after_completion.as_deref().and_then(parse_ttl);
    let (Some(ttl), Some(completed_at)) = (ttl, &status.completed_at) else {
        return Ok(Action::await_change());
    };
    let age = Duration::try_from(Timestamp::now().duration_since(completed_at.0)).unwrap_or_default();
    if let Some(left) = ttl.checked_sub(age).filter(|left| !left.is_zero()) {
        return Ok(Action::requeue(left.min(RECHECK)));
    }
    let preconditions = Preconditions { uid: run.metadata.uid.clone(), resource_version: None };
    let params = DeleteParams::background().preconditions(preconditions);
    match context.runs_of(run).delete(run.metadata.name.as_deref().unwrap_or_default(), &params).await {
        Ok(_) => Ok(Action::await_change()),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(Action::await_change()),
        Err(source) => Err(RunError::Delete(Box::new(source))),
    }
}

/// Writes a status if it differs from what is there, and tells of what is worth an event.
pub(super) async fn write(run: &WorkflowRun, told: Told, context: &Context) -> Result<(), RunError> {
    // Compared as the API keeps it: times in whole seconds.
    let as_kept = |status: &WorkflowRunStatus| serde_json::to_value(status).ok();
    if as_kept(&told.status) == run.status.as_ref().and_then(as_kept) {
        return Ok(());
    }
    if context.write_status(run, &told.status, None).await?.is_none() {
        return Ok(());
    }
    let reference = run.object_ref(&());
    for change in told.changes.iter().filter(|change| is_worth_an_event(change)) {
        let verdict = &change.verdict;
        let went_well = verdict.truth == Truth::True && change.type_ != run::WORKFLOW_FAILED;
        if went_well {
            context.events.normal(&reference, verdict.reason, &verdict.message);
        } else {
            context.events.warning(&reference, verdict.reason, &verdict.message);
        }
    }
    Ok(())
}

/// What somebody who waits for the run wants to be told: that it runs, how it ended, and why it does not start.
fn is_worth_an_event(change: &Change) -> bool {
    let quiet = [reason::WORKFLOW_PENDING, reason::WORKFLOW_RUNNING, reason::WORKFLOW_SUCCEEDED];
    match change.type_ {
        run::WORKFLOW_RUNNING | run::WORKFLOW_SUCCEEDED | run::WORKLOAD_UPDATED => {
            change.verdict.truth == Truth::True
        }
        run::READY => !quiet.contains(&change.verdict.reason),
        _ => false,
    }
}
