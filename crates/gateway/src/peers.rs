//! The other replicas of the gateway: which are alive, and which of them has an agent for whom.
//!
//! ```text
//!  discovery ─ addresses ─▶ follow (one for each) ─ its feed ─▶ Peers ─▶ ReplicaSet, told to agents and watchers
//!                                                                └────▶ way: where a request can go that cannot be
//!                                                                       answered here ─▶ forward ─▶ client
//! ```
//!
//! Replicas keep no common state. Each one watches the planes feed of each other, as a controller does, and believes what
//! it says about the other's own connections; a feed that breaks takes that away at once.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use buildplane_api::names::CrRef;
use buildplane_wire::{Replica, ReplicaSet};

use crate::events::{Event, ReplicaEntry};
use crate::registry::{Binding, PlaneKey, Registry};

mod client;
mod config;
mod discovery;
mod feed;
mod follow;
mod forward;

use client::PeerClient;
pub use config::{Address, Discovery, InvalidAddress, Peers as PeersConfig};
pub(crate) use discovery::run;
use feed::{Hello, StatusLine};
pub(crate) use forward::{Forwarder, believed, forwarded_id};

/// The group of the replicas' own client certificates. Only certificates of the control plane's CA put anybody into it.
pub const GATEWAYS: &str = "openchoreo:gateways";

/// Which replicas are alive, and which of them has an agent for whom.
#[derive(Debug)]
pub(crate) struct Peers {
    registry: Arc<Registry>,
    /// This replica.
    own: Replica,
    state: Mutex<State>,
    replicas: watch::Sender<ReplicaSet>,
}

#[derive(Debug, Default)]
struct State {
    /// Where this replica found itself.
    own_url: Option<String>,
    /// This replica is going: it names itself no more, by which agents and watchers see it.
    is_leaving: bool,
    peers: BTreeMap<String, Peer>,
}

/// One other replica.
#[derive(Debug)]
struct Peer {
    client: Arc<PeerClient>,
    /// Where agents reach it alone.
    address: Option<String>,
    /// Whether its feed is open. Without one, nothing is known of its connections.
    is_followed: bool,
    /// The custom resources that it has an agent for.
    connected: HashMap<CrRef, PlaneKey>,
}

impl Peers {
    /// A replica that knows of no other.
    pub(crate) fn new(registry: Arc<Registry>, address: Option<String>) -> Self {
        let own = Replica { instance: uuid::Uuid::new_v4().to_string(), address };
        let set = ReplicaSet { instance: own.instance.clone(), replicas: vec![own.clone()] };
        Self { registry, own, state: Mutex::default(), replicas: watch::Sender::new(set) }
    }

    /// The random id of this replica.
    pub(crate) fn instance(&self) -> &str {
        &self.own.instance
    }

    /// The replicas that are alive, as agents are told.
    pub(crate) fn replicas(&self) -> watch::Receiver<ReplicaSet> {
        self.replicas.subscribe()
    }

    /// The replicas that are alive, as watchers are told.
    pub(crate) fn entries(&self) -> Vec<ReplicaEntry> {
        entries(&self.own, &self.lock())
    }

    /// The replicas that have an agent for a custom resource.
    pub(crate) fn way(&self, plane: &PlaneKey, cr: &CrRef) -> Vec<Arc<PeerClient>> {
        let state = self.lock();
        let there = |peer: &&Peer| peer.is_followed && peer.connected.get(cr) == Some(plane);
        state.peers.values().filter(there).map(|peer| Arc::clone(&peer.client)).collect()
    }

    /// This replica will soon be gone: agents look for the others, and watchers follow those.
    pub(crate) fn leave(&self) {
        self.change(|state| state.is_leaving = true);
    }

    /// Whether this replica will soon be gone.
    pub(crate) fn is_leaving(&self) -> bool {
        self.lock().is_leaving
    }

    /// An address turned out to be this replica's own.
    fn found_itself(&self, client: &PeerClient) {
        self.change(|state| state.own_url = Some(client.url()));
    }

    /// A peer's feed has begun: what was known of its connections before is void.
    fn begins(&self, hello: &Hello, client: &Arc<PeerClient>) {
        let itself = hello.replicas.iter().find(|replica| replica.instance == hello.instance);
        let peer = Peer {
            client: Arc::clone(client),
            address: itself.and_then(|itself| itself.address.clone()),
            is_followed: true,
            connected: HashMap::new(),
        };
        self.change(|state| state.peers.insert(hello.instance.clone(), peer));
    }

    /// A peer says who is connected there.
    fn takes(&self, instance: &str, line: &StatusLine) {
        let (plane, cr) = match line.subject() {
            Ok(subject) => subject,
            Err(error) => {
                tracing::warn!(%error, "a gateway replica told of a plane that cannot be");
                return;
            }
        };
        if let Some(binding) = &line.binding
            && let Some(cluster) = &line.cluster_id
        {
            let theirs = Binding { cluster: cluster.clone(), since: binding.since };
            self.registry.adopt(&plane, &cr, theirs, &binding.trust);
        }
        if let Some(peer) = self.lock().peers.get_mut(instance) {
            if line.connected {
                peer.connected.insert(cr, plane);
            } else {
                peer.connected.remove(&cr);
            }
        }
    }

    /// A peer forgot a custom resource.
    fn forgets(&self, instance: &str, line: &StatusLine) {
        let Ok((plane, cr)) = line.subject() else { return };
        if let Some(peer) = self.lock().peers.get_mut(instance)
            && peer.connected.get(&cr) == Some(&plane)
        {
            peer.connected.remove(&cr);
        }
    }

    /// A peer's feed broke. It may still live.
    fn breaks(&self, instance: &str) {
        if let Some(peer) = self.lock().peers.get_mut(instance) {
            peer.is_followed = false;
        }
    }

    /// A peer cannot be reached.
    fn loses(&self, instance: &str) {
        // Another address may have found it since.
        self.change(|state| {
            if state.peers.get(instance).is_some_and(|peer| !peer.is_followed) {
                state.peers.remove(instance);
            }
        });
    }

    /// Makes a change, and tells agents and watchers if the replicas that are alive are others now.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) {
        let mut state = self.lock();
        let before = entries(&self.own, &state);
        change(&mut state);
        let now = entries(&self.own, &state);
        if now == before {
            return;
        }
        let peers = state.peers.iter();
        let peers = peers
            .map(|(instance, peer)| Replica { instance: instance.clone(), address: peer.address.clone() });
        let own = (!state.is_leaving).then(|| self.own.clone());
        let mut replicas: Vec<Replica> = own.into_iter().chain(peers).collect();
        replicas.sort();
        tracing::info!(count = replicas.len(), "the gateway's replicas have changed");
        self.replicas.send_if_modified(|known| {
            let is_other = known.replicas != replicas;
            known.replicas = replicas;
            is_other
        });
        self.registry.publish(Event::Replicas { replicas: &now }.line());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn entries(own: &Replica, state: &State) -> Vec<ReplicaEntry> {
    let own = (!state.is_leaving).then(|| ReplicaEntry {
        instance: own.instance.clone(),
        url: state.own_url.clone(),
        address: own.address.clone(),
    });
    let peers = state.peers.iter().map(|(instance, peer)| ReplicaEntry {
        instance: instance.clone(),
        url: Some(peer.client.url()),
        address: peer.address.clone(),
    });
    own.into_iter().chain(peers).collect()
}
