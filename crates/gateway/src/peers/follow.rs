//! One address of a replica: follows the feed of whoever answers there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Peers;
use super::client::{ClientError, PeerBody, PeerClient};
use super::feed::Line;

/// A feed pings every 15 s; one that is silent for longer than this is dead.
const SILENCE: Duration = Duration::from_secs(45);
/// How long a replica may take to begin its feed.
const BEGIN: Duration = Duration::from_secs(5);
/// A longer line than this comes from no gateway of ours.
const MAX_LINE: usize = 1024 * 1024;
/// Pauses between attempts.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(2);

/// Why a feed could not be followed any more.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error("the replica cannot be reached")]
    Unreachable(#[from] ClientError),
    #[error("the replica did not answer")]
    Unanswered(#[source] hyper::Error),
    #[error(
        "the replica answered {0}; its authority must know this replica's client certificate, in the group openchoreo:gateways"
    )]
    Refused(StatusCode),
    #[error("the replica did not begin its feed in time")]
    TimedOut,
    #[error("the feed broke")]
    Broken(#[source] hyper::Error),
    #[error("the feed ended")]
    Ended,
    #[error("the feed was silent for too long")]
    Silent,
    #[error("the feed has a line of more than {MAX_LINE} bytes")]
    Line,
}

/// How following an address ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The address is this replica's own.
    Itself,
    /// Nobody expects a replica there any more.
    Gone,
}

/// Follows one address for as long as replicas may be there.
pub(super) async fn follow(
    peers: Arc<Peers>,
    client: Arc<PeerClient>,
    is_wanted: Arc<AtomicBool>,
    stop: CancellationToken,
) -> Outcome {
    let mut pause = SHORTEST;
    let mut lost = None;
    loop {
        let mut known = None;
        let begun = Instant::now();
        let followed = stop.run_until_cancelled(once(&peers, &client, &mut known)).await;
        let error = match followed {
            None => return Outcome::Gone,
            Some(Ok(Itself)) => {
                peers.found_itself(&client);
                return Outcome::Itself;
            }
            Some(Err(error)) => error,
        };
        if let Some(instance) = known {
            // It may be that only the connection broke: look again at once, and let go of it if it is not there.
            tracing::info!(
                replica = client.url(),
                instance,
                error = &error as &dyn std::error::Error,
                "lost the feed of a gateway replica"
            );
            peers.breaks(&instance);
            lost = Some(instance);
            if begun.elapsed() > LONGEST {
                pause = SHORTEST;
                continue;
            }
        } else if let Some(instance) = lost.take() {
            peers.loses(&instance);
        }
        tracing::debug!(
            replica = client.url(),
            error = &error as &dyn std::error::Error,
            "no feed of a gateway replica"
        );
        if !is_wanted.load(Ordering::Relaxed)
            || stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none()
        {
            return Outcome::Gone;
        }
        pause = (pause * 2).min(LONGEST);
    }
}

/// The address is this replica's own.
struct Itself;

/// Follows one feed to its end; `known` becomes the replica that tells.
async fn once(
    peers: &Peers,
    client: &Arc<PeerClient>,
    known: &mut Option<String>,
) -> Result<Itself, FollowError> {
    let body =
        tokio::time::timeout(BEGIN, open(client)).await.map_err(|_elapsed| FollowError::TimedOut)??;
    let mut lines = Lines { body, buffer: BytesMut::new() };
    loop {
        let next = tokio::time::timeout(SILENCE, lines.next()).await;
        let line = next.map_err(|_elapsed| FollowError::Silent)??;
        match serde_json::from_slice::<Line>(&line) {
            Ok(Line::Hello(hello)) if hello.instance == peers.instance() => return Ok(Itself),
            Ok(Line::Hello(hello)) => {
                tracing::info!(
                    replica = client.url(),
                    instance = hello.instance,
                    "following a gateway replica"
                );
                peers.begins(&hello, client);
                *known = Some(hello.instance);
            }
            Ok(Line::Status(status)) => {
                if let Some(instance) = known.as_deref() {
                    peers.takes(instance, &status);
                }
            }
            Ok(Line::Removed(removed)) => {
                if let Some(instance) = known.as_deref() {
                    peers.forgets(instance, &removed);
                }
            }
            Ok(Line::Other) => {}
            Err(error) => tracing::warn!(%error, "a gateway replica sent a line that cannot be read"),
        }
    }
}

async fn open(client: &PeerClient) -> Result<PeerBody, FollowError> {
    let slot = client.slot().await?;
    let mut request = Request::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
    *request.uri_mut() = format!("{}/api/v1/planes/watch", client.url()).parse().unwrap_or_default();
    let response = slot.send(request).await.map_err(|failed| FollowError::Unanswered(failed.error))?;
    match response.status() {
        StatusCode::OK => Ok(response.into_body()),
        other => Err(FollowError::Refused(other)),
    }
}

struct Lines {
    body: PeerBody,
    buffer: BytesMut,
}

impl Lines {
    async fn next(&mut self) -> Result<BytesMut, FollowError> {
        let mut searched = 0;
        loop {
            let fresh = self.buffer.get(searched..).unwrap_or_default();
            if let Some(end) = fresh.iter().position(|byte| *byte == b'\n') {
                return Ok(self.buffer.split_to(searched + end + 1));
            }
            searched = self.buffer.len();
            if searched > MAX_LINE {
                return Err(FollowError::Line);
            }
            match self.body.frame().await {
                None => return Err(FollowError::Ended),
                Some(Err(error)) => return Err(FollowError::Broken(error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}
