//! Who is connected: the streams of all gateway replicas, followed for as long as the controllers run, and merged.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use buildplane_api::names::{CrRef, PlaneId, PlaneType};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::client::GatewayClient;
use super::wire::{Line, Refusal, RefusedLine, ReplicaEntry, StatusLine};
use crate::config::Timings;

mod follow;
mod view;

pub(crate) use view::Connection;
use view::Replica;

/// Heartbeats are spread over this many moments of their interval.
const SLOTS: u64 = 30;

/// Whether the gateways can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GatewayState {
    /// Not yet, right after the start.
    Connecting,
    /// At least one is followed.
    Connected,
    /// All have been away for a while, for this reason.
    Unreachable(String),
}

/// Is told which objects have news.
pub(crate) trait Subscriber: Send + Sync {
    /// There is news about these objects.
    fn changed(&self, objects: &[CrRef]);
    /// There is news about every object.
    fn all_changed(&self);
}

/// A replica that is to know every plane object.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) instance: String,
    /// Counts the lives in which a replica was followed: what it was told in an earlier one, it may have forgotten.
    pub(crate) epoch: u64,
    pub(crate) client: GatewayClient,
}

/// What the gateways say.
pub(crate) struct Feed {
    state: RwLock<State>,
    timings: Timings,
    /// The replicas, or what they say of each other, changed.
    rearranged: Notify,
    settled: tokio::sync::watch::Sender<bool>,
    /// Something was told of an object.
    heard: Notify,
}

struct State {
    gateway: GatewayState,
    /// The number of the last life of a replica.
    epoch: u64,
    /// Since when no replica is followed.
    away_since: Option<Instant>,
    /// What went wrong last.
    last_error: Option<String>,
    /// The replica that answers at the shared address.
    at_shared: Option<String>,
    replicas: BTreeMap<String, Replica>,
    /// The objects that share a plane.
    planes: HashMap<(PlaneType, PlaneId), HashSet<CrRef>>,
    refusals: HashMap<(PlaneType, PlaneId), Refusal>,
    /// Objects whose heartbeat may be written.
    due: HashSet<CrRef>,
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
            last_error: None,
            at_shared: None,
            replicas: BTreeMap::new(),
            planes: HashMap::new(),
            refusals: HashMap::new(),
            due: HashSet::new(),
        };
        Arc::new(Self {
            state: RwLock::new(state),
            timings: *timings,
            rearranged: Notify::new(),
            heard: Notify::new(),
            settled: tokio::sync::watch::Sender::new(false),
        })
    }

    /// Waits until a gateway is followed, or has been away for a while: until then there is nothing to tell of planes.
    pub(crate) async fn settled(&self) {
        let mut settled = self.settled.subscribe();
        // The sender lives as long as this does.
        let _closed =
            tokio::time::timeout(self.timings.gateway_grace, settled.wait_for(|settled| *settled)).await;
    }

    pub(crate) fn gateway(&self) -> GatewayState {
        self.read(|state| state.gateway.clone())
    }

    /// The replicas that are to know every object.
    pub(crate) fn targets(&self) -> Vec<Target> {
        self.read(|state| state.replicas.iter().map(|(instance, replica)| replica.target(instance)).collect())
    }

    /// The replica to ask for an object's plane: one that has an agent for it.
    pub(crate) fn replica_of(&self, plane_id: &PlaneId, cr: &CrRef) -> Option<Target> {
        self.read(|state| {
            let with_agent = state.replicas.iter().find(|(_, replica)| {
                replica.is_open() && replica.status(plane_id, cr).is_some_and(|status| status.connected)
            });
            with_agent.map(|(instance, replica)| replica.target(instance))
        })
    }

    /// What all replicas together say about an object; none as long as one of them may still have something to say.
    pub(crate) fn connection(&self, plane_id: &PlaneId, cr: &CrRef) -> Option<Connection> {
        self.read(|state| state.merged(plane_id, cr, self.timings.gateway_grace))
    }

    /// The same, waiting for a moment where nothing is told yet and a gateway is there to tell it.
    pub(crate) async fn told(
        &self,
        plane_id: &PlaneId,
        cr: &CrRef,
        patience: Duration,
    ) -> Option<Connection> {
        let deadline = Instant::now() + patience;
        loop {
            let mut heard = std::pin::pin!(self.heard.notified());
            heard.as_mut().enable();
            let connection = self.connection(plane_id, cr);
            if connection.is_some() || self.gateway() != GatewayState::Connected {
                return connection;
            }
            if tokio::time::timeout_at(deadline, heard).await.is_err() {
                return None;
            }
        }
    }

    /// The last refusal of an agent of a plane as a whole.
    pub(crate) fn refusal(&self, plane_type: PlaneType, plane_id: &PlaneId) -> Option<Refusal> {
        let key = (plane_type, plane_id.clone());
        self.read(|state| state.refusals.get(&key).cloned())
    }

    /// The other objects that the gateways know for a plane.
    pub(crate) fn siblings(&self, plane_id: &PlaneId, cr: &CrRef) -> Siblings {
        self.read(|state| {
            let key = (cr.plane_type(), plane_id.clone());
            let others = || state.planes.get(&key).into_iter().flatten().filter(|other| *other != cr);
            Siblings {
                n: others().count(),
                any_connected: others().any(|other| state.is_connected(plane_id, other)),
            }
        })
    }

    /// The plane ids under which a replica knows an object.
    pub(crate) fn planes_of(&self, instance: &str, cr: &CrRef) -> HashSet<PlaneId> {
        self.read(|state| {
            let replica = state.replicas.get(instance);
            replica.map(|replica| replica.planes_of(cr).cloned().collect()).unwrap_or_default()
        })
    }

    /// Every object that a replica knows.
    pub(crate) fn objects(&self) -> HashSet<CrRef> {
        self.read(|state| state.replicas.values().flat_map(Replica::objects).cloned().collect())
    }

    /// A replica was made to forget an object.
    pub(crate) fn forget(&self, instance: &str, plane_id: &PlaneId, cr: &CrRef) {
        self.write(|state| {
            if let Some(replica) = state.replicas.get_mut(instance) {
                replica.forget(plane_id, cr);
            }
            state.unlist(plane_id, cr);
        });
    }

    /// Whether the heartbeat of an object may be written now; once in each interval.
    pub(crate) fn take_due(&self, cr: &CrRef) -> bool {
        self.write(|state| state.due.remove(cr))
    }

    /// The objects of one moment of the interval whose agents may have been heard of since.
    fn pulse(&self, moment: u64) -> Vec<CrRef> {
        self.write(|state| {
            let connected = state
                .planes
                .iter()
                .flat_map(|((_, plane_id), objects)| objects.iter().map(move |cr| (plane_id, cr)));
            let beating: Vec<CrRef> = connected
                .filter(|(plane_id, cr)| slot(cr) == moment % SLOTS && state.is_connected(plane_id, cr))
                .map(|(_, cr)| cr.clone())
                .collect();
            state.due.extend(beating.iter().cloned());
            beating
        })
    }

    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a line of the stream of a replica; `instance` is none before its Hello.
    fn take(&self, instance: &mut Option<String>, client: &GatewayClient, line: Line) -> News {
        match (line, instance.as_deref()) {
            (Line::Hello { instance: name, replicas }, _) => {
                tracing::info!(gateway = name, "following a gateway");
                self.write(|state| {
                    if let Some(before) = instance.replace(name.clone()).filter(|before| *before != name) {
                        state.close(&before);
                    }
                    state.open(&name, client, replicas);
                });
                self.settled.send_replace(true);
                self.rearranged.notify_one();
                News::Everything
            }
            (Line::Replicas { replicas }, Some(instance)) => {
                self.write(|state| {
                    if let Some(replica) = state.replicas.get_mut(instance) {
                        replica.listed = replicas;
                    }
                });
                self.rearranged.notify_one();
                News::Nothing
            }
            (Line::Status(status), Some(instance)) => {
                let news = self.take_status(instance, status);
                self.heard.notify_waiters();
                news
            }
            (Line::Refused(refused), Some(_)) => self.take_refused(refused),
            (_, _) => News::Nothing,
        }
    }

    fn take_status(&self, instance: &str, line: StatusLine) -> News {
        let (plane_id, cr) = match line.subject() {
            Ok(subject) => subject,
            Err(error) => {
                tracing::warn!(%error, "the gateway told of a plane that cannot be");
                return News::Nothing;
            }
        };
        let status = Connection::from(line);
        let grace = self.timings.gateway_grace;
        self.write(|state| {
            let plane = (cr.plane_type(), plane_id.clone());
            let before = state.merged(&plane_id, &cr, grace);
            let served_before = state.is_served(&plane);
            let Some(replica) = state.replicas.get_mut(instance) else { return News::Nothing };
            if status.connected {
                state.refusals.remove(&plane);
            }
            replica.put(&plane_id, &cr, status);
            let siblings = state.planes.entry(plane.clone()).or_default();
            let is_new = siblings.insert(cr.clone());
            // Whoever was alone on the plane is no longer.
            let is_joined = is_new && siblings.len() == 2;
            let after = state.merged(&plane_id, &cr, grace);
            let mut about = Vec::new();
            if !Connection::is_same(before.as_ref(), after.as_ref()) {
                about.push(cr.clone());
            }
            if is_joined || state.is_served(&plane) != served_before {
                let siblings = state.planes.get(&plane).into_iter().flatten();
                about.extend(siblings.filter(|sibling| **sibling != cr).cloned());
            }
            if about.is_empty() { News::Nothing } else { News::About(about) }
        })
    }

    fn take_refused(&self, line: RefusedLine) -> News {
        let Ok(plane) = line.subject() else { return News::Nothing };
        let refusal = line.refusal;
        self.write(|state| {
            let objects: Vec<CrRef> = state.planes.get(&plane).into_iter().flatten().cloned().collect();
            // Agents knock at names that nobody registered, too; those are not kept.
            if objects.is_empty() {
                return News::Nothing;
            }
            let before = state.refusals.insert(plane, refusal.clone());
            let same = before.is_some_and(|b| b.reason == refusal.reason && b.message == refusal.message);
            if same { News::Nothing } else { News::About(objects) }
        })
    }
}

/// The other objects of a plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Siblings {
    /// How many there are.
    pub(crate) n: usize,
    /// Whether an agent is connected for any of them.
    pub(crate) any_connected: bool,
}

impl State {
    /// A replica is followed.
    fn open(&mut self, instance: &str, client: &GatewayClient, listed: Vec<ReplicaEntry>) {
        self.gateway = GatewayState::Connected;
        self.away_since = None;
        if let Some(replica) = self.replicas.get_mut(instance).filter(|replica| replica.is_open()) {
            replica.reopen(listed);
            return;
        }
        self.epoch += 1;
        // What it said in an earlier life is said again, as far as it still holds.
        self.drop_replica(instance);
        self.replicas.insert(instance.to_owned(), Replica::new(client.clone(), self.epoch, listed));
    }

    /// A stream of a replica ended.
    fn close(&mut self, instance: &str) {
        if let Some(replica) = self.replicas.get_mut(instance) {
            replica.close();
        }
        if !self.replicas.values().any(Replica::is_open) {
            self.away_since.get_or_insert_with(Instant::now);
        }
    }

    /// Forgets a replica, and gives the objects that it knew.
    fn drop_replica(&mut self, instance: &str) -> Vec<CrRef> {
        let Some(replica) = self.replicas.remove(instance) else { return Vec::new() };
        for (plane_id, cr) in replica.known() {
            self.unlist(plane_id, cr);
        }
        replica.objects().cloned().collect()
    }

    /// Takes an object off a plane's list, if no replica knows it there.
    fn unlist(&mut self, plane_id: &PlaneId, cr: &CrRef) {
        if self.replicas.values().any(|replica| replica.status(plane_id, cr).is_some()) {
            return;
        }
        self.due.remove(cr);
        let plane = (cr.plane_type(), plane_id.clone());
        if let Some(objects) = self.planes.get_mut(&plane) {
            objects.remove(cr);
            if objects.is_empty() {
                self.planes.remove(&plane);
                self.refusals.remove(&plane);
            }
        }
    }

    fn merged(&self, plane_id: &PlaneId, cr: &CrRef, grace: Duration) -> Option<Connection> {
        let told = self.replicas.values().filter_map(|replica| replica.status(plane_id, cr));
        let merged = Connection::merge(told)?;
        // A replica that was just found says in a moment what it knows.
        let is_young =
            |replica: &Replica| replica.begun.elapsed() < grace && replica.status(plane_id, cr).is_none();
        if !merged.connected && self.replicas.values().any(is_young) { None } else { Some(merged) }
    }

    fn is_connected(&self, plane_id: &PlaneId, cr: &CrRef) -> bool {
        let told = |replica: &Replica| replica.status(plane_id, cr).is_some_and(|status| status.connected);
        self.replicas.values().any(told)
    }

    /// Whether an agent is connected for any object of a plane.
    fn is_served(&self, plane: &(PlaneType, PlaneId)) -> bool {
        let objects = self.planes.get(plane).into_iter().flatten();
        objects.into_iter().any(|cr| self.is_connected(&plane.1, cr))
    }
}

/// The moment of an object in the interval between heartbeats.
fn slot(cr: &CrRef) -> u64 {
    let mut hasher = DefaultHasher::new();
    cr.hash(&mut hasher);
    hasher.finish() % SLOTS
}

#[cfg(test)]
mod tests;
