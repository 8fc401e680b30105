//! Keeping the gateway's stream open.

use std::sync::Arc;
use std::time::Duration;

use futures::AsyncBufReadExt as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Feed, GatewayState, News, Subscriber};
use crate::config::Timings;
use crate::gateway::client::{GatewayClient, GatewayError};
use crate::gateway::wire::Line;
use crate::retry::Retries;

/// The gateway pings every 15 s; a stream that is silent for longer than this is dead.
const SILENCE: Duration = Duration::from_secs(45);
/// A longer line than this comes from no gateway of ours.
const MAX_LINE: usize = 1024 * 1024;

impl Feed {
    /// Follows the gateway until `shutdown`.
    pub(crate) async fn run(
        &self,
        client: &GatewayClient,
        timings: &Timings,
        subscribers: &[Arc<dyn Subscriber>],
        shutdown: &CancellationToken,
    ) {
        let retries = Retries::new(timings);
        loop {
            let epoch = self.epoch();
            let ended = tokio::select! {
                () = shutdown.cancelled() => return,
                ended = self.follow(client, subscribers) => ended,
            };
            if self.epoch() != epoch {
                retries.forget(&());
            }
            tracing::warn!(error = &ended as &dyn std::error::Error, "lost the gateway, trying again");
            let wait = self.reconnect_wait(&retries, timings, subscribers, &ended);
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// How long to wait for the next attempt. Says that the gateway is away once the grace period is over: after the
    /// attempts that fit into it.
    fn reconnect_wait(
        &self,
        retries: &Retries<()>,
        timings: &Timings,
        subscribers: &[Arc<dyn Subscriber>],
        ended: &FeedError,
    ) -> Duration {
        let wait = retries.failed(()).min(Duration::from_secs(2));
        let failed_for = self.write(|state| state.away_since.get_or_insert_with(Instant::now).elapsed());
        if failed_for >= timings.gateway_grace {
            let unreachable = GatewayState::Unreachable(crate::error::chain(ended));
            let changed = self.write(|state| {
                let changed = !matches!(state.gateway, GatewayState::Unreachable(_));
                state.gateway = unreachable;
                changed
            });
            if changed {
                for subscriber in subscribers {
                    subscriber.all_changed();
                }
            }
        }
        wait
    }

    async fn follow(&self, client: &GatewayClient, subscribers: &[Arc<dyn Subscriber>]) -> FeedError {
        let stream = match client.watch().await {
            Ok(stream) => stream,
            Err(error) => return FeedError::Open(error),
        };
        let mut stream = Box::pin(stream);
        let mut line = Vec::new();
        loop {
            line.clear();
            match tokio::time::timeout(SILENCE, read_line(&mut stream, &mut line)).await {
                Ok(Ok(0)) => return FeedError::Ended,
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return FeedError::Read(error),
                Err(_elapsed) => return FeedError::Silent,
            }
            let news = match serde_json::from_slice::<Line>(&line) {
                Ok(parsed) => self.take(parsed),
                Err(error) => {
                    tracing::warn!(%error, "the gateway sent a line that cannot be read");
                    News::Nothing
                }
            };
            for subscriber in subscribers {
                match &news {
                    News::Nothing => {}
                    News::About(objects) => subscriber.changed(objects),
                    News::Everything => subscriber.all_changed(),
                }
            }
        }
    }
}

/// Reads up to and with the next line feed, within bounds.
async fn read_line(
    stream: &mut (impl futures::AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
) -> std::io::Result<usize> {
    use futures::AsyncReadExt as _;
    let mut bounded = stream.take(MAX_LINE as u64);
    let n = bounded.read_until(b'\n', line).await?;
    if n == MAX_LINE { Err(std::io::ErrorKind::FileTooLarge.into()) } else { Ok(n) }
}

/// Why the stream ended.
#[derive(Debug, thiserror::Error)]
enum FeedError {
    #[error("failed to open the watch of planes")]
    Open(#[source] GatewayError),
    #[error("failed to read the watch of planes")]
    Read(#[source] std::io::Error),
    #[error("the watch of planes ended")]
    Ended,
    #[error("the watch of planes was silent for too long")]
    Silent,
}
