//! Who is connected: the gateway's stream, followed for as long as the controllers run.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use buildplane_api::names::{CrRef, PlaneId, PlaneType};
use jiff::Timestamp;
use tokio::time::Instant;

use super::wire::{Agent, Line, RefusedLine, StatusLine};
use crate::config::Timings;

mod follow;

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

/// Whether a heartbeat is enough later than the last one that was told.
pub(crate) fn is_heartbeat_due(told: Option<Timestamp>, seen: Option<Timestamp>, interval: Duration) -> bool {
    match (told, seen) {
        (Some(told), Some(seen)) => {
            // A second less, because times are kept in whole seconds.
            let limit = interval.saturating_sub(Duration::from_secs(1));
            Duration::try_from(seen.duration_since(told))
                .is_ok_and(|passed| passed >= limit && !passed.is_zero())
        }
        (None, Some(_)) => true,
        (_, None) => false,
    }
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
    /// The heartbeat that the object was last looked at for.
    announced: Option<Timestamp>,
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

    fn take(&self, line: Line) -> News {
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
            Line::Status(status) => self.take_status(status),
            Line::Refused(refused) => self.take_refused(refused),
            Line::Ping | Line::Unknown => News::Nothing,
        }
    }

    fn take_status(&self, line: StatusLine) -> News {
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
            let announced = before.and_then(|before| before.announced);
            let is_news =
                !only_heartbeat || is_heartbeat_due(announced, connection.last_seen, self.heartbeat);
            let announced = if is_news { connection.last_seen } else { announced };
            state.connections.insert(key, Entry { connection, announced });
            if is_news { News::About(vec![cr]) } else { News::Nothing }
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
}

#[cfg(test)]
mod tests;
