//! A gateway, an agent and callers, each with the certificates it would have.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use buildplane_agent::{Agent, Config as AgentConfig, ServerCa};
use buildplane_api::PlaneType;
use buildplane_gateway::{
    AgentListener, Config, ControlPlane, Gateway, InternalListener, Limits, Metrics, Roles,
};
use buildplane_tls::{
    Alpn, AnchorStore, Authority, CertifiedKey, ClientIdentity, LeafRequest, ServerIdentity, connect,
};
use buildplane_tunnel::{ByteStream, Error as TunnelError, Settings, dial};

use crate::backend::Backend;

pub(crate) const HOUR: Duration = Duration::from_hours(1);
pub(crate) const SHARED: &str = "/api/v1/planes/buildplane/shared";
pub(crate) const TEAM_PROXY: &str = "/api/proxy/buildplane/shared/team/default/k8s";
pub(crate) const CLUSTER_PROXY: &str = "/api/proxy/buildplane/shared/_cluster/default/k8s";

/// The control plane's side.
pub(crate) struct Rig {
    pub(crate) agents: SocketAddr,
    pub(crate) internal: SocketAddr,
    pub(crate) health: SocketAddr,
    pub(crate) gateway_ca: Authority,
    pub(crate) callers_ca: Authority,
    metrics: Metrics,
    /// The API that knows people, where there is one.
    pub(crate) control_plane: Option<Arc<ControlPlane>>,
    limits: Limits,
    settings: Settings,
    /// Its place among its replicas, where it has any.
    pub(crate) replica: Option<crate::fleet::Place>,
    gateway: Option<(CancellationToken, tokio::task::JoinHandle<Result<(), buildplane_gateway::Error>>)>,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::with(Limits { settle: Duration::ZERO, ..Limits::default() }).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        Self::asking(limits, None).await
    }

    #[expect(clippy::unused_async, reason = "a gateway can only start within a runtime")]
    async fn asking(limits: Limits, control_plane: Option<Arc<ControlPlane>>) -> Self {
        buildplane_tls::install_crypto();
        let mut rig = Self {
            agents: "127.0.0.1:0".parse().unwrap(),
            internal: "127.0.0.1:0".parse().unwrap(),
            health: "127.0.0.1:0".parse().unwrap(),
            gateway_ca: Authority::generate("gateway", HOUR).unwrap(),
            callers_ca: Authority::generate("control plane", HOUR).unwrap(),
            metrics: Metrics::default(),
            control_plane,
            limits,
            settings: Settings { drain: Duration::from_secs(6), ..Settings::default() },
            replica: None,
            gateway: None,
        };
        rig.start_gateway();
        rig
    }

    /// One replica of several, whose gateway is not started yet.
    pub(crate) fn replica(of: (&Authority, &Authority), place: crate::fleet::Place, limits: Limits) -> Self {
        let copy = |ca: &Authority| Authority::from_pem(ca.cert_pem(), ca.key_pem()).unwrap();
        Self {
            agents: place.agents,
            internal: place.internal,
            health: "127.0.0.1:0".parse().unwrap(),
            gateway_ca: copy(of.0),
            callers_ca: copy(of.1),
            limits,
            settings: Settings { drain: Duration::from_secs(6), ..Settings::default() },
            metrics: Metrics::default(),
            control_plane: None,
            replica: Some(place),
            gateway: None,
        }
    }

    /// Starts a gateway, on the ports of the one before where there was one.
    pub(crate) fn start_gateway(&mut self) {
        // A replica has a runtime of its own, with which it can be killed.
        let runtime = self.replica.as_mut().map(crate::fleet::Place::runtime);
        let handle = runtime.unwrap_or_else(tokio::runtime::Handle::current);
        let listen = |address: SocketAddr| {
            let listener = std::net::TcpListener::bind(address).unwrap();
            listener.set_nonblocking(true).unwrap();
            let _entered = handle.enter();
            TcpListener::from_std(listener).unwrap()
        };
        let (agents, internal) = (listen(self.agents), listen(self.internal));
        let health = listen("127.0.0.1:0".parse().unwrap());
        self.health = health.local_addr().unwrap();
        self.agents = agents.local_addr().unwrap();
        self.internal = internal.local_addr().unwrap();
        let request = LeafRequest::server(&["gateway.test"], &["127.0.0.1".parse().unwrap()], HOUR);
        let identity = ServerIdentity::new(&self.gateway_ca.issue(request).unwrap());
        let set = |name: &str| BTreeSet::from([name.to_owned()]);
        let config = Config {
            agents: AgentListener { listener: agents, identity: identity.clone() },
            internal: InternalListener {
                listener: internal,
                identity,
                callers: AnchorStore::new(self.callers_ca.anchors().unwrap()),
                authorizer: Arc::new(Roles { controllers: set("controllers"), users: set("users") }),
                control_plane: self.control_plane.clone(),
            },
            health: Some(health),
            hosts: vec!["gateway.test".to_owned()],
            peers: self.replica.as_ref().map(|place| place.peers(&self.gateway_ca, &self.callers_ca)),
            advertise: self.replica.as_ref().and_then(crate::fleet::Place::advertised),
            tunnel: self.settings.clone(),
            upstream_agents: None,
            limits: self.limits.clone(),
            metrics: self.metrics.clone(),
        };
        let shutdown = CancellationToken::new();
        let run = Gateway::new(config).unwrap().run(shutdown.clone());
        self.gateway = Some((shutdown, handle.spawn(run)));
    }

    /// The gateway's metrics, as they are scraped.
    pub(crate) fn counted(&self) -> String {
        let mut registry = prometheus_client::registry::Registry::default();
        self.metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    pub(crate) async fn stop_gateway(&mut self) {
        let (shutdown, run) = self.gateway.take().unwrap();
        shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(20), run).await.expect("the gateway ends").unwrap().unwrap();
    }

    /// Tells the gateway to end; the future is over when it has.
    pub(crate) fn ask_to_stop(&mut self) -> impl Future<Output = ()> + use<> {
        let (shutdown, run) = self.gateway.take().unwrap();
        shutdown.cancel();
        async move { run.await.unwrap().unwrap() }
    }

    /// What the gateway says of its readiness.
    pub(crate) async fn readiness(&self) -> u16 {
        let tcp = TcpStream::connect(self.health).await.unwrap();
        let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get("/readyz").header("host", "127.0.0.1").body(full("")).unwrap();
        send.send_request(request).await.unwrap().status().as_u16()
    }

    /// Ends the gateway at once: none of its tasks runs another step, and its sockets close.
    pub(crate) fn kill_gateway(&mut self) {
        self.gateway = None;
        if let Some(place) = &mut self.replica {
            place.kill();
        }
    }

    /// An agent of plane `shared`, which runs until the guard is dropped.
    pub(crate) async fn agent(&self, backend: &Backend) -> DropGuard {
        let server_ca = ServerCa::Pem(self.gateway_ca.cert_pem().to_owned());
        self.agent_believing(backend, server_ca).await
    }

    pub(crate) async fn agent_believing(&self, backend: &Backend, server_ca: ServerCa) -> DropGuard {
        self.agent_configured(backend, server_ca, |_config| {}).await
    }

    pub(crate) async fn agent_configured(
        &self,
        backend: &Backend,
        server_ca: ServerCa,
        change: impl FnOnce(&mut AgentConfig),
    ) -> DropGuard {
        let url = format!("wss://127.0.0.1:{}/ws", self.agents.port()).parse().unwrap();
        let plane = (PlaneType::BuildPlane, "shared".parse().unwrap());
        let mut config = AgentConfig::new(url, server_ca, plane, backend.kube_config().await);
        config.tunnel = self.settings.clone();
        change(&mut config);
        let stop = CancellationToken::new();
        tokio::spawn(Agent::new(config).unwrap().run(stop.clone()));
        stop.drop_guard()
    }

    /// The CA that the agent keeps for itself, once it is there.
    pub(crate) async fn agent_ca(backend: &Backend) -> String {
        eventually("the agent makes its Secrets", || backend.seen.secret("cluster-agent-tls").is_some())
            .await;
        secret_value(&backend.seen.secret("cluster-agent-tls").unwrap(), "ca.crt")
    }

    /// Gateway, agent and backend, with `team/default` and `_cluster/default` registered and connected.
    pub(crate) async fn connected() -> (Self, Backend, DropGuard, Caller) {
        Self::connected_with(|_config| {}).await
    }

    pub(crate) async fn connected_with(
        change: impl FnOnce(&mut AgentConfig),
    ) -> (Self, Backend, DropGuard, Caller) {
        Self::connected_within(Limits { settle: Duration::ZERO, ..Limits::default() }, change).await
    }

    pub(crate) async fn connected_within(
        limits: Limits,
        change: impl FnOnce(&mut AgentConfig),
    ) -> (Self, Backend, DropGuard, Caller) {
        Self::with(limits).await.connect(change).await
    }

    /// The same, where the gateway asks an API who people are.
    pub(crate) async fn connected_asking(
        control_plane: Arc<ControlPlane>,
    ) -> (Self, Backend, DropGuard, Caller) {
        let limits = Limits { settle: Duration::ZERO, ..Limits::default() };
        Self::asking(limits, Some(control_plane)).await.connect(|_config| {}).await
    }

    async fn connect(self, change: impl FnOnce(&mut AgentConfig)) -> (Self, Backend, DropGuard, Caller) {
        let rig = self;
        let backend = Backend::start().await;
        let server_ca = ServerCa::Pem(rig.gateway_ca.cert_pem().to_owned());
        let agent = rig.agent_configured(&backend, server_ca, change).await;
        let ca = Self::agent_ca(&backend).await;
        let mut controller = rig.controller().await;
        for cr in ["team/default", "_cluster/default"] {
            controller.register(cr, &ca).await;
        }
        controller.until_connected("team/default").await;
        controller.until_connected("_cluster/default").await;
        (rig, backend, agent, controller)
    }

    pub(crate) async fn controller(&self) -> Caller {
        self.caller("manager", &["controllers"]).await
    }

    pub(crate) async fn caller(&self, user: &str, groups: &[&str]) -> Caller {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        let request = LeafRequest { organizations: groups, ..LeafRequest::client(user, HOUR) };
        self.caller_with(ClientIdentity::new(&self.callers_ca.issue(request).unwrap())).await.unwrap()
    }

    pub(crate) async fn caller_with(&self, identity: ClientIdentity) -> Result<Caller, String> {
        let tls = identity.client_config(&self.gateway_ca.anchors().unwrap(), &[Alpn::H2]).unwrap();
        let tcp = TcpStream::connect(self.internal).await.map_err(|error| error.to_string())?;
        let stream =
            connect(tls, "gateway.test", tcp, Duration::from_secs(5)).await.map_err(|e| e.to_string())?;
        let handshake = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(64 * 1024)
            .initial_connection_window_size(64 * 1024 * 1024)
            .handshake(TokioIo::new(stream));
        let (send, connection) = handshake.await.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        Ok(Caller { send })
    }

    /// TLS to the agents' listener with any identity.
    pub(crate) async fn agent_tls(&self, identity: &ClientIdentity) -> TlsStream<TcpStream> {
        let tls = identity.client_config(&self.gateway_ca.anchors().unwrap(), &[Alpn::Http1]).unwrap();
        let tcp = TcpStream::connect(self.agents).await.unwrap();
        connect(tls, "gateway.test", tcp, Duration::from_secs(5)).await.unwrap()
    }

    /// Dials as an agent would, with any identity and claim.
    pub(crate) async fn dial(
        &self,
        identity: &ClientIdentity,
        query: &str,
        headers: &[(&str, &str)],
    ) -> Result<ByteStream<TlsStream<TcpStream>>, (StatusCode, String)> {
        let mut request = Request::get(format!("wss://gateway.test/ws?{query}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        match dial(self.agent_tls(identity).await, request.body(()).unwrap(), &self.settings).await {
            Ok(stream) => Ok(stream),
            Err(TunnelError::Refused { status, reason }) => Err((status, reason)),
            Err(error) => panic!("neither accepted nor refused: {error:?}"),
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some((shutdown, _)) = self.gateway.take() {
            shutdown.cancel();
        }
    }
}

/// A client of the internal listener.
pub(crate) struct Caller {
    send: SendRequest<UnsyncBoxBody<Bytes, std::io::Error>>,
}

impl Caller {
    pub(crate) async fn request(
        &mut self,
        request: Request<UnsyncBoxBody<Bytes, std::io::Error>>,
    ) -> Response<Incoming> {
        self.send.send_request(request).await.unwrap()
    }

    /// Asks, where the answer may be a stream that was reset.
    pub(crate) async fn try_get(&mut self, path: &str) -> Result<Response<Incoming>, hyper::Error> {
        let request = Request::get(format!("https://gateway.test{path}")).body(full("")).unwrap();
        self.send.send_request(request).await
    }

    pub(crate) async fn get(&mut self, path: &str) -> Response<Incoming> {
        self.send(Method::GET, path, &[], "").await
    }

    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response<Incoming> {
        let mut request = Request::builder().method(method).uri(format!("https://gateway.test{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.request(request.body(full(body)).unwrap()).await
    }

    pub(crate) async fn put(&mut self, cr: &str, ca: &str) -> Response<Incoming> {
        let body = serde_json::json!({ "clientCA": ca }).to_string();
        self.send(Method::PUT, &format!("{SHARED}/{cr}"), &[], body).await
    }

    pub(crate) async fn register(&mut self, cr: &str, ca: &str) {
        let response = self.put(cr, ca).await;
        assert_eq!(response.status(), 200, "{}", text(response).await);
    }

    pub(crate) async fn unregister(&mut self, cr: &str) {
        let response = self.send(Method::DELETE, &format!("{SHARED}/{cr}"), &[], "").await;
        assert_eq!(response.status(), 200);
    }

    /// How many agents speak for a custom resource.
    pub(crate) async fn n_agents(&mut self, cr: &str) -> u64 {
        let (namespace, name) = cr.split_once('/').unwrap();
        let namespace =
            if namespace == "_cluster" { String::new() } else { format!("&namespace={namespace}") };
        let status = json(self.get(&format!("{SHARED}/status?name={name}{namespace}")).await).await;
        status["connectedAgents"].as_u64().unwrap()
    }

    pub(crate) async fn until_connected(&mut self, cr: &str) {
        self.until_agents(cr, 1).await;
    }

    pub(crate) async fn until_agents(&mut self, cr: &str, n_agents: u64) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.n_agents(cr).await != n_agents {
            assert!(Instant::now() < deadline, "{cr} has not {n_agents} agents");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

pub(crate) fn full(body: impl Into<Bytes>) -> UnsyncBoxBody<Bytes, std::io::Error> {
    Full::new(body.into()).map_err(|never: std::convert::Infallible| match never {}).boxed_unsync()
}

pub(crate) async fn text(response: Response<Incoming>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

pub(crate) async fn json(response: Response<Incoming>) -> Value {
    let text = text(response).await;
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The next piece of a body that streams; none when it ended or broke.
pub(crate) async fn chunk(body: &mut Incoming) -> Option<Bytes> {
    let frame =
        tokio::time::timeout(Duration::from_secs(5), body.frame()).await.expect("the stream goes on or ends");
    frame.and_then(Result::ok).and_then(|frame| frame.into_data().ok())
}

/// Whether a stream ends within the time that a revocation may take.
pub(crate) async fn ends(body: &mut Incoming) -> bool {
    let deadline = Instant::now() + Duration::from_secs(5);
    while chunk(body).await.is_some() {
        if Instant::now() > deadline {
            return false;
        }
    }
    true
}

/// A kubeconfig with the context `x`.
pub(crate) fn kubeconfig(server: &str, ca: &Authority, user: &CertifiedKey) -> Value {
    use base64::Engine as _;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "clusters": [{ "name": "x", "cluster": {
            "server": server,
            "certificate-authority-data": encode(ca.cert_pem()),
        }}],
        "users": [{ "name": "x", "user": {
            "client-certificate-data": encode(user.cert_pem()),
            "client-key-data": encode(user.key_pem()),
        }}],
        "contexts": [{ "name": "x", "context": { "cluster": "x", "user": "x" }}],
    })
}

/// A client configuration as a kubeconfig gives it.
pub(crate) async fn kube_config(server: &str, ca: &Authority, user: &CertifiedKey) -> kube::Config {
    let kubeconfig: kube::config::Kubeconfig = serde_json::from_value(kubeconfig(server, ca, user)).unwrap();
    let options = kube::config::KubeConfigOptions::default();
    kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap()
}

pub(crate) fn secret_value(secret: &Value, key: &str) -> String {
    use base64::Engine as _;
    let encoded = secret["data"][key].as_str().unwrap();
    String::from_utf8(base64::engine::general_purpose::STANDARD.decode(encoded).unwrap()).unwrap()
}

pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
