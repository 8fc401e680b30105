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

use buildplane_store::{Change, Watch};
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

/// Calls `sweep` now and after every change that matters, and again after a while when it failed.
async fn on_change<F, Fut>(api: &Api, matters: impl Fn(&Change) -> bool, sweep: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = bool>,
{
    while !api.shutdown.is_cancelled() {
        let Ok(mut watch) = api.store.watch("/", api.store.revision()).await else {
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        loop {
            let done = sweep().await;
            let changed = next_of(&mut watch, &matters);
            let open = if done {
                changed.await
            } else {
                // An elapsed time is as good a reason to look again as a change.
                tokio::time::timeout(AGAIN, changed).await.unwrap_or(true)
            };
            // A watch that ended was too slow: what is stored says all there is to know.
            if !open {
                break;
            }
        }
    }
}

/// Waits for a change that matters and skips all that are there with it, as they ask for one sweep; false when the
/// watch has ended.
async fn next_of(watch: &mut Watch, matters: impl Fn(&Change) -> bool) -> bool {
    loop {
        match watch.next().await {
            Some(Ok(change)) => {
                let mut found = matters(&change);
                while let Some(change) = watch.ready() {
                    found |= matters(&change);
                }
                if found {
                    return true;
                }
            }
            Some(Err(_)) | None => return false,
        }
    }
}
