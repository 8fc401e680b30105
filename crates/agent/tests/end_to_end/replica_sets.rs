//! Gateway replicas as an agent meets them: several, behind one address or each at its own.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

use buildplane_agent::{Agent, Config, ServerCa};
use buildplane_api::PlaneType;
use buildplane_tls::{Alpn, Authority, ClientAuth, LeafRequest, ServerIdentity};
use buildplane_tunnel::{GatewayEnd, Handle, Settings, Upgrade};
use buildplane_wire::{GATEWAY_INSTANCE, Replica, ReplicaSet};

use crate::backend::Backend;
use crate::rig::{HOUR, eventually};

/// One connection of the agent's to a replica.
struct Held {
    handle: Handle,
    end: CancellationToken,
}

#[derive(Default)]
struct State {
    /// Who answers at the shared address, one after the other, over and over.
    turns: VecDeque<&'static str>,
    held: BTreeMap<&'static str, Vec<Held>>,
    n_accepted: BTreeMap<&'static str, usize>,
}

#[derive(Clone)]
struct Fleet {
    authority: Arc<Authority>,
    state: Arc<Mutex<State>>,
}

impl Fleet {
    fn new(turns: &[&'static str]) -> Self {
        buildplane_tls::install_crypto();
        let state = State { turns: turns.iter().copied().collect(), ..State::default() };
        Self {
            authority: Arc::new(Authority::generate("gateway", HOUR).unwrap()),
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Listens, as one replica or as whoever's turn it is.
    async fn listen(&self, replica: Option<&'static str>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let fleet = self.clone();
        tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let turn = || {
                    let mut state = fleet.state.lock().unwrap();
                    state.turns.rotate_left(1);
                    *state.turns.back().unwrap()
                };
                let replica = replica.unwrap_or_else(turn);
                tokio::spawn(fleet.clone().accept(replica, tcp));
            }
        });
        address
    }

    async fn accept(self, replica: &'static str, tcp: TcpStream) {
        let request = LeafRequest::server(&["gateway.test"], &[], HOUR);
        let identity = ServerIdentity::new(&self.authority.issue(request).unwrap());
        let tls = identity.server_config(ClientAuth::AnyCertificate, &[Alpn::Http1]).unwrap();
        let Ok(stream) = TlsAcceptor::from(tls).accept(tcp).await else { return };
        let (upgrades, mut accepted) = tokio::sync::mpsc::channel(1);
        let service = hyper::service::service_fn(move |mut request: Request<hyper::body::Incoming>| {
            let upgrades = upgrades.clone();
            async move {
                let (mut response, accepted) = Upgrade::check(&mut request).unwrap().accept::<Empty<Bytes>>();
                response.headers_mut().insert(GATEWAY_INSTANCE, HeaderValue::from_static(replica));
                upgrades.send(accepted).await.unwrap();
                Ok::<Response<_>, Infallible>(response)
            }
        });
        let http = hyper::server::conn::http1::Builder::new();
        tokio::spawn(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
        let settings = Settings { drain: Duration::from_millis(200), ..Settings::default() };
        let Some(accepted) = accepted.recv().await else { return };
        let Ok(stream) = accepted.byte_stream(&settings).await else { return };
        let Ok(end) = GatewayEnd::connect(stream, &settings).await else { return };
        let stop = CancellationToken::new();
        {
            let mut state = self.state.lock().unwrap();
            *state.n_accepted.entry(replica).or_default() += 1;
            let held = Held { handle: end.handle, end: stop.clone() };
            state.held.entry(replica).or_default().push(held);
        }
        let _ended = end.driver.run(stop).await;
    }

    /// The replicas that hold an agent, with the number of its connections.
    fn held(&self) -> BTreeMap<&'static str, usize> {
        let state = self.state.lock().unwrap();
        let open = |held: &Vec<Held>| held.iter().filter(|held| !held.handle.is_closed()).count();
        let counted = state.held.iter().map(|(replica, held)| (*replica, open(held)));
        counted.filter(|(_, n_open)| *n_open > 0).collect()
    }

    fn n_accepted(&self, replica: &str) -> usize {
        self.state.lock().unwrap().n_accepted.get(replica).copied().unwrap_or_default()
    }

    /// Says something to the agent itself, through one replica.
    async fn send(&self, replica: &str, method: &str, path: &str, body: String) -> StatusCode {
        let handle = {
            let state = self.state.lock().unwrap();
            state.held[replica].iter().find(|held| !held.handle.is_closed()).unwrap().handle.clone()
        };
        let body = Full::new(Bytes::from(body)).map_err(|never: Infallible| match never {});
        let request = Request::builder().method(method).uri(format!("http://agent{path}"));
        let request = request.header("x-openchoreo-target", "agent").body(body.boxed_unsync()).unwrap();
        handle.send(request).await.unwrap_or_else(|rejected| panic!("{:?}", rejected.error)).status()
    }

    async fn tell(&self, replica: &str, replicas: &[(&str, Option<SocketAddr>)]) {
        let replicas = replicas.iter().map(|(instance, address)| Replica {
            instance: (*instance).to_owned(),
            address: address.map(|address| format!("wss://{address}/ws")),
        });
        let set = ReplicaSet { instance: replica.to_owned(), replicas: replicas.collect() };
        let status = self.send(replica, "PUT", "/replicas", serde_json::to_string(&set).unwrap()).await;
        assert_eq!(status, 204);
    }

    /// A replica goes: what is in flight there may finish.
    fn end(&self, replica: &str) {
        for held in &self.state.lock().unwrap().held[replica] {
            held.end.cancel();
        }
    }

    async fn agent(&self, shared: SocketAddr, backend: &Backend) -> DropGuard {
        let plane = (PlaneType::BuildPlane, "shared".parse().unwrap());
        let server_ca = ServerCa::Pem(self.authority.cert_pem().to_owned());
        let url = format!("wss://{shared}/ws").parse().unwrap();
        let mut config = Config::new(url, server_ca, plane, backend.kube_config().await);
        config.server_name = Some("gateway.test".to_owned());
        config.tunnel.drain = Duration::from_secs(2);
        let stop = CancellationToken::new();
        tokio::spawn(Agent::new(config).unwrap().run(stop.clone()));
        stop.drop_guard()
    }
}

#[tokio::test]
async fn an_agent_holds_each_replica_once_and_drops_what_is_gone() {
    let fleet = Fleet::new(&["a", "a", "b"]);
    let shared = fleet.listen(None).await;
    let own = fleet.listen(Some("c")).await;
    let backend = Backend::start().await;
    let _agent = fleet.agent(shared, &backend).await;
    eventually("it connects", || fleet.held() == BTreeMap::from([("a", 1)])).await;

    let all = [("a", None), ("b", None), ("c", Some(own))];
    fleet.tell("a", &all).await;
    let once = BTreeMap::from([("a", 1), ("b", 1), ("c", 1)]);
    eventually("it finds every replica", || fleet.held() == once).await;
    for replica in ["b", "c"] {
        fleet.tell(replica, &all).await;
    }
    let n_duplicates = fleet.n_accepted("a");

    // C goes, and the others know: nobody dials it again.
    for replica in ["a", "b"] {
        fleet.tell(replica, &all[..2]).await;
    }
    fleet.end("c");
    eventually("it lets go", || fleet.held() == BTreeMap::from([("a", 1), ("b", 1)])).await;
    // B goes, and A does not know yet: it is looked for behind the shared address.
    fleet.end("b");
    eventually("it comes back", || fleet.n_accepted("b") == 2).await;
    eventually("it has each once", || fleet.held() == BTreeMap::from([("a", 1), ("b", 1)])).await;
    assert_eq!(fleet.n_accepted("c"), 1);
    assert!(fleet.n_accepted("a") <= n_duplicates + 4, "{} {n_duplicates}", fleet.n_accepted("a"));
}

#[tokio::test]
async fn a_replica_that_leaves_loses_no_agent_and_no_request() {
    let fleet = Fleet::new(&["a", "b"]);
    let shared = fleet.listen(None).await;
    let backend = Backend::start().await;
    let _agent = fleet.agent(shared, &backend).await;
    eventually("it connects", || fleet.held() == BTreeMap::from([("a", 1)])).await;
    fleet.tell("a", &[("a", None)]).await;
    // It does not name itself any more: the agent looks elsewhere while it still holds this one.
    fleet.tell("a", &[]).await;
    eventually("it holds both", || fleet.held() == BTreeMap::from([("a", 1), ("b", 1)])).await;
    fleet.end("a");
    eventually("the other stays", || fleet.held() == BTreeMap::from([("b", 1)])).await;
}

#[tokio::test]
async fn only_a_replica_set_is_taken_from_a_gateway() {
    let fleet = Fleet::new(&["a"]);
    let shared = fleet.listen(None).await;
    let backend = Backend::start().await;
    let _agent = fleet.agent(shared, &backend).await;
    eventually("it connects", || fleet.held() == BTreeMap::from([("a", 1)])).await;
    let many: Vec<_> = (0..65).map(|n| serde_json::json!({ "instance": format!("r{n}") })).collect();
    let set = |replicas| serde_json::json!({ "instance": "a", "replicas": replicas }).to_string();
    for (method, path, body, expected) in [
        ("PUT", "/replicas", set(serde_json::json!([{ "instance": "a" }])), 204),
        ("PUT", "/replicas", "garbage".to_owned(), 400),
        ("PUT", "/replicas", set(many.into()), 400),
        ("PUT", "/replicas", set(serde_json::json!([{ "instance": "a b" }])), 400),
        ("PUT", "/replicas", "[".repeat(1 << 20), 400),
        ("GET", "/replicas", String::new(), 405),
        ("PUT", "/policy", String::new(), 404),
    ] {
        assert_eq!(fleet.send("a", method, path, body).await, expected, "{method} {path}");
    }
    assert_eq!(fleet.held(), BTreeMap::from([("a", 1)]));
}
