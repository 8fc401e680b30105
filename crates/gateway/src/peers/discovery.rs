//! Which addresses replicas may have.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::client::{Credentials, PeerClient};
use super::config::{Address, Discovery, Peers as Config};
use super::{Peers, follow};

/// How often names are resolved.
const INTERVAL: Duration = Duration::from_secs(2);
/// More addresses than this are no set of replicas.
const MAX_REPLICAS: usize = 64;

/// Follows every replica that there is, until `stop`.
pub(crate) async fn run(config: Config, peers: Arc<Peers>, stop: CancellationToken) {
    let Config { discovery, identity, roots, server_name } = config;
    let mut following: BTreeMap<SocketAddr, Arc<AtomicBool>> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    let mut failed: BTreeSet<String> = BTreeSet::new();
    loop {
        let mut wanted: BTreeMap<SocketAddr, String> = BTreeMap::new();
        let hosts = match &discovery {
            Discovery::List(list) => list.as_slice(),
            Discovery::Dns(name) => std::slice::from_ref(name),
        };
        let mut is_complete = true;
        for Address { host, port } in hosts {
            let looked_up = tokio::net::lookup_host((host.as_str(), *port));
            if let Ok(Ok(found)) = tokio::time::timeout(INTERVAL, looked_up).await {
                failed.remove(host);
                wanted.extend(found.take(MAX_REPLICAS).map(|address| (address, host.clone())));
                continue;
            }
            // Nothing is let go of because a resolver failed: the feeds say who is alive.
            is_complete = false;
            if failed.insert(host.clone()) {
                tracing::warn!(host, "the addresses of gateway replicas cannot be resolved");
            }
        }
        for (address, is_wanted) in &following {
            is_wanted.store(!is_complete || wanted.contains_key(address), Ordering::Relaxed);
        }
        for (address, host) in wanted {
            if following.len() >= MAX_REPLICAS || following.contains_key(&address) {
                continue;
            }
            let name = server_name.clone().unwrap_or(host);
            let credentials = Credentials { identity: identity.clone(), roots: Arc::clone(&roots), name };
            let client = Arc::new(PeerClient::new(address, credentials));
            let is_wanted = Arc::new(AtomicBool::new(true));
            following.insert(address, Arc::clone(&is_wanted));
            let (peers, stop) = (Arc::clone(&peers), stop.clone());
            tasks.spawn(async move { (address, follow::follow(peers, client, is_wanted, stop).await) });
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        while let Some(ended) = tasks.try_join_next() {
            // Its own address stays known, and is not asked again.
            if let Ok((address, follow::Outcome::Gone)) = ended {
                following.remove(&address);
            }
        }
    }
    while tasks.join_next().await.is_some() {}
}
