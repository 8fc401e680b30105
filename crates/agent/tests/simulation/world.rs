//! A control plane and two build clusters on one network, and what goes wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use rand::Rng as _;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use buildplane_agent::{Agent, Config as AgentConfig, ServerCa};
use buildplane_api::PlaneType;
use buildplane_gateway::{AgentListener, Config, Gateway, InternalListener, Limits, Metrics, Roles};
use buildplane_tls::{
    AnchorStore, Authority, CertifiedKey, ClientIdentity, LeafRequest, ServerIdentity, TrustAnchors,
};
use buildplane_tunnel::Settings;

use crate::callers::{Caller, Tenant};
use crate::cluster::Cluster;
use crate::net::Net;
use crate::seed::Seed;
use crate::way::Way;

pub(crate) const GATEWAY_NAME: &str = "gateway.test";
/// Where agents reach the gateway.
pub(crate) const AGENTS: &str = "gateway-agents";
/// Where callers reach it.
pub(crate) const INTERNAL: &str = "gateway-internal";
const HOUR: Duration = Duration::from_hours(1);
/// Agents: host, plane, cluster.
const FLEET: [(&str, &str, &str); 4] = [
    ("agent-0", "shared", "api-shared"),
    ("agent-1", "shared", "api-shared"),
    ("agent-2", "shared", "api-shared"),
    ("agent-3", "other", "api-other"),
];
const N_TENANTS: usize = 4;

/// Who believes whom.
#[derive(Debug)]
pub(crate) struct Trust {
    pub(crate) gateway: TrustAnchors,
    gateway_ca: String,
    gateway_leaf: CertifiedKey,
    callers: Authority,
    /// Vouches for no agent.
    stranger: String,
}

impl Trust {
    fn new() -> Self {
        let gateway = Authority::generate("gateway", HOUR).unwrap();
        let leaf = gateway.issue(LeafRequest::server(&[GATEWAY_NAME], &[], HOUR)).unwrap();
        Self {
            gateway: gateway.anchors().unwrap(),
            gateway_ca: gateway.cert_pem().to_owned(),
            gateway_leaf: leaf,
            callers: Authority::generate("control plane", HOUR).unwrap(),
            stranger: Authority::generate("stranger", HOUR).unwrap().cert_pem().to_owned(),
        }
    }

    fn caller(&self, user: &str, group: &str) -> ClientIdentity {
        let request =
            LeafRequest { organizations: vec![group.to_owned()], ..LeafRequest::client(user, HOUR) };
        ClientIdentity::new(&self.callers.issue(request).unwrap())
    }
}

/// What runs and can be ended.
struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// Everything.
pub(crate) struct World {
    net: Net,
    seed: Seed,
    trust: Arc<Trust>,
    gateway: Option<Running>,
    agents: BTreeMap<&'static str, Running>,
    clusters: BTreeMap<&'static str, Arc<Cluster>>,
    clusters_stop: CancellationToken,
    pub(crate) tenants: Vec<Arc<Tenant>>,
    /// The CA that the gateway should know for each tenant.
    wanted: Arc<Mutex<Vec<String>>>,
    callers: Vec<Running>,
}

impl World {
    pub(crate) async fn start(seed: Seed) -> Self {
        let net = Net::new(seed.derive(1), Duration::from_millis(60));
        let clusters_stop = CancellationToken::new();
        let clusters: BTreeMap<&'static str, Arc<Cluster>> = ["api-shared", "api-other"]
            .into_iter()
            .map(|host| (host, Cluster::start(host, &net, clusters_stop.clone())))
            .collect();
        let mut tenants: Vec<Arc<Tenant>> = (0..N_TENANTS)
            .map(|n| {
                Arc::new(Tenant::new("shared", format!("team-{n}"), Arc::clone(&clusters["api-shared"])))
            })
            .collect();
        tenants.push(Arc::new(Tenant::new("other", "team-x".to_owned(), Arc::clone(&clusters["api-other"]))));
        let mut world = Self {
            net,
            seed,
            trust: Arc::new(Trust::new()),
            gateway: None,
            agents: BTreeMap::new(),
            clusters,
            clusters_stop,
            tenants,
            wanted: Arc::default(),
            callers: Vec::new(),
        };
        for (host, _, _) in FLEET {
            world.start_agent(host);
        }
        world.start_gateway();
        while world.clusters.values().any(|cluster| cluster.agent_ca().is_none()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let wanted = world.tenants.iter().filter_map(|tenant| tenant.cluster.agent_ca()).collect();
        *world.wanted.lock().unwrap() = wanted;
        world.register_all().await;
        world
    }

    fn start_gateway(&mut self) {
        let identity = ServerIdentity::new(&self.trust.gateway_leaf);
        let set = |name: &str| BTreeSet::from([name.to_owned()]);
        let roles = Roles { controllers: set("controllers"), users: set("users") };
        let config = Config {
            agents: AgentListener { listener: self.net.listen(AGENTS), identity: identity.clone() },
            internal: InternalListener {
                listener: self.net.listen(INTERNAL),
                identity,
                callers: AnchorStore::new(self.trust.callers.anchors().unwrap()),
                authorizer: Arc::new(roles),
                control_plane: None,
            },
            health: None,
            hosts: vec![GATEWAY_NAME.to_owned()],
            upstream_agents: None,
            peers: None,
            advertise: None,
            tunnel: Settings::default(),
            limits: Limits { settle: Duration::ZERO, ..Limits::default() },
            metrics: Metrics::default(),
        };
        let stop = CancellationToken::new();
        let run = Gateway::new(config).unwrap().run(stop.clone());
        let task = tokio::spawn(async move { run.await.unwrap() });
        self.gateway = Some(Running { stop, task });
    }

    fn start_agent(&mut self, host: &'static str) {
        let (_, plane, api) = FLEET.into_iter().find(|(known, _, _)| *known == host).unwrap();
        let gateway = format!("wss://{GATEWAY_NAME}:8443/ws").parse().unwrap();
        let plane = (PlaneType::BuildPlane, plane.parse().unwrap());
        let kube = kube::Config::new("http://api".parse().unwrap());
        let mut config = AgentConfig::new(gateway, ServerCa::Pem(self.trust.gateway_ca.clone()), plane, kube);
        config.connect = Arc::new(Way::new(&self.net, host, AGENTS));
        config.local_connect = Some(Arc::new(Way::new(&self.net, host, api)));
        config.seed = Some(self.seed.derive(2).0);
        let stop = CancellationToken::new();
        let run = Agent::new(config).unwrap().run(stop.clone());
        let task = tokio::spawn(async move { run.await.unwrap() });
        self.agents.insert(host, Running { stop, task });
    }

    fn controller(&self) -> Caller {
        let identity = self.trust.caller("manager", "controllers");
        Caller::new(self.net.clone(), "controller", Arc::clone(&self.trust), identity)
    }

    /// Tells the gateway what it should know, as controllers do when it was started anew.
    async fn register_all(&self) {
        for n in 0..self.tenants.len() {
            self.register(n).await;
        }
    }

    async fn register(&self, n: usize) {
        let tenant = &self.tenants[n];
        let path = format!("/api/v1/planes/buildplane/{}/{}/default", tenant.plane, tenant.namespace);
        loop {
            let ca = self.wanted.lock().unwrap()[n].clone();
            let body = serde_json::json!({ "clientCA": ca }).to_string().into_bytes();
            match self.controller().send(Method::PUT, &path, body).await {
                Ok(response) if response.status() == 200 => return,
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Begins to call, two callers for each tenant.
    pub(crate) fn call(&mut self) {
        for (n, tenant) in self.tenants.iter().enumerate() {
            for m in 0..2 {
                let identity = self.trust.caller("user", "users");
                let caller = Caller::new(self.net.clone(), "caller", Arc::clone(&self.trust), identity);
                let stop = CancellationToken::new();
                let seed = self.seed.derive(100 + (n * 2 + m) as u64);
                let task = tokio::spawn(caller.run(Arc::clone(tenant), seed, stop.clone()));
                self.callers.push(Running { stop, task });
            }
        }
    }

    /// One thing goes wrong. Returns what it was.
    pub(crate) async fn fault(&mut self, rng: &mut SmallRng) -> String {
        let (host, _, api) = *FLEET.choose(rng).unwrap();
        match rng.random_range(0..10) {
            0 | 1 => {
                let time = Duration::from_millis(rng.random_range(100..45_000));
                self.cut_off(host, time);
                format!("{host} is cut off for {time:?}")
            }
            2 => {
                let listener = *[AGENTS, INTERNAL].choose(rng).unwrap();
                let time = Duration::from_millis(rng.random_range(100..8_000));
                self.cut_off(listener, time);
                format!("{listener} is cut off for {time:?}")
            }
            3 => {
                self.net.reset(host);
                format!("connections of {host} are reset")
            }
            4 => {
                self.net.reset(AGENTS);
                self.net.reset(api);
                format!("connections of gateway and {api} are reset")
            }
            5 | 6 => {
                let is_crash = rng.random_bool(0.5);
                let gateway = self.gateway.take().unwrap();
                if is_crash {
                    gateway.stop.cancel();
                    self.net.reset(AGENTS);
                    self.net.reset(INTERNAL);
                }
                gateway.end().await;
                tokio::time::sleep(Duration::from_millis(rng.random_range(0..3_000))).await;
                self.start_gateway();
                self.register_all().await;
                format!(
                    "the gateway is started anew after {}",
                    if is_crash { "a crash" } else { "a shutdown" }
                )
            }
            7 => {
                let agent = self.agents.remove(host).unwrap();
                if rng.random_bool(0.5) {
                    self.net.reset(host);
                }
                agent.end().await;
                self.start_agent(host);
                format!("{host} is started anew")
            }
            8 => {
                let n = rng.random_range(0..self.tenants.len());
                self.wanted.lock().unwrap()[n].clone_from(&self.trust.stranger);
                self.register(n).await;
                self.tenants[n].set_revoked(true);
                tokio::time::sleep(Duration::from_millis(rng.random_range(0..9_000))).await;
                self.tenants[n].set_revoked(false);
                self.wanted.lock().unwrap()[n] = self.tenants[n].cluster.agent_ca().unwrap();
                self.register(n).await;
                format!("{} takes its CA away and gives it back", self.tenants[n].namespace)
            }
            _ => {
                let n = rng.random_range(0..self.tenants.len());
                let own = self.tenants[n].cluster.agent_ca().unwrap();
                self.wanted.lock().unwrap()[n] = format!("{}{own}", self.trust.stranger);
                self.register(n).await;
                format!("{} trusts a second CA", self.tenants[n].namespace)
            }
        }
    }

    fn cut_off(&self, host: &'static str, time: Duration) {
        self.net.cut_off(host);
        let net = self.net.clone();
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            net.heal(host);
        });
    }

    /// Everything is well again: every tenant is answered, by and by.
    pub(crate) async fn recover(&self) {
        for host in FLEET.map(|(host, _, _)| host).into_iter().chain([AGENTS, INTERNAL]) {
            self.net.heal(host);
        }
        for (n, tenant) in self.tenants.iter().enumerate() {
            let identity = self.trust.caller("user", "users");
            let mut caller = Caller::new(self.net.clone(), "caller", Arc::clone(&self.trust), identity);
            let recovered = async {
                while !caller.get(tenant, &format!("recovery-{n}")).await {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            };
            let recovered = tokio::time::timeout(Duration::from_mins(3), recovered).await;
            assert!(recovered.is_ok(), "{} is never answered again", tenant.namespace);
        }
    }

    /// Ends everything, in the order in which it depends on each other.
    pub(crate) async fn stop(mut self) {
        for caller in &self.callers {
            caller.stop.cancel();
        }
        for caller in self.callers.drain(..) {
            caller.end().await;
        }
        for (_, agent) in std::mem::take(&mut self.agents) {
            agent.end().await;
        }
        if let Some(gateway) = self.gateway.take() {
            gateway.end().await;
        }
        self.clusters_stop.cancel();
        for host in
            FLEET.map(|(host, _, _)| host).into_iter().chain([AGENTS, INTERNAL, "api-shared", "api-other"])
        {
            self.net.heal(host);
        }
        // What was cut off for a while is healed by then.
        tokio::time::sleep(Duration::from_mins(2)).await;
        assert_eq!(self.net.n_links(), 0, "connections are left open");
    }
}
