//! What is registered and connected, and the judgement of one by the other.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use buildplane_api::names::CrRef;
use buildplane_tls::TrustAnchors;

use crate::events::{BindingStatus, Event, Status, Unadmitted};

use super::refusal::{NotAdmitted, Refusal};
use super::route::{Admission, Link, Route};
use super::speaker::{PlaneKey, Verdict};

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) registrations: HashMap<CrRef, Registration>,
    pub(super) planes: HashMap<PlaneKey, Plane>,
}

/// A custom resource whose CA was handed to this gateway.
#[derive(Debug)]
pub(super) struct Registration {
    pub(super) anchors: TrustAnchors,
    pub(super) route: Arc<Route>,
    /// The cluster that its owner pinned it to.
    pinned: Option<String>,
    /// The cluster of the first agent that was admitted.
    bound: Option<Binding>,
    /// Connections whose certificate it accepts, and whose owner leaves it out.
    unserved: Vec<Arc<Link>>,
    refusal: Option<Refusal>,
    pub(super) last_seen: Option<Timestamp>,
    /// When a certificate begins or ends to be valid, which changes what was judged.
    recheck: Option<SystemTime>,
}

/// A cluster that was found to serve a custom resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) cluster: String,
    pub(crate) since: Timestamp,
}

impl Binding {
    fn is_older_than(&self, other: &Self) -> bool {
        (self.since, &self.cluster) < (other.since, &other.cluster)
    }
}

#[derive(Debug, Default)]
pub(super) struct Plane {
    pub(super) crs: BTreeSet<CrRef>,
    pub(super) links: Vec<Arc<Link>>,
}

impl Registration {
    pub(super) fn new(cr: &CrRef, plane: &PlaneKey, anchors: TrustAnchors) -> Self {
        Self {
            anchors,
            route: Arc::new(Route::new(cr.clone(), plane.clone())),
            pinned: None,
            bound: None,
            unserved: Vec::new(),
            refusal: None,
            last_seen: None,
            recheck: None,
        }
    }

    /// Takes what its owner says now. The cluster that was found stays bound, unless the CA became another one altogether
    /// or the owner names another cluster.
    pub(super) fn update(&mut self, anchors: TrustAnchors, pinned: Option<String>) {
        let is_moved =
            self.bound.as_ref().zip(pinned.as_ref()).is_some_and(|(bound, pinned)| bound.cluster != *pinned);
        if is_moved || !self.anchors.shares_with(&anchors) {
            self.bound = None;
        }
        self.anchors = anchors;
        self.pinned = pinned;
    }

    /// The cluster that serves it, where that is known.
    pub(super) fn cluster(&self) -> Option<&str> {
        self.pinned.as_deref().or_else(|| self.bound.as_ref().map(|bound| bound.cluster.as_str()))
    }

    /// Takes another replica's binding where it is older than the own. Returns whether anything changed.
    pub(super) fn adopt(&mut self, theirs: Binding, trust: &str) -> bool {
        let is_news = self.pinned.is_none()
            && self.bound.as_ref().is_none_or(|ours| theirs.is_older_than(ours))
            && trust == self.trust();
        if is_news {
            self.bound = Some(theirs);
        }
        is_news
    }

    /// Names the CA bundle, briefly.
    fn trust(&self) -> String {
        let mut fingerprints = self.anchors.fingerprints();
        fingerprints.sort();
        fingerprints.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    /// How many connections its CA vouches for.
    pub(super) fn n_links(&self) -> usize {
        self.route.admissions().len() + self.unserved.len()
    }

    /// Whether a connection has to do with it: speaks for it, or would if the owner of the build cluster let it.
    pub(super) fn knows(&self, link: &Link) -> bool {
        self.route.admits(link) || self.unserved.iter().any(|known| known.id == link.id)
    }

    /// Judges every connection of the plane anew. Returns whether anything changed that watchers are told.
    pub(super) fn judge_all(&mut self, links: &[Arc<Link>], now: SystemTime) -> bool {
        let before = self.route.admissions();
        let unserved: Vec<u64> = self.unserved.drain(..).map(|link| link.id).collect();
        let cluster = self.cluster().map(ToOwned::to_owned);
        let seen = before.iter().map(|admission| admission.link.last_seen(Timestamp::now())).max();
        self.last_seen = self.last_seen.max(seen);
        self.recheck = self.anchors.next_change(now);
        let mut admissions = Vec::new();
        let mut is_refused = false;
        for link in links {
            match self.judge(link, now) {
                Judged::Admitted => {
                    // A connection that stays admitted keeps its token, and with it its streams.
                    let revoked = before.iter().find(|a| a.link.id == link.id).map(|a| a.revoked.clone());
                    let revoked = revoked.unwrap_or_else(CancellationToken::new);
                    admissions.push(Admission { link: Arc::clone(link), revoked });
                }
                Judged::NotAdmitted => {}
                Judged::Refused => is_refused = true,
            }
        }
        if !is_refused && admissions.iter().any(|now| before.iter().all(|then| then.link.id != now.link.id)) {
            self.refusal = None;
        }
        let is_changed = self.route.replace(admissions);
        is_changed
            || is_refused
            || cluster.as_deref() != self.cluster()
            || !unserved.iter().eq(self.unserved.iter().map(|link| &link.id))
    }

    /// Judges one connection that is new. Returns whether anything changed that watchers are told.
    pub(super) fn judge_new(&mut self, link: &Arc<Link>, now: SystemTime) -> bool {
        let n_unserved = self.unserved.len();
        match self.judge(link, now) {
            Judged::Admitted => {
                self.route.admit(Admission { link: Arc::clone(link), revoked: CancellationToken::new() });
                self.refusal = None;
                true
            }
            Judged::NotAdmitted => self.unserved.len() != n_unserved,
            Judged::Refused => true,
        }
    }

    fn judge(&mut self, link: &Arc<Link>, now: SystemTime) -> Judged {
        let verdict = link.speaker.judge(&self.route.cr, &self.anchors, self.cluster(), now);
        let mut recheck =
            |at: SystemTime| self.recheck = Some(self.recheck.map_or(at, |known| known.min(at)));
        match verdict {
            Verdict::Admitted(verified) => {
                recheck(verified.valid_until);
                if self.cluster().is_none() {
                    let bind = |cluster| Binding { cluster, since: link.connected_at };
                    self.bound = link.speaker.cluster.clone().map(bind);
                }
                Judged::Admitted
            }
            Verdict::NotServed(verified) => {
                recheck(verified.valid_until);
                self.unserved.push(Arc::clone(link));
                Judged::NotAdmitted
            }
            Verdict::OtherCluster { bound, is_served: true } => {
                let conflict = NotAdmitted::ClusterConflict {
                    crs: vec![self.route.cr.clone()],
                    bound,
                    stated: link.speaker.cluster.clone().unwrap_or_default(),
                };
                if self.refuse(&conflict, &conflict.to_string()) {
                    Judged::Refused
                } else {
                    Judged::NotAdmitted
                }
            }
            Verdict::OtherCluster { is_served: false, .. } => Judged::NotAdmitted,
            Verdict::NotAccepted(_) => {
                let begins = link.speaker.peer.not_before();
                if begins > now {
                    recheck(begins);
                }
                Judged::NotAdmitted
            }
        }
    }

    /// Keeps a refusal that concerns it. Returns whether that is news.
    pub(super) fn refuse(&mut self, refused: &NotAdmitted, message: &str) -> bool {
        let is_proven = refused.is_proven();
        // Anybody can present a certificate that is not accepted. Where agents are connected, that is noise.
        if !is_proven && !self.route.is_empty() {
            return false;
        }
        let refusal = Refusal::new(refused.reason(), message, is_proven, Timestamp::now());
        let is_news = self.refusal.as_ref().is_none_or(|before| refusal.replaces(before));
        if is_news {
            self.refusal = Some(refusal);
        }
        is_news
    }

    /// Forgets a connection that has ended. Returns whether anything changed that watchers are told.
    pub(super) fn forget(&mut self, link: &Link, seen: Timestamp) -> bool {
        let is_known = self.knows(link);
        if self.route.admits(link) {
            self.last_seen = self.last_seen.max(Some(seen));
            self.route.forget(link);
        }
        self.unserved.retain(|known| known.id != link.id);
        is_known
    }

    /// Whether a certificate began or ended to be valid since it was judged last.
    pub(super) fn is_due(&self, now: SystemTime) -> bool {
        self.recheck.is_some_and(|at| at < now)
    }

    pub(super) fn status(&self) -> Status {
        let admitted = self.route.admissions();
        let is_admitted = |instance: &str| admitted.iter().any(|a| a.link.speaker.instance == instance);
        let unadmitted: BTreeSet<Unadmitted> = self
            .unserved
            .iter()
            .filter(|link| !is_admitted(&link.speaker.instance))
            .map(|link| Unadmitted {
                instance: link.speaker.instance.clone(),
                version: link.speaker.version.clone(),
                message: format!(
                    "the agent's allowedPlanes leave {} out; the owner of the build cluster can add it",
                    self.route.cr
                ),
            })
            .collect();
        Status {
            cluster_id: self.cluster().map(ToOwned::to_owned),
            binding: self
                .bound
                .as_ref()
                .filter(|_| self.pinned.is_none())
                .map(|bound| BindingStatus { since: bound.since.to_string(), trust: self.trust() }),
            unadmitted: unadmitted.into_iter().collect(),
            refusal: self.refusal.as_ref().map(Refusal::status),
            ..self.route.status(self.last_seen)
        }
    }
}

enum Judged {
    Admitted,
    NotAdmitted,
    /// Not admitted, and the custom resource's owner is told why.
    Refused,
}

impl State {
    /// Judges every connection of its plane for one custom resource. Returns whether watchers are to be told.
    pub(super) fn judge(&mut self, cr: &CrRef, now: SystemTime) -> bool {
        let Some(registration) = self.registrations.get_mut(cr) else { return false };
        let plane = self.planes.get(&registration.route.plane);
        let links = plane.map(|plane| plane.links.as_slice()).unwrap_or_default();
        registration.judge_all(links, now)
    }

    /// Closes the connections that no custom resource knows any more.
    pub(super) fn close_orphans(&self, plane: &PlaneKey) {
        let Some(found) = self.planes.get(plane) else { return };
        for link in &found.links {
            let mut registrations = found.crs.iter().filter_map(|cr| self.registrations.get(cr));
            if !registrations.any(|registration| registration.knows(link)) {
                let instance = &link.speaker.instance;
                tracing::info!(plane = %plane.id, instance, "connection closed: no custom resource accepts it now");
                link.closing.cancel();
            }
        }
    }

    pub(super) fn forget_if_empty(&mut self, plane: &PlaneKey) {
        if self.planes.get(plane).is_some_and(|found| found.crs.is_empty() && found.links.is_empty()) {
            self.planes.remove(plane);
        }
    }

    pub(super) fn status_line(&self, cr: &CrRef) -> Option<Bytes> {
        let registration = self.registrations.get(cr)?;
        Some(Event::Status(Box::new(registration.status())).line())
    }
}
