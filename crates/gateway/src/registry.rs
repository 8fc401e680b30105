//! Which custom resources are registered, which agents are connected, and who may speak for whom.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use buildplane_api::names::CrRef;
use buildplane_tls::{PeerCertificates, TrustAnchors, verify_client};

use crate::events::{Event, PlaneStatus, Refused};

mod route;

pub(crate) use route::{Admission, Link, PlaneKey, Route};

/// Events that a watcher may be behind before it is cut off and has to begin anew.
const EVENTS: usize = 1024;
/// Refusals that watchers are told of in one second.
const REFUSALS_PER_SECOND: u32 = 20;

/// Why a connection may speak for nobody.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAdmitted {
    #[error("no custom resource with this plane id is registered")]
    NotRegistered,
    #[error("none of the {count} custom resources of the plane accepts the certificate: {first}")]
    NotAccepted { count: usize, first: String },
    #[error("the plane has {limit} connections already")]
    PlaneFull { limit: usize },
}

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
    pub(crate) agents_per_plane: usize,
    pub(crate) registrations: usize,
}

#[derive(Debug, Default)]
struct State {
    registrations: HashMap<CrRef, Registration>,
    planes: HashMap<PlaneKey, Plane>,
}

#[derive(Debug)]
struct Registration {
    anchors: TrustAnchors,
    route: Arc<Route>,
    last_seen: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Plane {
    crs: BTreeSet<CrRef>,
    links: Vec<Arc<Link>>,
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

    /// Registers a custom resource or changes its CA: open connections are judged anew at once.
    pub(crate) fn register(
        &self,
        plane: &PlaneKey,
        cr: &CrRef,
        anchors: TrustAnchors,
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
        let registration = state.registrations.entry(cr.clone()).or_insert_with(|| Registration {
            anchors: anchors.clone(),
            route: Arc::new(Route::new(cr.clone(), plane.clone())),
            last_seen: None,
        });
        registration.anchors = anchors;
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
        write(&self.routes).remove(cr);
        if let Some(found) = state.planes.get_mut(plane) {
            found.crs.remove(cr);
        }
        state.forget_if_empty(plane);
    }

    /// Judges a peer before its connection is accepted.
    pub(crate) fn judge(&self, plane: &PlaneKey, peer: &PeerCertificates) -> Result<(), NotAdmitted> {
        let state = self.lock();
        let Some(found) = state.planes.get(plane).filter(|plane| !plane.crs.is_empty()) else {
            return Err(NotAdmitted::NotRegistered);
        };
        if found.links.len() >= self.limits.agents_per_plane {
            return Err(NotAdmitted::PlaneFull { limit: self.limits.agents_per_plane });
        }
        let now = SystemTime::now();
        let mut first = None;
        for registration in found.crs.iter().filter_map(|cr| state.registrations.get(cr)) {
            match verify_client(&registration.anchors, peer, now) {
                Ok(_verified) => return Ok(()),
                Err(error) => first = first.or(Some(error)),
            }
        }
        let first = first.map(|error| error.to_string()).unwrap_or_default();
        Err(NotAdmitted::NotAccepted { count: found.crs.len(), first })
    }

    /// Admits a connection to every custom resource that accepts it. It may have been accepted a moment ago and be
    /// nobody's by now; then it is closed.
    pub(crate) fn connect(&self, link: &Arc<Link>) {
        let mut state = self.lock();
        let plane = state.planes.entry(link.plane.clone()).or_default();
        plane.links.push(Arc::clone(link));
        let now = SystemTime::now();
        for cr in plane.crs.clone() {
            if state.judge(&cr, now) {
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
            if registration.route.admits(link) {
                registration.last_seen = registration.last_seen.max(Some(seen));
                registration.route.forget(link);
                self.announce(&state, &cr);
            }
        }
        state.forget_if_empty(&link.plane);
    }

    /// Withdraws admissions whose certificates have expired since.
    pub(crate) fn sweep(&self, now: SystemTime) {
        let mut state = self.lock();
        let expired: Vec<Arc<Route>> = state
            .registrations
            .values()
            .filter(|registration| registration.route.admissions().iter().any(|a| a.valid_until < now))
            .map(|registration| Arc::clone(&registration.route))
            .collect();
        for route in expired {
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

    /// Tells watchers of an agent that was turned away. Anybody with a certificate of his own making can be turned away
    /// as often as he likes, so only so many are told in a second.
    pub(crate) fn publish_refusal(&self, refused: &Refused<'_>) {
        let second = self.begun.elapsed().as_secs();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.second != second {
            *told = Told { second, n_refusals: 0 };
        }
        if told.n_refusals < REFUSALS_PER_SECOND {
            told.n_refusals += 1;
            let _nobody_watches = self.events.send(Event::Refused(refused).line());
        }
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
        let instances: BTreeSet<&str> = links.iter().map(|link| link.instance.as_str()).collect();
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

    fn announce(&self, state: &State, cr: &CrRef) {
        if let Some(line) = state.status_line(cr) {
            let _nobody_watches = self.events.send(line);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Verifies every connection of the plane against one custom resource. Returns whether anything changed.
    fn judge(&mut self, cr: &CrRef, now: SystemTime) -> bool {
        let Some(registration) = self.registrations.get_mut(cr) else { return false };
        let route = &registration.route;
        let before = route.admissions();
        let links = self.planes.get(&route.plane).map(|plane| plane.links.as_slice()).unwrap_or_default();
        let admissions: Vec<Admission> = links
            .iter()
            .filter_map(|link| {
                let verified = link.verify(&registration.anchors, now).ok()?;
                // A connection that stays admitted keeps its token, and with it its streams.
                let revoked = before.iter().find(|a| a.link.id == link.id).map(|a| a.revoked.clone());
                let revoked = revoked.unwrap_or_else(CancellationToken::new);
                Some(Admission { link: Arc::clone(link), revoked, valid_until: verified.valid_until })
            })
            .collect();
        let seen = before.iter().map(|a| a.link.last_seen(Timestamp::now())).max();
        registration.last_seen = registration.last_seen.max(seen);
        route.replace(admissions)
    }

    /// Closes the connections that may speak for nobody any more.
    fn close_orphans(&self, plane: &PlaneKey) {
        let Some(found) = self.planes.get(plane) else { return };
        for link in &found.links {
            let admitted = found
                .crs
                .iter()
                .filter_map(|cr| self.registrations.get(cr))
                .any(|registration| registration.route.admits(link));
            if !admitted {
                tracing::info!(plane = %plane.id, instance = link.instance, "connection closed: no CA vouches for it now");
                link.closing.cancel();
            }
        }
    }

    fn forget_if_empty(&mut self, plane: &PlaneKey) {
        if self.planes.get(plane).is_some_and(|found| found.crs.is_empty() && found.links.is_empty()) {
            self.planes.remove(plane);
        }
    }

    fn status_line(&self, cr: &CrRef) -> Option<Bytes> {
        let registration = self.registrations.get(cr)?;
        Some(Event::Status(registration.route.status(registration.last_seen)).line())
    }
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
