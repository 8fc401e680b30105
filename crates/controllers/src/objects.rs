//! The objects of one kind: how they were last seen, and which of them are to be reconciled.

use std::fmt::Debug;
use std::future::ready;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt as _;
use futures::future::BoxFuture;
use kube::runtime::controller::{self, Action, applier};
use kube::runtime::reflector::{ObjectRef, Store, store::Writer};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::follow::follow;
use crate::queue::Queue;

/// The objects of one kind.
pub(crate) struct Objects<K: Resource<DynamicType = ()> + Clone + 'static> {
    seen: Store<K>,
    writer: Mutex<Option<Writer<K>>>,
    queue: Arc<Queue<K>>,
    /// Whether all were listed once.
    listed: AtomicBool,
}

/// What a watch tells of an object.
pub(crate) enum Change<'a, K> {
    /// It is there, as it is.
    Written(&'a K),
    /// It is gone; this is how it was.
    Deleted(&'a K),
}

impl<K> Objects<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    pub(crate) fn new() -> Self {
        let writer = Writer::default();
        Self {
            seen: writer.as_reader(),
            writer: Mutex::new(Some(writer)),
            queue: Queue::new(),
            listed: AtomicBool::new(false),
        }
    }

    /// What is to be reconciled.
    pub(crate) fn queue(&self) -> &Arc<Queue<K>> {
        &self.queue
    }

    /// Whether an object was seen; none before all were listed.
    pub(crate) fn is_seen(&self, object: &ObjectRef<K>) -> Option<bool> {
        self.listed.load(Ordering::Acquire).then(|| self.seen.get(object).is_some())
    }

    /// Asks for those that something concerns to be reconciled.
    pub(crate) fn enqueue_where(&self, is_concerned: impl Fn(&K) -> bool) {
        let objects = self.seen.state();
        let concerned = objects.iter().filter(|object| is_concerned(object));
        self.queue.extend(concerned.map(|object| ObjectRef::from_obj(object.as_ref())));
    }

    /// Watches the objects and asks for what changes to be reconciled, until `shutdown`. Runs once.
    pub(crate) async fn watch(
        &self,
        api: Api<K>,
        shutdown: &CancellationToken,
        mut on_change: impl FnMut(Change<'_, K>),
    ) {
        let Some(mut writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        follow(&K::kind(&()), watcher(api, watcher::Config::default()), shutdown, |event| {
            writer.apply_watcher_event(&event);
            match &event {
                watcher::Event::Apply(object) => {
                    self.queue.add(ObjectRef::from_obj(object));
                    on_change(Change::Written(object));
                }
                // During a list the old objects are still what was seen; these are looked at when it is done.
                watcher::Event::InitApply(object) => on_change(Change::Written(object)),
                watcher::Event::InitDone => {
                    self.listed.store(true, Ordering::Release);
                    self.enqueue_where(|_| true);
                }
                watcher::Event::Delete(object) => on_change(Change::Deleted(object)),
                watcher::Event::Init => {}
            }
        })
        .await;
    }

    /// Reconciles what is asked for, each object once at a time, until `shutdown`.
    pub(crate) async fn reconcile<Context, Error>(
        &self,
        context: Arc<Context>,
        concurrency: u16,
        reconcile: impl FnMut(Arc<K>, Arc<Context>) -> BoxFuture<'static, Result<Action, Error>>,
        on_error: impl Fn(&K, &Error, &Context) -> Action,
        shutdown: CancellationToken,
    ) where
        Error: std::error::Error + 'static,
    {
        applier(
            reconcile,
            |object: Arc<K>, error: &Error, context: Arc<Context>| {
                let meta = object.meta();
                tracing::warn!(
                    kind = %K::kind(&()),
                    namespace = meta.namespace,
                    name = meta.name,
                    error = crate::error::chain(error),
                    "reconcile failed, trying again"
                );
                on_error(&object, error, &context)
            },
            context,
            self.seen.clone(),
            Arc::clone(&self.queue).requests(shutdown),
            controller::Config::default().concurrency(concurrency),
        )
        .for_each(|_| ready(()))
        .await;
    }
}
