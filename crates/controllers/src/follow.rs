//! Watches that never end: whatever goes wrong is logged once and tried again.

use std::fmt::Debug;
use std::pin::pin;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use kube::Resource;
use kube::runtime::watcher;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::retry::jittered;

/// Short waits: the API is usually back at once, and people look at what waits for it.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Hands every event of a watch to `on_event` until `shutdown`. `what` names the watch in the log.
pub(crate) async fn follow<K>(
    what: &str,
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>>,
    shutdown: &CancellationToken,
    on_event: impl FnMut(watcher::Event<K>),
) where
    K: Resource<DynamicType = ()> + Clone + Debug,
{
    follow_woken(what, events, shutdown, &Notify::new(), on_event).await;
}

/// The same; `wake` ends a wait after a failure early, for who learns that the other side is back.
pub(crate) async fn follow_woken<K>(
    what: &str,
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>>,
    shutdown: &CancellationToken,
    wake: &Notify,
    mut on_event: impl FnMut(watcher::Event<K>),
) where
    K: Resource<DynamicType = ()> + Clone + Debug,
{
    let mut events = pin!(events);
    let mut wait = FIRST;
    loop {
        let event = tokio::select! {
            () = shutdown.cancelled() => return,
            event = events.next() => event,
        };
        let error = match event {
            Some(Ok(event)) => {
                // The beginning of a list is no success yet.
                if !matches!(event, watcher::Event::Init) {
                    wait = FIRST;
                }
                on_event(event);
                continue;
            }
            Some(Err(error)) => error,
            None => return,
        };
        if wait == FIRST {
            tracing::warn!(what, error = crate::error::chain(&error), "watch failed, trying again");
        } else {
            tracing::debug!(what, error = crate::error::chain(&error), "watch fails still");
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = wake.notified() => {}
            () = tokio::time::sleep(jittered(wait)) => {}
        }
        wait = (wait * 2).min(LONGEST);
    }
}
