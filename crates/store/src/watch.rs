//! Watchers: each has a bounded queue; one that lets it fill is closed.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures::Stream;
use tokio::sync::mpsc;

use crate::error::WatchError;
use crate::types::Change;

#[derive(Default)]
pub(crate) struct Watchers {
    open: Vec<Watcher>,
}

struct Watcher {
    prefix: Box<str>,
    queue: mpsc::Sender<Arc<Change>>,
    lagged: Arc<AtomicBool>,
}

impl Watchers {
    pub(crate) fn add(&mut self, prefix: &str, buffer: usize, backlog: VecDeque<Arc<Change>>) -> Watch {
        self.open.retain(|watcher| !watcher.queue.is_closed());
        let (queue, changes) = mpsc::channel(buffer.max(1));
        let lagged = Arc::new(AtomicBool::new(false));
        self.open.push(Watcher { prefix: prefix.into(), queue, lagged: Arc::clone(&lagged) });
        Watch { backlog, changes, lagged, ended: false }
    }

    pub(crate) fn publish(&mut self, change: &Arc<Change>) {
        self.open.retain(|watcher| {
            if !change.key.starts_with(&*watcher.prefix) {
                return true;
            }
            match watcher.queue.try_send(Arc::clone(change)) {
                Ok(()) => true,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    watcher.lagged.store(true, Ordering::Release);
                    false
                }
                Err(mpsc::error::TrySendError::Closed(_)) => false,
            }
        });
    }

    pub(crate) fn len(&self) -> usize {
        self.open.iter().filter(|watcher| !watcher.queue.is_closed()).count()
    }

    pub(crate) fn close(&mut self) {
        self.open.clear();
    }
}

/// The changes under a prefix after a revision, in order, each once.
///
/// Ends after an error: [`WatchError::Lagged`] when it was read too slowly, [`WatchError::Closed`] when the store was
/// closed.
#[derive(Debug)]
pub struct Watch {
    backlog: VecDeque<Arc<Change>>,
    changes: mpsc::Receiver<Arc<Change>>,
    lagged: Arc<AtomicBool>,
    ended: bool,
}

impl Watch {
    /// The next change if one is there already. After `Store::revision` has been read as `r`, nothing up to `r` is
    /// left to come once this gives `None`.
    pub fn ready(&mut self) -> Option<Arc<Change>> {
        self.backlog.pop_front().or_else(|| self.changes.try_recv().ok())
    }
}

impl Stream for Watch {
    type Item = Result<Arc<Change>, WatchError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(change) = self.backlog.pop_front() {
            return Poll::Ready(Some(Ok(change)));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        match self.changes.poll_recv(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(change)) => Poll::Ready(Some(Ok(change))),
            Poll::Ready(None) => {
                self.ended = true;
                let lagged = self.lagged.load(Ordering::Acquire);
                Poll::Ready(Some(Err(if lagged { WatchError::Lagged } else { WatchError::Closed })))
            }
        }
    }
}
