//! Who is connected: the gateway's stream, followed for as long as the controllers run.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use buildplane_api::names::{CrRef, PlaneId, PlaneType};
use futures::AsyncBufReadExt as _;
use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::client::{GatewayClient, GatewayError};
use super::wire::{Agent, Line, RefusedLine, StatusLine};
use crate::config::Timings;
use crate::retry::Retries;

/// The gateway pings every 15 s; a stream that is silent for longer than this is dead.
const SILENCE: Duration = Duration::from_secs(45);
/// A longer line than this comes from no gateway of ours.
const MAX_LINE: usize = 1024 * 1024;

/// The agents that are connected for one plane object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Connection {
    pub(crate) connected: bool,
    pub(crate) n_agents: u32,
    pub(crate) last_seen: Option<Timestamp>,
    pub(crate) agents: Vec<Agent>,
}

/// An agent that the gateway turned away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) at: Option<Timestamp>,
}

/// Whether the gateway can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GatewayState {
    /// Not yet, right after the start.
    Connecting,
    /// It is followed.
    Connected,
    /// It has been away for a while, for this reason.
    Unreachable(String),
}

/// Is told which objects have news.
pub(crate) trait Subscriber: Send + Sync {
    /// There is news about these objects.
    fn changed(&self, objects: &[CrRef]);
    /// There is news about every object.
    fn all_changed(&self);
}

/// What the gateway says.
pub(crate) struct Feed {
    state: RwLock<State>,
    heartbeat: Duration,
}

struct State {
    gateway: GatewayState,
    epoch: u64,
    /// Since when attempts to follow it fail.
    away_since: Option<Instant>,
    connections: HashMap<(PlaneId, CrRef), Entry>,
    refusals: HashMap<(PlaneType, PlaneId), Refusal>,
}

struct Entry {
    connection: Connection,
    /// When the object was last looked at because of a heartbeat.
    announced: Instant,
}

/// What a line changes.
#[derive(Debug, PartialEq, Eq)]
enum News {
    Nothing,
    About(Vec<CrRef>),
    Everything,
}

impl Feed {
    pub(crate) fn new(timings: &Timings) -> Arc<Self> {
        let state = State {
            gateway: GatewayState::Connecting,
            epoch: 0,
            away_since: None,
            connections: HashMap::new(),
            refusals: HashMap::new(),
        };
        Arc::new(Self { state: RwLock::new(state), heartbeat: timings.heartbeat })
    }

    /// Counts the connections to the gateway: whatever it was told before the last one, it may have forgotten.
    pub(crate) fn epoch(&self) -> u64 {
        self.read(|state| state.epoch)
    }

    pub(crate) fn gateway(&self) -> GatewayState {
        self.read(|state| state.gateway.clone())
    }

    pub(crate) fn connection(&self, plane_id: &PlaneId, cr: &CrRef) -> Option<Connection> {
        let key = (plane_id.clone(), cr.clone());
        self.read(|state| state.connections.get(&key).map(|entry| entry.connection.clone()))
    }

    pub(crate) fn refusal(&self, plane_type: PlaneType, plane_id: &PlaneId) -> Option<Refusal> {
        let key = (plane_type, plane_id.clone());
        self.read(|state| state.refusals.get(&key).cloned())
    }

    /// The plane ids under which the gateway knows an object.
    pub(crate) fn planes_of(&self, cr: &CrRef) -> HashSet<PlaneId> {
        self.read(|state| {
            let of_cr = state.connections.keys().filter(|(_, known)| known == cr);
            of_cr.map(|(plane_id, _)| plane_id.clone()).collect()
        })
    }

    /// The gateway was made to forget an object.
    pub(crate) fn forget(&self, plane_id: &PlaneId, cr: &CrRef) {
        self.write(|state| state.connections.remove(&(plane_id.clone(), cr.clone())));
    }

    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn take(&self, line: Line, now: Instant) -> News {
        match line {
            Line::Hello { instance } => {
                tracing::info!(gateway = instance, "following the gateway");
                self.write(|state| {
                    state.epoch += 1;
                    state.gateway = GatewayState::Connected;
                    state.away_since = None;
                });
                News::Everything
            }
            Line::Status(status) => self.take_status(status, now),
            Line::Refused(refused) => self.take_refused(refused),
            Line::Ping | Line::Unknown => News::Nothing,
        }
    }

    fn take_status(&self, line: StatusLine, now: Instant) -> News {
        let (plane_id, cr) = match line.subject() {
            Ok(subject) => subject,
            Err(error) => {
                tracing::warn!(%error, "the gateway told of a plane that cannot be");
                return News::Nothing;
            }
        };
        let connection = Connection {
            connected: line.connected,
            n_agents: line.connected_agents,
            last_seen: line.last_seen,
            agents: line.agents,
        };
        self.write(|state| {
            if connection.connected {
                state.refusals.remove(&(cr.plane_type(), plane_id.clone()));
            }
            let key = (plane_id, cr.clone());
            let before = state.connections.get(&key);
            let only_heartbeat = before.is_some_and(|before| {
                Connection { last_seen: connection.last_seen, ..before.connection.clone() } == connection
            });
            let announced = match before {
                Some(before) if only_heartbeat && now < before.announced + self.heartbeat => before.announced,
                _ => now,
            };
            state.connections.insert(key, Entry { connection, announced });
            if announced == now { News::About(vec![cr]) } else { News::Nothing }
        })
    }

    fn take_refused(&self, line: RefusedLine) -> News {
        let Ok((plane_type, plane_id)) = line.subject() else { return News::Nothing };
        let refusal = Refusal { reason: line.reason, message: line.message, at: line.at };
        self.write(|state| {
            let of_plane =
                state.connections.keys().filter(|(id, cr)| *id == plane_id && cr.plane_type() == plane_type);
            let objects: Vec<CrRef> = of_plane.map(|(_, cr)| cr.clone()).collect();
            // Agents knock at names that nobody registered, too; those are not kept.
            if objects.is_empty() {
                return News::Nothing;
            }
            let before = state.refusals.insert((plane_type, plane_id), refusal.clone());
            let same = before.is_some_and(|b| b.reason == refusal.reason && b.message == refusal.message);
            if same { News::Nothing } else { News::About(objects) }
        })
    }

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
                Ok(parsed) => self.take(parsed, Instant::now()),
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

#[cfg(test)]
mod tests;
