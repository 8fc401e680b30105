//! Makes the gateways forget objects that do not exist any more: those that went while nobody could tell the gateway.

use std::sync::Arc;
use std::time::Duration;

use buildplane_api::names::CrRef;
use futures::future::BoxFuture;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::kind::Context;
use crate::error::chain;
use crate::gateway::Subscriber;

/// How often it is looked for, whatever the gateways say.
const EVERY: Duration = Duration::from_mins(1);

/// The objects of one plane kind.
pub(crate) trait Existence: Send + Sync {
    /// Whether an object is there, as far as it was seen; none for objects of other kinds, and before all were listed.
    fn is_seen(&self, cr: &CrRef) -> Option<bool>;
    /// Whether an object is there, says the API.
    fn exists<'a>(&'a self, cr: &'a CrRef) -> BoxFuture<'a, kube::Result<bool>>;
}

/// Looks for objects that only gateways know.
pub(crate) struct Sweeper {
    kinds: Vec<Arc<dyn Existence>>,
    wanted: Notify,
}

impl Sweeper {
    pub(crate) fn new(kinds: Vec<Arc<dyn Existence>>) -> Arc<Self> {
        Arc::new(Self { kinds, wanted: Notify::new() })
    }

    pub(crate) async fn run(&self, context: &Context, shutdown: &CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.wanted.notified() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.sweep(context) => {}
            }
        }
    }

    async fn sweep(&self, context: &Context) {
        for cr in context.feed.objects() {
            let Some(kind) = self.kinds.iter().find(|kind| kind.is_seen(&cr) == Some(false)) else {
                continue;
            };
            // What was seen may be older than what the gateway knows; the API is asked before anything is taken away.
            match kind.exists(&cr).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(%cr, error = chain(&error), "it cannot be looked up whether it exists");
                    continue;
                }
            }
            match context.registrations.remove(None, &cr).await {
                Ok(()) => tracing::info!(%cr, "the gateways forgot an object that does not exist"),
                Err(error) => tracing::debug!(%cr, error = chain(&error), "a gateway cannot be told yet"),
            }
        }
    }
}

impl Subscriber for Sweeper {
    fn changed(&self, objects: &[CrRef]) {
        if objects.iter().any(|cr| self.kinds.iter().any(|kind| kind.is_seen(cr) == Some(false))) {
            self.wanted.notify_one();
        }
    }

    fn all_changed(&self) {
        self.wanted.notify_one();
    }
}
