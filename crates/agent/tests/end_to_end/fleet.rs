//! Several replicas of the gateway, and what stands before them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Handle, Runtime};
use tokio::task::{AbortHandle, JoinSet};

use buildplane_agent::ServerCa;
use buildplane_gateway::{Address, Discovery, GATEWAYS, Limits, Peers};
use buildplane_tls::{AnchorStore, Authority, ClientIdentity, LeafRequest};
use tokio_util::sync::DropGuard;

use crate::backend::Backend;
use crate::feed::watch;
use crate::rig::{HOUR, Rig};
use crate::upgrades::allow_streams;

/// Where one replica is, and where all of them are.
pub(crate) struct Place {
    pub(crate) agents: SocketAddr,
    pub(crate) internal: SocketAddr,
    all: Vec<SocketAddr>,
    is_advertised: bool,
    runtime: Option<Runtime>,
}

impl Place {
    pub(crate) fn runtime(&mut self) -> Handle {
        let start = || {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(1).enable_all().build().unwrap()
        };
        self.runtime.get_or_insert_with(start).handle().clone()
    }

    pub(crate) fn peers(&self, server_ca: &Authority, callers_ca: &Authority) -> Peers {
        let groups = vec![GATEWAYS.to_owned()];
        let request = LeafRequest { organizations: groups, ..LeafRequest::client("gateway", HOUR) };
        let address = |address: &SocketAddr| Address { host: address.ip().to_string(), port: address.port() };
        Peers {
            discovery: Discovery::List(self.all.iter().map(address).collect()),
            identity: ClientIdentity::new(&callers_ca.issue(request).unwrap()),
            roots: AnchorStore::new(server_ca.anchors().unwrap()),
            server_name: Some("gateway.test".to_owned()),
        }
    }

    pub(crate) fn advertised(&self) -> Option<String> {
        self.is_advertised.then(|| format!("wss://{}/ws", self.agents))
    }
}

impl Place {
    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Several replicas. Each has a runtime of its own, so that it can be killed.
pub(crate) struct Fleet {
    pub(crate) replicas: Vec<Rig>,
}

impl Fleet {
    /// Starts replicas, and waits until each knows of all.
    pub(crate) async fn start(n_replicas: usize, is_advertised: bool) -> Self {
        let limits = Limits { settle: Duration::from_secs(30), ..Limits::default() };
        Self::with(n_replicas, is_advertised, limits).await
    }

    pub(crate) async fn with(n_replicas: usize, is_advertised: bool, limits: Limits) -> Self {
        buildplane_tls::install_crypto();
        let gateway_ca = Authority::generate("gateway", HOUR).unwrap();
        let callers_ca = Authority::generate("control plane", HOUR).unwrap();
        let reserve = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        // All at once, so that no two are the same.
        let reserved: Vec<_> = (0..n_replicas).map(|_| (reserve(), reserve())).collect();
        let all: Vec<SocketAddr> =
            reserved.iter().map(|(_, internal)| internal.local_addr().unwrap()).collect();
        let place = |(agents, internal): &(std::net::TcpListener, std::net::TcpListener)| Place {
            agents: agents.local_addr().unwrap(),
            internal: internal.local_addr().unwrap(),
            all: all.clone(),
            is_advertised,
            runtime: None,
        };
        let places: Vec<Place> = reserved.iter().map(place).collect();
        drop(reserved);
        let mut replicas = Vec::new();
        for place in places {
            let mut rig = Rig::replica((&gateway_ca, &callers_ca), place, limits.clone());
            rig.start_gateway();
            replicas.push(rig);
        }
        let fleet = Self { replicas };
        for rig in &fleet.replicas {
            fleet.until_known(rig, n_replicas).await;
        }
        fleet
    }

    /// Waits until a replica says that so many are alive, and where each of them is.
    pub(crate) async fn until_known(&self, rig: &Rig, n_replicas: usize) {
        let mut lines = watch(rig).await;
        loop {
            let line = lines.next().await;
            let Some(replicas) = line["replicas"].as_array() else { continue };
            if replicas.len() == n_replicas && replicas.iter().all(|replica| replica["url"].is_string()) {
                return;
            }
        }
    }

    /// Registers a custom resource with every replica, as a controller does.
    pub(crate) async fn register(&self, cr: &str, ca: &str) {
        for rig in &self.replicas {
            rig.controller().await.register(cr, ca).await;
        }
    }

    /// An agent that finds the gateway behind one address.
    pub(crate) async fn agent(&self, backend: &Backend, address: SocketAddr) -> DropGuard {
        let [rig, ..] = self.replicas.as_slice() else { panic!("no replica") };
        let server_ca = ServerCa::Pem(rig.gateway_ca.cert_pem().to_owned());
        let url = format!("wss://{address}/ws").parse().unwrap();
        rig.agent_configured(backend, server_ca, |config| {
            config.gateway = url;
            allow_streams(config);
        })
        .await
    }

    /// Ends a replica as a power cut does: every connection of it breaks at once.
    pub(crate) fn kill(&mut self, index: usize) -> Rig {
        let mut rig = self.replicas.remove(index);
        rig.kill_gateway();
        rig
    }
}

/// A load balancer with client-IP affinity: the same client reaches the same replica for as long as that is there.
pub(crate) struct Balancer {
    pub(crate) address: SocketAddr,
    open: Arc<Mutex<JoinSet<()>>>,
    accepting: AbortHandle,
}

impl Balancer {
    pub(crate) async fn start(fleet: &Fleet) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let replicas: Vec<SocketAddr> = fleet.replicas.iter().map(|rig| rig.agents).collect();
        let open = Arc::new(Mutex::new(JoinSet::new()));
        let carried = Arc::clone(&open);
        let accepting = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let replicas = replicas.clone();
                carried.lock().unwrap().spawn(async move {
                    for replica in replicas {
                        if let Ok(mut server) = TcpStream::connect(replica).await {
                            let _ended = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                            return;
                        }
                    }
                });
            }
        });
        Self { address, open, accepting: accepting.abort_handle() }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.accepting.abort();
        self.open.lock().unwrap().abort_all();
    }
}
