//! Which custom resources are registered, which agents are connected, and who may speak for whom.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::broadcast;

use buildplane_api::names::CrRef;
use buildplane_tls::{PeerCertificates, TrustAnchors, verify_client};

use crate::events::{Event, PlaneStatus, Refused, Removed};

mod refusal;
mod route;
mod speaker;
mod state;

pub(crate) use refusal::NotAdmitted;
pub(crate) use route::{Admission, Link, Route};
use speaker::Verdict;
pub(crate) use speaker::{PlaneKey, Speaker};
pub(crate) use state::Binding;
use state::{Registration, State};

/// Events that a watcher may be behind before it is cut off and has to begin anew.
const EVENTS: usize = 1024;
/// Refusals that watchers are told of in one second.
const REFUSALS_PER_SECOND: u32 = 20;

/// Why a custom resource was not registered.
#[derive(Debug, thiserror::Error)]
#[error("{limit} custom resources are registered already")]
pub(crate) struct RegistryFull {
    limit: usize,
}

/// Custom resources and connections. Changes go through one lock, under which certificates are verified; requests find
/// their way through another, which is only ever held for a map access.
#[derive(Debug)]
pub(crate) struct Registry {
    state: Mutex<State>,
    routes: RwLock<HashMap<CrRef, Arc<Route>>>,
    events: broadcast::Sender<Bytes>,
    limits: Limits,
    begun: Instant,
    told: Mutex<Told>,
}

/// How many refusals were told in the second that goes on.
#[derive(Debug, Default)]
struct Told {
    second: u64,
    n_refusals: u32,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections that the CA of one custom resource vouches for.
    pub(crate) agents_per_plane: usize,
    pub(crate) registrations: usize,
}

impl Registry {
    pub(crate) fn new(limits: Limits) -> Self {
        let (events, _) = broadcast::channel(EVENTS);
        Self {
            state: Mutex::default(),
            routes: RwLock::default(),
            events,
            limits,
            begun: Instant::now(),
            told: Mutex::default(),
        }
    }

    /// Registers a custom resource or changes its CA or cluster: open connections are judged anew at once.
    pub(crate) fn register(
        &self,
        plane: &PlaneKey,
        cr: &CrRef,
        anchors: TrustAnchors,
        cluster: Option<String>,
    ) -> Result<(), RegistryFull> {
        let mut state = self.lock();
        if let Some(known) = state.registrations.get(cr).filter(|known| known.route.plane != *plane) {
            let elsewhere = known.route.plane.clone();
            self.remove(&mut state, &elsewhere, cr);
            state.close_orphans(&elsewhere);
        }
        if !state.registrations.contains_key(cr) && state.registrations.len() >= self.limits.registrations {
            return Err(RegistryFull { limit: self.limits.registrations });
        }
        let registration = state
            .registrations
            .entry(cr.clone())
            .or_insert_with(|| Registration::new(cr, plane, anchors.clone()));
        registration.update(anchors, cluster);
        let route = Arc::clone(&registration.route);
        write(&self.routes).insert(cr.clone(), route);
        state.planes.entry(plane.clone()).or_default().crs.insert(cr.clone());
        state.judge(cr, SystemTime::now());
        state.close_orphans(plane);
        self.announce(&state, cr);
        Ok(())
    }

    /// Removes a custom resource, if it is registered with this plane.
    pub(crate) fn unregister(&self, plane: &PlaneKey, cr: &CrRef) {
        let mut state = self.lock();
        self.remove(&mut state, plane, cr);
        state.close_orphans(plane);
    }

    fn remove(&self, state: &mut State, plane: &PlaneKey, cr: &CrRef) {
        let Some(known) = state.registrations.get(cr).filter(|known| known.route.plane == *plane) else {
            return;
        };
        known.route.replace(Vec::new());
        state.registrations.remove(cr);
        self.publish(Event::Removed(Removed::new(&plane.id, cr)).line());
        write(&self.routes).remove(cr);
        if let Some(found) = state.planes.get_mut(plane) {
            found.crs.remove(cr);
        }
        state.forget_if_empty(plane);
    }

    /// Another replica's word on which cluster serves a custom resource: the older binding holds, so that all replicas
    /// come to the same. `trust` says which CA theirs was made under; one made under another says nothing.
    pub(crate) fn adopt(&self, plane: &PlaneKey, cr: &CrRef, theirs: Binding, trust: &str) {
        let mut state = self.lock();
        let Some(known) = state.registrations.get_mut(cr).filter(|known| known.route.plane == *plane) else {
            return;
        };
        if known.adopt(theirs, trust) {
            state.judge(cr, SystemTime::now());
            state.close_orphans(plane);
            self.announce(&state, cr);
        }
    }

    /// Judges who connects, before the connection is accepted.
    pub(crate) fn judge(&self, plane: &PlaneKey, speaker: &Speaker) -> Result<(), NotAdmitted> {
        let state = self.lock();
        let Some(found) = state.planes.get(plane).filter(|plane| !plane.crs.is_empty()) else {
            return Err(NotAdmitted::NotRegistered);
        };
        let now = SystemTime::now();
        let mut is_known = false;
        let mut errors = Vec::new();
        let mut conflicts = Vec::new();
        for (cr, known) in found.crs.iter().filter_map(|cr| state.registrations.get_key_value(cr)) {
            match speaker.judge(cr, &known.anchors, known.cluster(), now) {
                Verdict::Admitted(_) | Verdict::NotServed(_)
                    if known.n_links() < self.limits.agents_per_plane =>
                {
                    return Ok(());
                }
                Verdict::Admitted(_) | Verdict::NotServed(_) => is_known = true,
                Verdict::OtherCluster { bound, is_served } => conflicts.push((cr.clone(), bound, is_served)),
                Verdict::NotAccepted(error) => errors.push((cr.clone(), error.to_string())),
            }
        }
        if is_known {
            return Err(NotAdmitted::PlaneFull { limit: self.limits.agents_per_plane });
        }
        // Those that it would serve come first; where it would serve none of them, the conflict is theirs all the same.
        if conflicts.iter().any(|(_, _, is_served)| *is_served) {
            conflicts.retain(|(_, _, is_served)| *is_served);
        }
        let Some((_, bound, _)) = conflicts.first() else { return Err(NotAdmitted::NotAccepted { errors }) };
        let bound = bound.clone();
        let stated = speaker.cluster.clone().unwrap_or_default();
        let crs = conflicts.into_iter().map(|(cr, _, _)| cr).collect();
        Err(NotAdmitted::ClusterConflict { crs, bound, stated })
    }

    /// The custom resources of these planes whose CA vouches for a peer, whatever plane its certificate names.
    pub(crate) fn vouching(&self, planes: &[PlaneKey], peer: &PeerCertificates) -> Vec<CrRef> {
        let state = self.lock();
        let now = SystemTime::now();
        let crs = planes.iter().filter_map(|plane| state.planes.get(plane)).flat_map(|plane| &plane.crs);
        let vouches = |cr: &&CrRef| {
            let known = state.registrations.get(*cr);
            known.is_some_and(|known| verify_client(&known.anchors, peer, now).is_ok())
        };
        crs.filter(vouches).cloned().collect()
    }

    /// Tells watchers of an agent that was turned away: the plane as a whole, and each custom resource that it concerns.
    /// Anybody with a certificate of his own making can be turned away as often as he likes, so only so many are told in
    /// a second.
    pub(crate) fn refuse(&self, plane: &PlaneKey, refused: &NotAdmitted) {
        {
            let second = self.begun.elapsed().as_secs();
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.second != second {
                *told = Told { second, n_refusals: 0 };
            }
            if told.n_refusals >= REFUSALS_PER_SECOND {
                return;
            }
            told.n_refusals += 1;
        }
        self.publish(Event::Refused(Refused::new(plane, refused.reason(), &refused.to_string())).line());
        let mut state = self.lock();
        for (cr, message) in refused.concerns() {
            let Some(registration) = state.registrations.get_mut(&cr) else { continue };
            if registration.refuse(refused, &message) {
                self.announce(&state, &cr);
            }
        }
    }

    /// Admits a connection to every custom resource that accepts it. It may have been accepted a moment ago and be
    /// nobody's by now; then it is closed.
    pub(crate) fn connect(&self, link: &Arc<Link>) {
        let mut state = self.lock();
        let plane = state.planes.entry(link.plane.clone()).or_default();
        plane.links.push(Arc::clone(link));
        let now = SystemTime::now();
        for cr in plane.crs.clone() {
            let Some(registration) = state.registrations.get_mut(&cr) else { continue };
            if registration.judge_new(link, now) {
                self.announce(&state, &cr);
            }
        }
        state.close_orphans(&link.plane);
    }

    /// Forgets a connection that has ended.
    pub(crate) fn disconnect(&self, link: &Link) {
        let mut state = self.lock();
        let Some(plane) = state.planes.get_mut(&link.plane) else { return };
        plane.links.retain(|known| known.id != link.id);
        let seen = link.last_seen(Timestamp::now());
        for cr in plane.crs.clone() {
            let Some(registration) = state.registrations.get_mut(&cr) else { continue };
            if registration.forget(link, seen) {
                self.announce(&state, &cr);
            }
        }
        state.forget_if_empty(&link.plane);
    }

    /// Judges anew where a certificate began or ended to be valid since.
    pub(crate) fn sweep(&self, now: SystemTime) {
        let mut state = self.lock();
        let due = state.registrations.values().filter(|registration| registration.is_due(now));
        let due: Vec<Arc<Route>> = due.map(|registration| Arc::clone(&registration.route)).collect();
        for route in due {
            if state.judge(&route.cr, now) {
                self.announce(&state, &route.cr);
            }
            state.close_orphans(&route.plane);
        }
    }

    /// The way to a custom resource's plane.
    pub(crate) fn route(&self, cr: &CrRef) -> Option<Arc<Route>> {
        self.routes.read().unwrap_or_else(PoisonError::into_inner).get(cr).map(Arc::clone)
    }

    /// A watcher's beginning: what is known now, and what changes from then on.
    pub(crate) fn watch(&self) -> (Vec<Bytes>, broadcast::Receiver<Bytes>) {
        let state = self.lock();
        let changes = self.events.subscribe();
        let now = state.registrations.keys().filter_map(|cr| state.status_line(cr)).collect();
        (now, changes)
    }

    /// The custom resources that have an agent, and when it was last heard of.
    pub(crate) fn heartbeats(&self) -> Vec<Bytes> {
        let state = self.lock();
        let connected = state.registrations.iter().filter(|(_, known)| !known.route.is_empty());
        connected.filter_map(|(cr, _)| state.status_line(cr)).collect()
    }

    /// Upstream's view of one plane: all of it, or what one custom resource sees.
    pub(crate) fn plane_status(&self, plane: &PlaneKey, cr: Option<&CrRef>) -> PlaneStatus {
        let state = self.lock();
        let links: Vec<&Arc<Link>> = state
            .planes
            .get(plane)
            .into_iter()
            .flat_map(|found| &found.links)
            .filter(|link| {
                cr.is_none_or(|cr| {
                    let registration = state.registrations.get(cr);
                    registration.is_some_and(|r| r.route.plane == *plane && r.route.admits(link))
                })
            })
            .collect();
        let instances: BTreeSet<&str> = links.iter().map(|link| link.speaker.instance.as_str()).collect();
        let now = Timestamp::now();
        let seen = links.iter().map(|link| link.last_seen(now)).max();
        PlaneStatus::new(plane.plane_type, &plane.id, instances.len(), seen)
    }

    /// Every plane with a connection.
    pub(crate) fn plane_statuses(&self) -> Vec<PlaneStatus> {
        let mut connected: Vec<PlaneKey> = {
            let state = self.lock();
            state
                .planes
                .iter()
                .filter(|(_, plane)| !plane.links.is_empty())
                .map(|(key, _)| key.clone())
                .collect()
        };
        connected.sort();
        connected.iter().map(|key| self.plane_status(key, None)).collect()
    }

    /// Sends watchers a line.
    pub(crate) fn publish(&self, line: Bytes) {
        let _nobody_watches = self.events.send(line);
    }

    fn announce(&self, state: &State, cr: &CrRef) {
        if let Some(line) = state.status_line(cr) {
            self.publish(line);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
