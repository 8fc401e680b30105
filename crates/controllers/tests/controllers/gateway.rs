//! A gateway as small as can be: it keeps registrations, says who is connected, and passes requests to one plane.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, put};
use axum::{Json, Router};
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// `<planeType>/<planeID>/<namespace|_cluster>/<name>`.
type Key = String;

#[derive(Clone)]
pub(crate) struct FakeGateway {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<Known>,
    lines: broadcast::Sender<String>,
    /// The plane's API.
    plane: Router,
    /// Each watcher holds one.
    watchers: Arc<()>,
    restart: Mutex<CancellationToken>,
}

#[derive(Default)]
struct Known {
    instance: u32,
    registered: BTreeMap<Key, String>,
    connected: BTreeSet<Key>,
    /// What a status says beside the usual, by plane object.
    further: BTreeMap<Key, Value>,
    /// The replicas that are alive, as it says.
    replicas: Vec<Value>,
    /// The bodies of the registrations.
    bodies: BTreeMap<Key, Value>,
    n_registrations: usize,
    n_proxied: usize,
    /// The paths of the watches of Workflows that were begun.
    watched: Vec<String>,
    /// Whether the agent allows no watch over all namespaces, as an older one does not.
    narrow: bool,
    /// Whether the agent leaves as soon as it has passed on the creation of a Workflow, before the answer.
    leaves_at_creation: bool,
    /// Ends what is streaming through the tunnel.
    streams: CancellationToken,
}

impl FakeGateway {
    pub(crate) fn new(plane: Router) -> Self {
        let shared = Shared {
            state: Mutex::default(),
            lines: broadcast::channel(16 * 1024).0,
            plane,
            watchers: Arc::default(),
            restart: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    fn state<T>(&self, look: impl FnOnce(&mut Known) -> T) -> T {
        look(&mut self.shared.state.lock().expect("not poisoned"))
    }

    /// The CA that is registered for a plane object.
    pub(crate) fn registered(&self, key: &str) -> Option<String> {
        let key = crate::cluster::named(key);
        self.state(|state| state.registered.get(&key).cloned())
    }

    /// The body of a registration.
    pub(crate) fn body(&self, key: &str) -> Option<Value> {
        let key = &*crate::cluster::named(key);
        self.state(|state| state.registered.contains_key(key).then(|| state.bodies.get(key).cloned())?)
    }

    /// How many follow who is connected.
    pub(crate) fn n_watchers(&self) -> usize {
        Arc::strong_count(&self.shared.watchers) - 1
    }

    pub(crate) fn n_registrations(&self) -> usize {
        self.state(|state| state.n_registrations)
    }

    /// Says more about a plane object than who is connected.
    pub(crate) fn says(&self, key: &str, further: Value) {
        let key = &*crate::cluster::named(key);
        self.state(|state| state.further.insert(key.to_owned(), further));
        self.tell(key);
    }

    /// Names the replicas that are alive, itself included.
    pub(crate) fn names_replicas(&self, replicas: Vec<Value>) {
        let line = json!({"type": "Replicas", "replicas": replicas});
        self.state(|state| state.replicas = replicas);
        let _nobody = self.shared.lines.send(line.to_string());
    }

    /// How it names itself to the others.
    pub(crate) fn instance(&self) -> String {
        self.state(|state| instance(self, state.instance))
    }

    /// Agents of every plane object were heard of.
    pub(crate) fn beats(&self) {
        for key in self.state(|state| state.connected.iter().cloned().collect::<Vec<_>>()) {
            self.tell(&key);
        }
    }

    /// Agents connect for plane objects before anybody watches.
    pub(crate) fn is_connected(&self, keys: impl IntoIterator<Item = String>) {
        self.state(|state| state.connected.extend(keys.into_iter().map(|key| crate::cluster::named(&key))));
    }

    pub(crate) fn n_proxied(&self) -> usize {
        self.state(|state| state.n_proxied)
    }

    /// The watches of Workflows that were begun, as the namespaces that they are about.
    pub(crate) fn watched(&self) -> Vec<String> {
        self.state(|state| state.watched.clone())
    }

    /// The agent allows watches in a namespace alone.
    pub(crate) fn allow_no_wide_watch(&self) {
        self.state(|state| state.narrow = true);
    }

    /// Breaks what is streaming, while the agent stays.
    pub(crate) fn break_streams(&self) {
        self.state(|state| std::mem::take(&mut state.streams).cancel());
    }

    /// An agent connects for a plane object.
    pub(crate) fn connect(&self, key: &str) {
        let key = crate::cluster::named(key);
        self.state(|state| state.connected.insert(key.clone()));
        self.tell(&key);
    }

    /// The agent leaves.
    pub(crate) fn disconnect(&self, key: &str) {
        let key = crate::cluster::named(key);
        self.state(|state| {
            state.connected.remove(&key);
            std::mem::take(&mut state.streams).cancel();
        });
        self.tell(&key);
    }

    /// The next Workflow is created, but the agent leaves before it can say so.
    pub(crate) fn lose_the_next_creation(&self) {
        self.state(|state| state.leaves_at_creation = true);
    }

    /// An agent of a plane is turned away.
    pub(crate) fn refuse(&self, plane_id: &str, message: &str) {
        let line = json!({"type": "Refused", "planeType": "buildplane", "planeID": plane_id, "reason": "UnknownCA",
            "message": message, "at": "2026-01-01T00:00:00Z"});
        let _nobody = self.shared.lines.send(line.to_string());
    }

    /// Forgets everything and drops every stream, as a new process would.
    pub(crate) fn restart(&self) {
        self.state(|state| {
            state.instance += 1;
            state.registered.clear();
            std::mem::take(&mut state.streams).cancel();
        });
        let mut restart = self.shared.restart.lock().expect("not poisoned");
        std::mem::take(&mut *restart).cancel();
    }

    fn line(&self, key: &str) -> String {
        let connected =
            self.state(|state| state.connected.contains(key) && state.registered.contains_key(key));
        let mut parts = key.split('/');
        let mut next = || parts.next().unwrap_or_default().to_owned();
        let (plane_type, plane_id, namespace, name) = (next(), next(), next(), next());
        let mut line = json!({"type": "Status", "planeType": plane_type, "planeID": plane_id, "name": name,
            "connected": connected, "connectedAgents": u8::from(connected), "lastSeen": jiff::Timestamp::now(),
            "agents": []});
        if connected {
            line["agents"] = json!([{"instance": "agent-1", "version": "0.1.0", "narrowed": true,
                "certificateNotAfter": "2040-01-01T00:00:00Z", "connectedAt": "2026-01-01T00:00:00Z"}]);
        }
        if let Some(further) = self.state(|state| state.further.get(key).cloned()) {
            json_merge(&mut line, &further);
        }
        if namespace != "_cluster" {
            line["namespace"] = namespace.into();
        }
        line.to_string()
    }

    fn tell(&self, key: &str) {
        let _nobody = self.shared.lines.send(self.line(key));
    }

    /// Serves until `shutdown`; gives the address.
    pub(crate) async fn serve(&self, shutdown: CancellationToken) -> String {
        let router = Router::new()
            .route("/api/v1/planes/watch", get(watch))
            .route("/api/v1/planes/{kind}/{id}/{namespace}/{name}", put(register).delete(remove))
            .route("/api/proxy/{kind}/{id}/{namespace}/{name}/k8s/{*path}", any(proxy))
            .with_state(self.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            let serving = axum::serve(listener, router);
            tokio::select! {
                () = shutdown.cancelled() => {}
                _ = serving => {}
            }
        });
        format!("http://{address}")
    }
}

async fn watch(State(gateway): State<FakeGateway>) -> Response {
    let restart = gateway.shared.restart.lock().expect("not poisoned").clone();
    let lines = gateway.shared.lines.subscribe();
    let (number, keys, replicas) = gateway.state(|state| {
        (state.instance, state.registered.keys().cloned().collect::<Vec<_>>(), state.replicas.clone())
    });
    let hello = json!({"type": "Hello", "instance": instance(&gateway, number), "replicas": replicas});
    let mut first = vec![hello.to_string()];
    first.extend(keys.iter().map(|key| gateway.line(key)));
    let first = futures::stream::iter(first);
    let watcher = Arc::clone(&gateway.shared.watchers);
    let further =
        futures::stream::unfold((lines, restart, watcher), |(mut lines, restart, watcher)| async move {
            tokio::select! {
                () = restart.cancelled() => None,
                line = lines.recv() => line.ok().map(|line| (line, (lines, restart, watcher))),
            }
        });
    let stream = futures::StreamExt::chain(first, further);
    let bytes = futures::StreamExt::map(stream, |line| Ok::<_, std::io::Error>(Bytes::from(line + "\n")));
    Response::new(Body::from_stream(bytes))
}

/// A name that differs between gateways and between the lives of one.
fn instance(gateway: &FakeGateway, number: u32) -> String {
    format!("{:p}-{number}", Arc::as_ptr(&gateway.shared))
}

fn json_merge(line: &mut Value, further: &Value) {
    for (name, value) in further.as_object().into_iter().flatten() {
        line[name] = value.clone();
    }
}

type Segments = Path<(String, String, String, String)>;

async fn register(
    State(gateway): State<FakeGateway>,
    Path((kind, id, namespace, name)): Segments,
    Json(body): Json<Value>,
) -> Json<Value> {
    let key = format!("{kind}/{id}/{namespace}/{name}");
    let pem = body["clientCA"].as_str().unwrap_or_default().to_owned();
    gateway.state(|state| {
        state.n_registrations += 1;
        state.bodies.insert(key.clone(), body);
        state.registered.insert(key.clone(), pem)
    });
    gateway.tell(&key);
    Json(json!({}))
}

async fn remove(
    State(gateway): State<FakeGateway>,
    Path((kind, id, namespace, name)): Segments,
) -> Json<Value> {
    gateway.state(|state| state.registered.remove(&format!("{kind}/{id}/{namespace}/{name}")));
    Json(json!({}))
}

async fn proxy(
    State(gateway): State<FakeGateway>,
    Path((kind, id, namespace, name, path)): Path<(String, String, String, String, String)>,
    mut request: Request,
) -> Response {
    let key = format!("{kind}/{id}/{namespace}/{name}");
    let (registered, connected, streams) = gateway.state(|state| {
        state.n_proxied += 1;
        (state.registered.contains_key(&key), state.connected.contains(&key), state.streams.clone())
    });
    if !registered {
        return refusal(StatusCode::NOT_FOUND, "no such plane object");
    }
    if !connected {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "no agent is connected");
    }
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    *request.uri_mut() = format!("/{path}{query}").parse().expect("a path");
    if path == "apis/argoproj.io/v1alpha1/workflows" && gateway.state(|state| state.narrow) {
        return refusal(StatusCode::FORBIDDEN, "no rule allows to list workflows in all namespaces");
    }
    if query.contains("watch=true") && path.ends_with("/workflows") {
        let namespace = path.strip_prefix("apis/argoproj.io/v1alpha1/namespaces/");
        let namespace = namespace.and_then(|rest| rest.split('/').next()).unwrap_or("*").to_owned();
        gateway.state(|state| state.watched.push(namespace));
    }
    let creates = request.method() == http::Method::POST && path.ends_with("/workflows");
    let answer = gateway.shared.plane.clone().oneshot(request).await.into_response();
    if creates && gateway.state(|state| std::mem::take(&mut state.leaves_at_creation)) {
        gateway.disconnect(&key);
        return refusal(StatusCode::BAD_GATEWAY, "the agent left before it answered");
    }
    answer.map(|body| {
        let stream = futures::StreamExt::take_until(body.into_data_stream(), streams.cancelled_owned());
        Body::from_stream(stream)
    })
}

fn refusal(code: StatusCode, message: &str) -> Response {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message,
        "reason": "", "code": code.as_u16()});
    (code, Json(status)).into_response()
}
