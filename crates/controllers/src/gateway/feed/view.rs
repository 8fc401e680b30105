//! What one replica says, and what all of them say together.

use std::collections::{BTreeMap, HashMap};

use buildplane_api::names::{CrRef, PlaneId};
use jiff::Timestamp;
use tokio::time::Instant;

use super::Target;
use crate::gateway::client::GatewayClient;
use crate::gateway::wire::{Agent, Refusal, ReplicaEntry, StatusLine, Unadmitted};

/// The agents of one plane object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Connection {
    pub(crate) connected: bool,
    pub(crate) n_agents: u32,
    pub(crate) last_seen: Option<Timestamp>,
    /// The cluster that serves it.
    pub(crate) cluster_id: Option<String>,
    /// The agents that are connected for it, by instance.
    pub(crate) agents: Vec<Agent>,
    /// Agents that its CA verifies and that may not serve it, by instance.
    pub(crate) unadmitted: Vec<Unadmitted>,
    /// The last refusal that concerns it, since an agent connected.
    pub(crate) refusal: Option<Refusal>,
}

impl From<StatusLine> for Connection {
    fn from(mut line: StatusLine) -> Self {
        line.agents.sort_by(|a, b| a.instance.cmp(&b.instance));
        line.unadmitted.sort_by(|a, b| a.instance.cmp(&b.instance));
        Self {
            connected: line.connected,
            n_agents: line.connected_agents,
            last_seen: line.last_seen,
            cluster_id: line.cluster_id,
            agents: line.agents,
            unadmitted: line.unadmitted,
            refusal: line.refusal,
        }
    }
}

impl Connection {
    /// Puts together what several replicas say: an agent that is connected to all of them counts once.
    pub(super) fn merge<'a>(told: impl Iterator<Item = &'a Self>) -> Option<Self> {
        let told: Vec<&Self> = told.collect();
        if let [only] = told.as_slice() {
            return Some(Self::clone(only));
        }
        let mut agents = BTreeMap::<&str, Agent>::new();
        let mut unadmitted = BTreeMap::<&str, &Unadmitted>::new();
        for agent in told.iter().flat_map(|status| &status.agents) {
            let known = agents.entry(&agent.instance).or_insert_with(|| agent.clone());
            known.connected_at = known.connected_at.into_iter().chain(agent.connected_at).min();
            known.certificate_not_after =
                known.certificate_not_after.into_iter().chain(agent.certificate_not_after).max();
            known.narrowed &= agent.narrowed;
        }
        for agent in told.iter().flat_map(|status| &status.unadmitted) {
            unadmitted.entry(&agent.instance).or_insert(agent);
        }
        let connected = told.iter().any(|status| status.connected);
        // Two replicas may have met two clusters at the same moment. The one whose agent was there first is taken, and
        // registered with both.
        let first = told
            .iter()
            .filter(|status| status.connected && status.cluster_id.is_some())
            .min_by_key(|status| status.agents.iter().map(|agent| agent.connected_at).min());
        let bound = first.or_else(|| told.iter().find(|status| status.cluster_id.is_some()));
        let refusals = told.iter().filter_map(|status| status.refusal.as_ref());
        Some(Self {
            connected,
            n_agents: told
                .iter()
                .map(|status| status.n_agents)
                .chain(u32::try_from(agents.len()))
                .max()
                .unwrap_or_default(),
            last_seen: told.iter().filter_map(|status| status.last_seen).max(),
            cluster_id: bound.and_then(|status| status.cluster_id.clone()),
            agents: agents.into_values().collect(),
            unadmitted: unadmitted.into_values().cloned().collect(),
            refusal: refusals.max_by_key(|refusal| refusal.at).cloned(),
        })
        .filter(|_| !told.is_empty())
    }

    /// Whether nothing is new but when an agent was last heard of, or was turned away once more for the same reason.
    pub(super) fn is_same(before: Option<&Self>, after: Option<&Self>) -> bool {
        match (before, after) {
            (Some(before), Some(after)) => before.without_times() == after.without_times(),
            (None, None) => true,
            _ => false,
        }
    }

    fn without_times(&self) -> Self {
        let refusal = self.refusal.clone().map(|refusal| Refusal { at: None, ..refusal });
        Self { last_seen: None, refusal, ..self.clone() }
    }
}

/// One gateway replica.
pub(super) struct Replica {
    client: GatewayClient,
    epoch: u64,
    /// How many streams of it are followed.
    n_streams: usize,
    /// Since when it is followed.
    pub(super) begun: Instant,
    /// Since when it is no longer.
    pub(super) lost_since: Option<Instant>,
    /// Which replicas are alive, it says.
    pub(super) listed: Vec<ReplicaEntry>,
    statuses: HashMap<CrRef, BTreeMap<PlaneId, Connection>>,
}

impl Replica {
    pub(super) fn new(client: GatewayClient, epoch: u64, listed: Vec<ReplicaEntry>) -> Self {
        Self {
            client,
            epoch,
            n_streams: 1,
            begun: Instant::now(),
            lost_since: None,
            listed,
            statuses: HashMap::new(),
        }
    }

    pub(super) fn target(&self, instance: &str) -> Target {
        Target { instance: instance.to_owned(), epoch: self.epoch, client: self.client.clone() }
    }

    pub(super) fn is_open(&self) -> bool {
        self.n_streams > 0
    }

    pub(super) fn reopen(&mut self, listed: Vec<ReplicaEntry>) {
        self.n_streams += 1;
        self.listed = listed;
    }

    pub(super) fn close(&mut self) {
        self.n_streams = self.n_streams.saturating_sub(1);
        if self.n_streams == 0 {
            self.lost_since = Some(Instant::now());
        }
    }

    pub(super) fn put(&mut self, plane_id: &PlaneId, cr: &CrRef, status: Connection) {
        self.statuses.entry(cr.clone()).or_default().insert(plane_id.clone(), status);
    }

    pub(super) fn status(&self, plane_id: &PlaneId, cr: &CrRef) -> Option<&Connection> {
        self.statuses.get(cr)?.get(plane_id)
    }

    pub(super) fn forget(&mut self, plane_id: &PlaneId, cr: &CrRef) {
        if let Some(planes) = self.statuses.get_mut(cr) {
            planes.remove(plane_id);
            if planes.is_empty() {
                self.statuses.remove(cr);
            }
        }
    }

    pub(super) fn planes_of(&self, cr: &CrRef) -> impl Iterator<Item = &PlaneId> {
        self.statuses.get(cr).into_iter().flat_map(BTreeMap::keys)
    }

    pub(super) fn objects(&self) -> impl Iterator<Item = &CrRef> {
        self.statuses.keys()
    }

    pub(super) fn known(&self) -> impl Iterator<Item = (&PlaneId, &CrRef)> {
        self.statuses.iter().flat_map(|(cr, planes)| planes.keys().map(move |plane_id| (plane_id, cr)))
    }
}
