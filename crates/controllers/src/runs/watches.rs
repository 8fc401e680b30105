//! Watches of Argo Workflows on build planes: one for each plane object and namespace with unfinished runs.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use buildplane_api::WorkflowRun;
use buildplane_api::meta::label;
use buildplane_api::names::{CrRef, PlaneId};
use buildplane_argo::Workflow;
use kube::runtime::reflector::{ObjectRef, Store, store::Writer};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Resource};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::follow::follow_woken;
use crate::gateway::GatewayClient;
use crate::queue::Queue;

/// What is watched: a namespace of a plane, through a plane object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) cr: CrRef,
    pub(super) plane_id: PlaneId,
    pub(super) namespace: String,
}

/// The watches that unfinished runs need.
pub(crate) struct Watches {
    gateway: GatewayClient,
    queue: Arc<Queue<WorkflowRun>>,
    active: Mutex<HashMap<Key, Watch>>,
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
        Self { gateway, queue, active: Mutex::default(), tasks: TaskTracker::new(), shutdown }
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
            watch.wake.notify_waiters();
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
        let api = Api::<Workflow>::namespaced(client, &key.namespace);
        let selector = format!("{}={}", label::MANAGED_BY, label::MANAGED_BY_RUNS);
        let events = watcher(api, watcher::Config::default().labels(&selector));
        let what = format!("Workflows of {} in {}", key.cr, key.namespace);
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

/// The run that a Workflow says it belongs to. Only a hint to look at that run, which judges by its uid.
fn run_of(workflow: &Workflow) -> Option<ObjectRef<WorkflowRun>> {
    let labels = workflow.meta().labels.as_ref()?;
    Some(ObjectRef::new(labels.get(label::WORKFLOW_RUN)?).within(labels.get(label::WORKFLOW_RUN_NAMESPACE)?))
}
