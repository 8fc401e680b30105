use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Runs hyper's tasks of one connection so that they can be waited for and cut off.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionExecutor {
    tasks: TaskTracker,
    abort: CancellationToken,
}

impl ConnectionExecutor {
    pub(crate) fn new() -> Self {
        Self { tasks: TaskTracker::new(), abort: CancellationToken::new() }
    }

    /// Ends every task of the connection, now.
    pub(crate) fn abort(&self) {
        self.abort.cancel();
    }

    /// Ends them when the guard is dropped.
    pub(crate) fn abort_on_drop(&self) -> DropGuard {
        self.abort.clone().drop_guard()
    }

    /// Waits until no task of the connection is left.
    pub(crate) async fn finished(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl<F> hyper::rt::Executor<F> for ConnectionExecutor
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        let abort = self.abort.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                _output = future => {}
                () = abort.cancelled() => {}
            }
        });
    }
}
