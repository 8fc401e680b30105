//! The platform's long-running parts: each is owned, and none ends unnoticed.

use std::error::Error as StdError;
use std::future::Future;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Error;

/// How long the parts may take to finish after they were asked to.
const GRACE: Duration = Duration::from_secs(5);

/// A set of running parts and the token that stops them.
pub(crate) struct Tasks {
    running: JoinSet<Result<(), Error>>,
    shutdown: CancellationToken,
}

impl Tasks {
    pub(crate) fn new(shutdown: CancellationToken) -> Self {
        Self { running: JoinSet::new(), shutdown }
    }

    pub(crate) fn token(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Runs a part until the platform stops. Ending earlier, even without an error, takes the platform down.
    pub(crate) fn run<F, E>(&mut self, part: &'static str, work: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: StdError + Send + 'static,
    {
        let shutdown = self.shutdown.clone();
        self.running.spawn(async move {
            let ended = work.await;
            if shutdown.is_cancelled() {
                return Ok(());
            }
            let reason = ended.err().map_or_else(|| "it gave no reason".to_owned(), |error| chain(&error));
            Err(Error::PartEnded { part, reason })
        });
    }

    /// Waits until a part fails; never returns while all is well.
    pub(crate) async fn failed(&mut self) -> Error {
        loop {
            match self.running.join_next().await {
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(error))) => return error,
                Some(Err(panic)) => {
                    return Error::PartEnded { part: "a task", reason: panic.to_string() };
                }
                None => std::future::pending().await,
            }
        }
    }

    /// Stops every part: asks first, aborts what has not finished within the grace period.
    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        let drained = async { while self.running.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, drained).await.is_err() {
            tracing::warn!(parts = self.running.len(), "parts did not finish in time; aborting them");
            self.running.shutdown().await;
        }
    }
}

fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
