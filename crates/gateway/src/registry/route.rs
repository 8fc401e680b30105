use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use buildplane_api::names::CrRef;
use buildplane_tunnel::Handle;

use crate::events::{Agent, Status, rfc3339, rfc3339_system};

use super::speaker::{PlaneKey, Speaker};

/// One agent connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: u64,
    pub(crate) plane: PlaneKey,
    pub(crate) speaker: Speaker,
    pub(crate) connected_at: Timestamp,
    pub(crate) handle: Handle,
    /// Ends the connection.
    pub(crate) closing: CancellationToken,
}

impl Link {
    /// When the agent was last heard of.
    pub(crate) fn last_seen(&self, now: Timestamp) -> Timestamp {
        now.checked_sub(self.handle.activity().idle()).unwrap_or(now)
    }
}

/// A connection that may speak for one custom resource.
#[derive(Debug, Clone)]
pub(crate) struct Admission {
    pub(crate) link: Arc<Link>,
    /// Cut when the connection may no longer speak for the custom resource: its streams for it end then.
    pub(crate) revoked: CancellationToken,
}

/// The way to one custom resource's plane.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) cr: CrRef,
    pub(crate) plane: PlaneKey,
    admissions: ArcSwap<Vec<Admission>>,
    next: AtomicUsize,
}

impl Route {
    pub(crate) fn new(cr: CrRef, plane: PlaneKey) -> Self {
        Self { cr, plane, admissions: ArcSwap::default(), next: AtomicUsize::new(0) }
    }

    /// The admitted connections, in the order in which they should be tried: each call begins with the next one.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = Admission> + use<> {
        let admissions = self.admissions.load_full();
        let begin = self.next.fetch_add(1, Ordering::Relaxed);
        let n_links = admissions.len();
        (0..n_links).filter_map(move |offset| {
            let index = begin.wrapping_add(offset).checked_rem(n_links)?;
            admissions.get(index).filter(|admission| !admission.link.handle.is_closed()).cloned()
        })
    }

    /// Whether a request can be sent.
    pub(crate) fn is_open(&self) -> bool {
        self.admissions.load().iter().any(|admission| !admission.link.handle.is_closed())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.admissions.load().is_empty()
    }

    pub(crate) fn admits(&self, link: &Link) -> bool {
        self.admissions.load().iter().any(|admission| admission.link.id == link.id)
    }

    pub(super) fn admissions(&self) -> Arc<Vec<Admission>> {
        self.admissions.load_full()
    }

    /// Replaces the admissions, and cuts the streams of those that are gone.
    pub(super) fn replace(&self, admissions: Vec<Admission>) -> bool {
        let before = self.admissions.load_full();
        let same = before.len() == admissions.len()
            && before.iter().zip(&admissions).all(|(one, other)| one.link.id == other.link.id);
        let kept: Vec<u64> = admissions.iter().map(|admission| admission.link.id).collect();
        self.admissions.store(Arc::new(admissions));
        for gone in before.iter().filter(|admission| !kept.contains(&admission.link.id)) {
            gone.revoked.cancel();
        }
        !same
    }

    /// Adds a connection that is new.
    pub(super) fn admit(&self, admission: Admission) {
        let mut admissions = self.admissions.load_full().to_vec();
        admissions.push(admission);
        self.admissions.store(Arc::new(admissions));
    }

    /// Forgets a connection that has ended. Its requests fail by themselves, and those that may are asked of another
    /// connection; a revocation would refuse them.
    pub(super) fn forget(&self, link: &Link) {
        let left =
            self.admissions.load().iter().filter(|admission| admission.link.id != link.id).cloned().collect();
        self.admissions.store(Arc::new(left));
    }

    /// Who is connected; an agent with several connections counts once.
    pub(crate) fn status(&self, last_seen: Option<Timestamp>) -> Status {
        let now = Timestamp::now();
        let admissions = self.admissions.load();
        let mut agents: BTreeMap<&str, Agent> = BTreeMap::new();
        for Admission { link, .. } in admissions.iter() {
            let Speaker { peer, instance, version, cluster, allowed } = &link.speaker;
            // The last connection says what holds now, the first since when.
            let since = agents.get(instance.as_str()).map(|known| known.connected_at.clone());
            let agent = Agent {
                instance: instance.clone(),
                version: version.clone(),
                certificate_not_after: rfc3339_system(peer.not_after()),
                connected_at: since.unwrap_or_else(|| rfc3339(link.connected_at)),
                cluster: cluster.clone(),
                narrowed: allowed.is_narrowed(),
            };
            agents.insert(instance, agent);
        }
        let seen = admissions.iter().map(|admission| admission.link.last_seen(now)).max().or(last_seen);
        Status::new(&self.plane.id, &self.cr, agents.into_values().collect(), seen)
    }
}
