//! The work a cluster's controller manager does for all: garbage collection, namespaces, definitions, events.
//!
//! Each loop looks at what is stored, does what is to be done, and waits for a change: it is safe to stop and start
//! anywhere.

mod cleanup;
mod events;
mod gc;
mod seed;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use buildplane_store::Watch;
use futures::StreamExt as _;
use tokio_util::sync::CancellationToken;

use crate::server::Api;

pub(crate) use seed::seed;

/// A loop looks again after this even if nothing changed, in case a step failed.
const AGAIN: Duration = Duration::from_secs(5);

/// Runs all loops until `shutdown`.
pub(crate) async fn run(api: Arc<Api>, shutdown: CancellationToken) {
    tokio::select! {
        () = gc::run(&api) => {}
        () = cleanup::run(&api) => {}
        () = events::run(&api) => {}
        () = shutdown.cancelled() => {}
    }
}

/// Calls `sweep` now and after every change under a prefix, until there is nothing more to do.
async fn on_change<F, Fut>(api: &Api, prefix: &str, sweep: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = bool>,
{
    loop {
        let Ok(mut watch) = api.store.watch(prefix, api.store.revision()).await else {
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        loop {
            let done = sweep().await;
            let changed = async { watch.next().await };
            match if done {
                changed.await
            } else {
                tokio::time::timeout(AGAIN, changed).await.unwrap_or(None)
            } {
                Some(Ok(_)) => drain(&mut watch),
                // Lagged or timed out: what is stored says all there is to know.
                Some(Err(_)) | None => break,
            }
        }
        if api.shutdown.is_cancelled() {
            return;
        }
    }
}

/// Many changes at once ask for one sweep.
fn drain(watch: &mut Watch) {
    while watch.ready().is_some() {}
}
