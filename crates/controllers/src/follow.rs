//! Watches that never end: whatever goes wrong is logged once and tried again.

use std::fmt::Debug;
use std::pin::pin;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use kube::Resource;
use kube::runtime::utils::StreamBackoff;
use kube::runtime::watcher;
use tokio_util::sync::CancellationToken;

/// Short waits: the API is usually back at once, and people look at what waits for it.
#[derive(Debug)]
pub(crate) struct WatchBackoff {
    next: Duration,
}

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

impl Default for WatchBackoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
        Some(crate::retry::jittered(wait))
    }
}

impl kube::runtime::utils::Backoff for WatchBackoff {
    fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Hands every event of a watch to `on_event` until `shutdown`. `what` names the watch in the log.
pub(crate) async fn follow<K>(
    what: &str,
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>>,
    shutdown: &CancellationToken,
    mut on_event: impl FnMut(watcher::Event<K>),
) where
    K: Resource<DynamicType = ()> + Clone + Debug,
{
    let mut events = pin!(StreamBackoff::new(events, WatchBackoff::default()));
    let mut failing = false;
    loop {
        let event = tokio::select! {
            () = shutdown.cancelled() => return,
            event = events.next() => event,
        };
        match event {
            Some(Ok(event)) => {
                failing = false;
                on_event(event);
            }
            Some(Err(error)) if failing => tracing::debug!(what, %error, "watch fails still"),
            Some(Err(error)) => {
                failing = true;
                tracing::warn!(what, error = &error as &dyn std::error::Error, "watch failed, trying again");
            }
            None => return,
        }
    }
}
