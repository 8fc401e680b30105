//! The platform's long-running parts: each is owned, and none ends unnoticed.

use std::error::Error as StdError;
use std::future::Future;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Error;

/// How long the parts may take to finish after they were asked to.
const GRACE: Duration = Duration::from_secs(5);

/// The running parts and the tokens that stop them.
///
/// What works stops before what it works with: a part that has last words to write still finds the API that takes
/// them.
pub(crate) struct Tasks {
    workers: JoinSet<Result<(), Error>>,
    services: JoinSet<Result<(), Error>>,
    stop_workers: CancellationToken,
    stop_services: CancellationToken,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self {
            workers: JoinSet::new(),
            services: JoinSet::new(),
            stop_workers: CancellationToken::new(),
            stop_services: CancellationToken::new(),
        }
    }

    /// What stops the services.
    pub(crate) fn token(&self) -> CancellationToken {
        self.stop_services.clone()
    }

    /// What stops the workers.
    pub(crate) fn worker_token(&self) -> CancellationToken {
        self.stop_workers.clone()
    }

    /// Runs a service until the platform stops. Ending earlier, even without an error, takes the platform down.
    pub(crate) fn run<F, E>(&mut self, part: &'static str, work: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: StdError + Send + 'static,
    {
        self.services.spawn(watched(part, work, self.stop_services.clone()));
    }

    /// The same for a worker: it is stopped, and waited for, before any service is.
    pub(crate) fn work<F, E>(&mut self, part: &'static str, work: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: StdError + Send + 'static,
    {
        self.workers.spawn(watched(part, work, self.stop_workers.clone()));
    }

    /// Waits until a part fails; never returns while all is well.
    pub(crate) async fn failed(&mut self) -> Error {
        loop {
            let ended = tokio::select! {
                Some(ended) = self.workers.join_next() => ended,
                Some(ended) = self.services.join_next() => ended,
                else => std::future::pending().await,
            };
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error,
                Err(panic) => return Error::PartEnded { part: "a task", reason: panic.to_string() },
            }
        }
    }

    /// Stops every part: asks first, aborts what has not finished within the grace period.
    pub(crate) async fn stop(mut self) {
        self.stop_workers.cancel();
        drain(&mut self.workers).await;
        self.stop_services.cancel();
        drain(&mut self.services).await;
    }
}

async fn watched<F, E>(part: &'static str, work: F, stop: CancellationToken) -> Result<(), Error>
where
    F: Future<Output = Result<(), E>>,
    E: StdError,
{
    let ended = work.await;
    if stop.is_cancelled() {
        return Ok(());
    }
    let reason = ended.err().map_or_else(|| "it gave no reason".to_owned(), |error| chain(&error));
    Err(Error::PartEnded { part, reason })
}

async fn drain(running: &mut JoinSet<Result<(), Error>>) {
    let drained = async { while running.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, drained).await.is_err() {
        tracing::warn!(parts = running.len(), "parts did not finish in time; aborting them");
        running.shutdown().await;
    }
}

/// An error with its causes, in a line.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test]
    async fn workers_have_ended_before_services_are_asked_to() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let note = |what: &'static str| {
            let order = Arc::clone(&order);
            move || order.lock().unwrap().push(what)
        };
        let mut tasks = Tasks::new();
        let (service_asked, asked) = (note("service asked"), tasks.token());
        tasks.run("service", async move {
            asked.cancelled().await;
            service_asked();
            Ok::<_, Infallible>(())
        });
        let (worker_ended, asked) = (note("worker ended"), tasks.worker_token());
        tasks.work("worker", async move {
            asked.cancelled().await;
            tokio::task::yield_now().await;
            worker_ended();
            Ok::<_, Infallible>(())
        });
        tasks.stop().await;
        assert_eq!(*order.lock().unwrap(), ["worker ended", "service asked"]);
    }

    #[tokio::test]
    async fn a_part_that_ends_by_itself_is_named() {
        let mut tasks = Tasks::new();
        tasks.run("the clock", async { Err(std::io::Error::other("stopped")) });
        assert_eq!(tasks.failed().await.to_string(), "the clock ended unexpectedly: stopped");
    }
}
