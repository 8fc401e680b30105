//! What is to be reconciled: a set, so that a thousand reasons to look at one object cost one look.

use std::collections::HashSet;
use std::convert::Infallible;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use futures::Stream;
use kube::runtime::controller::ReconcileRequest;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The objects of one kind that are to be reconciled. Bounded by the number of objects there are.
pub(crate) struct Queue<K: kube::Resource<DynamicType = ()>> {
    waiting: Mutex<HashSet<ObjectRef<K>>>,
    added: Notify,
}

impl<K: kube::Resource<DynamicType = ()>> Queue<K>
where
    ObjectRef<K>: Eq + Hash,
{
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { waiting: Mutex::default(), added: Notify::new() })
    }

    /// Asks for an object to be reconciled. Never waits.
    pub(crate) fn add(&self, object: ObjectRef<K>) {
        self.extend([object]);
    }

    /// Asks for several objects to be reconciled. Never waits.
    pub(crate) fn extend(&self, objects: impl IntoIterator<Item = ObjectRef<K>>) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).extend(objects);
        self.added.notify_one();
    }

    fn take(&self) -> Option<ObjectRef<K>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let next = waiting.iter().next().cloned()?;
        waiting.take(&next)
    }

    /// The requests as they come; ends with `shutdown`. Only one may be read at a time.
    pub(crate) fn requests(
        self: Arc<Self>,
        shutdown: CancellationToken,
    ) -> impl Stream<Item = Result<ReconcileRequest<K>, Infallible>> {
        futures::stream::unfold((self, shutdown), |(queue, shutdown)| async move {
            loop {
                if shutdown.is_cancelled() {
                    return None;
                }
                if let Some(object) = queue.take() {
                    return Some((Ok(object.into()), (queue, shutdown)));
                }
                tokio::select! {
                    () = queue.added.notified() => {}
                    () = shutdown.cancelled() => return None,
                }
            }
        })
    }
}
