//! Watches of Argo Workflows on build planes: one for each ClusterBuildPlane with unfinished runs, over all namespaces;
//! one for each BuildPlane, whose runs stand in one namespace.
//!
//! An agent that does not allow a watch over all namespaces (an older one, or a policy of its owner's) says 403. Its
//! runs are then followed by namespace, and the wide watch is tried again after a while.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use buildplane_api::WorkflowRun;
use buildplane_api::meta::label;
use buildplane_api::names::{CrRef, PlaneId};
use buildplane_argo::Workflow;
use futures::TryStreamExt as _;
use kube::runtime::reflector::{ObjectRef, Store, store::Writer};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Resource};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::follow::follow_woken;
use crate::gateway::GatewayClient;
use crate::queue::Queue;

/// How long a plane that refused a watch over all namespaces is not asked for one again.
const NARROW: Duration = Duration::from_mins(10);

/// What is watched, through a plane object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    cr: CrRef,
    plane_id: PlaneId,
    /// One namespace; none for all of them.
    namespace: Option<String>,
}

/// The watches that unfinished runs need.
pub(crate) struct Watches {
    gateway: GatewayClient,
    queue: Arc<Queue<WorkflowRun>>,
    active: Mutex<HashMap<Key, Watch>>,
    /// Wide watches that were refused, and when.
    refused: Mutex<HashMap<Key, Instant>>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

struct Watch {
    users: HashSet<ObjectRef<WorkflowRun>>,
    view: View,
    cancel: CancellationToken,
    wake: Arc<Notify>,
}

/// What a watch has seen.
#[derive(Clone)]
pub(super) struct View {
    workflows: Store<Workflow>,
    synced: Arc<AtomicBool>,
}

impl View {
    /// Whether the watch has seen everything that was there when it began.
    pub(super) fn is_synced(&self) -> bool {
        self.synced.load(Ordering::Acquire)
    }

    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<Arc<Workflow>> {
        self.workflows.get(&ObjectRef::new(name).within(namespace))
    }
}

impl Watches {
    pub(super) fn new(
        gateway: GatewayClient,
        queue: Arc<Queue<WorkflowRun>>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            gateway,
            queue,
            active: Mutex::default(),
            refused: Mutex::default(),
            tasks: TaskTracker::new(),
            shutdown,
        }
    }

    fn refused(&self) -> MutexGuard<'_, HashMap<Key, Instant>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The watch that tells of a namespace's Workflows.
    pub(super) fn key(&self, cr: &CrRef, plane_id: &PlaneId, namespace: &str) -> Key {
        let wide = Key { cr: cr.clone(), plane_id: plane_id.clone(), namespace: None };
        let mut refused = self.refused();
        refused.retain(|_, since| since.elapsed() < NARROW);
        if cr.kind().is_cluster_scoped() && !refused.contains_key(&wide) {
            wide
        } else {
            Key { namespace: Some(namespace.to_owned()), ..wide }
        }
    }

    /// The plane refuses a wide watch: its runs look again, and then choose narrow ones.
    fn narrow(&self, key: &Key) {
        self.refused().insert(key.clone(), Instant::now());
        if let Some(watch) = self.active().remove(key) {
            tracing::info!(plane = %key.cr, "the plane allows no watch over all namespaces; its runs are followed by namespace");
            watch.cancel.cancel();
            self.queue.extend(watch.users);
        }
    }

    fn active(&self) -> MutexGuard<'_, HashMap<Key, Watch>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The watch for a run; begins it if there is none. It lasts until the last run that asked for it lets go.
    pub(super) fn ensure(self: &Arc<Self>, key: Key, run: ObjectRef<WorkflowRun>) -> View {
        let mut active = self.active();
        if let Some(watch) = active.get_mut(&key) {
            watch.users.insert(run);
            return watch.view.clone();
        }
        let writer = Writer::default();
        let view = View { workflows: writer.as_reader(), synced: Arc::default() };
        let cancel = self.shutdown.child_token();
        let watch = Watch { users: HashSet::from([run]), view: view.clone(), cancel, wake: Arc::default() };
        let (cancel, wake) = (watch.cancel.clone(), Arc::clone(&watch.wake));
        self.tasks.spawn(Arc::clone(self).follow(key.clone(), writer, cancel, wake));
        active.insert(key, watch);
        view
    }

    /// A run needs no watch any longer, or only the given one.
    pub(super) fn release(&self, run: &ObjectRef<WorkflowRun>, but: Option<&Key>) {
        self.active().retain(|key, watch| {
            if but != Some(key) {
                watch.users.remove(run);
            }
            if watch.users.is_empty() {
                watch.cancel.cancel();
            }
            !watch.users.is_empty()
        });
    }

    /// Waits until every watch has ended, after the shutdown.
    pub(super) async fn drain(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// There is news about a plane object: watches that wait after a failure try again now.
    pub(super) fn wake(&self, cr: &CrRef) {
        for (_, watch) in self.active().iter().filter(|(key, _)| key.cr == *cr) {
            // Kept for the next wait, where the watch is just failing once more.
            watch.wake.notify_one();
        }
    }

    async fn follow(
        self: Arc<Self>,
        key: Key,
        mut writer: Writer<Workflow>,
        cancel: CancellationToken,
        wake: Arc<Notify>,
    ) {
        let client = self.gateway.plane(&key.plane_id, &key.cr);
        let api = match &key.namespace {
            Some(namespace) => Api::<Workflow>::namespaced(client, namespace),
            None => Api::all(client),
        };
        let selector = format!("{}={}", label::MANAGED_BY, label::MANAGED_BY_RUNS);
        let events = watcher(api, watcher::Config::default().labels(&selector)).inspect_err(|error| {
            if key.namespace.is_none() && is_refusal(error) {
                self.narrow(&key);
            }
        });
        let whereabouts = key.namespace.as_deref().unwrap_or("all namespaces");
        let what = format!("Workflows of {} in {whereabouts}", key.cr);
        follow_woken(&what, events, &cancel, &wake, |mut event| {
            if let watcher::Event::Apply(workflow) | watcher::Event::InitApply(workflow) = &mut event {
                workflow.metadata.managed_fields = None;
            }
            writer.apply_watcher_event(&event);
            match &event {
                watcher::Event::Apply(workflow) | watcher::Event::Delete(workflow) => {
                    self.queue.extend(run_of(workflow));
                }
                watcher::Event::InitDone => {
                    if let Some(watch) = self.active().get(&key) {
                        watch.view.synced.store(true, Ordering::Release);
                        self.queue.extend(watch.users.iter().cloned());
                    }
                }
                watcher::Event::Init | watcher::Event::InitApply(_) => {}
            }
        })
        .await;
    }
}

/// Whether a watch failed because it is not allowed.
fn is_refusal(error: &watcher::Error) -> bool {
    let (watcher::Error::InitialListFailed(error)
    | watcher::Error::WatchStartFailed(error)
    | watcher::Error::WatchFailed(error)) = error
    else {
        return false;
    };
    matches!(error, kube::Error::Api(status) if status.code == 403)
}

/// The run that a Workflow says it belongs to. Only a hint to look at that run, which judges by its uid.
fn run_of(workflow: &Workflow) -> Option<ObjectRef<WorkflowRun>> {
    let labels = workflow.meta().labels.as_ref()?;
    Some(ObjectRef::new(labels.get(label::WORKFLOW_RUN)?).within(labels.get(label::WORKFLOW_RUN_NAMESPACE)?))
}
