//! The cluster's API as far as agents and these tests need it: Secrets, and paths that builds may use.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::StreamExt as _;
use http::{HeaderMap, Response, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use buildplane_serve::{Limits, serve};
use buildplane_tls::{
    Alpn, AnchorStore, Authority, ClientAuth, LeafRequest, PeerCertificates, ServerIdentity,
};

use crate::pods;
use crate::rig::HOUR;

pub(crate) const SECRETS: &str = "/api/v1/namespaces/openchoreo-build-plane/secrets";
pub(crate) const TEAM: &str = "/api/v1/namespaces/openchoreo-ci-team";

#[derive(Default)]
pub(crate) struct Seen {
    secrets: Mutex<HashMap<String, Value>>,
    /// Requests that came, other than for Secrets: path and headers.
    requests: Mutex<Vec<(String, HeaderMap)>>,
    watches: AtomicUsize,
    streams: AtomicUsize,
    /// The uid of kube-system, where it is not the usual one; empty where the agent may not read it.
    cluster: Mutex<Option<&'static str>>,
    logs: AtomicUsize,
}

impl Seen {
    /// From now on the cluster has this identity; none may be read where it is empty.
    pub(crate) fn set_cluster(&self, uid: &'static str) {
        *self.cluster.lock().unwrap() = Some(uid);
    }

    /// Puts a Secret there as somebody else would have.
    pub(crate) fn seed_secret(&self, name: &str, labels: &Value, data: &[(&str, &str)]) {
        use base64::Engine as _;
        let encode = |text: &str| json!(base64::engine::general_purpose::STANDARD.encode(text));
        let data: serde_json::Map<String, Value> =
            data.iter().map(|(key, value)| ((*key).to_owned(), encode(value))).collect();
        let metadata = json!({ "name": name, "resourceVersion": "1", "labels": labels });
        let secret = json!({ "kind": "Secret", "apiVersion": "v1", "metadata": metadata, "data": data });
        self.secrets.lock().unwrap().insert(name.to_owned(), secret);
    }

    pub(crate) fn secret(&self, name: &str) -> Option<Value> {
        self.secrets.lock().unwrap().get(name).cloned()
    }

    /// Somebody deletes a Secret.
    pub(crate) fn delete_secret(&self, name: &str) {
        self.secrets.lock().unwrap().remove(name);
    }

    /// Somebody changes what a Secret holds.
    pub(crate) fn change_secret(&self, name: &str, key: &str, text: &str) {
        use base64::Engine as _;
        let mut secrets = self.secrets.lock().unwrap();
        let secret = secrets.get_mut(name).unwrap();
        secret["data"][key] = json!(base64::engine::general_purpose::STANDARD.encode(text));
    }

    pub(crate) fn requests(&self) -> Vec<(String, HeaderMap)> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn n_watches(&self) -> usize {
        self.watches.load(Ordering::SeqCst)
    }

    /// Logs that are being sent.
    pub(crate) fn n_logs(&self) -> usize {
        self.logs.load(Ordering::SeqCst)
    }

    /// Streams into pods that are open.
    pub(crate) fn n_streams(&self) -> usize {
        self.streams.load(Ordering::SeqCst)
    }

    pub(crate) fn begin_stream(self: &Arc<Self>) -> OpenStream {
        self.streams.fetch_add(1, Ordering::SeqCst);
        OpenStream(Arc::clone(self))
    }
}

pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Seen>,
    pub(crate) ca: Authority,
    _stop: DropGuard,
}

pub(crate) struct OpenStream(Arc<Seen>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Watching(Arc<Seen>);

impl Watching {
    fn begin(seen: &Arc<Seen>) -> Self {
        seen.watches.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(seen))
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.watches.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Backend {
    pub(crate) async fn start() -> Self {
        let ca = Authority::generate("cluster", HOUR).unwrap();
        let leaf =
            ca.issue(LeafRequest::server(&["localhost"], &["127.0.0.1".parse().unwrap()], HOUR)).unwrap();
        let anchors = AnchorStore::new(ca.anchors().unwrap());
        let tls = ServerIdentity::new(&leaf)
            .server_config(ClientAuth::Anchored(anchors), &[Alpn::H2, Alpn::Http1])
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let stop = CancellationToken::new();
        let limits = Limits { drain: Duration::from_millis(50), ..Limits::default() };
        tokio::spawn(serve(listener, tls, router(Arc::clone(&seen)), limits, stop.clone()));
        Self { address, seen, ca, _stop: stop.drop_guard() }
    }

    /// The agent's way in, with a client certificate of its own.
    pub(crate) async fn kube_config(&self) -> kube::Config {
        let user = self.ca.issue(LeafRequest::client("agent", HOUR)).unwrap();
        crate::rig::kube_config(&format!("https://{}", self.address), &self.ca, &user).await
    }
}

fn router(seen: Arc<Seen>) -> Router {
    let builds = Router::new()
        .route(&format!("{TEAM}/pods"), get(pods))
        .route("/api/v1/namespaces/{namespace}/pods", get(pods))
        .route("/api/v1/namespaces/{namespace}/configmaps/{name}", get(echo))
        .route(&format!("{TEAM}/pods/{{name}}/log"), get(log))
        .route(&format!("{TEAM}/configmaps"), post(length))
        .route(&format!("{TEAM}/configmaps/redirect"), get(redirect))
        .route(&format!("{TEAM}/configmaps/slow"), get(slow))
        .route(&format!("{TEAM}/pods/{{name}}"), get(pods::pod))
        .route(&format!("{TEAM}/pods/{{name}}/exec"), get(pods::stream))
        .route(&format!("{TEAM}/pods/{{name}}/attach"), get(pods::stream))
        .route(&format!("{TEAM}/pods/{{name}}/portforward"), get(pods::stream))
        .route("/api/v1/namespaces", post(|body: Bytes| async move { (StatusCode::CREATED, body) }))
        .fallback(found)
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&seen), record));
    Router::new()
        .route(SECRETS, post(create_secret))
        .route(&format!("{SECRETS}/{{name}}"), get(get_secret).put(put_secret))
        .route("/api/v1/namespaces/kube-system", get(kube_system))
        .merge(builds)
        .with_state(seen)
}

async fn found(request: Request) -> Response<Body> {
    let Some(discovery) = pods::discovery(request.uri().path()) else {
        return Response::new(Body::from("found"));
    };
    let json = [(http::header::CONTENT_TYPE, "application/json")];
    axum::response::IntoResponse::into_response((json, discovery.to_string()))
}

async fn record(
    State(seen): State<Arc<Seen>>,
    request: Request,
    next: axum::middleware::Next,
) -> Response<Body> {
    let peer = request.extensions().get::<Arc<PeerCertificates>>();
    assert_eq!(
        peer.and_then(|peer| peer.common_name()),
        Some("agent"),
        "only the agent's own credentials arrive"
    );
    let target = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    seen.requests.lock().unwrap().push((target, request.headers().clone()));
    next.run(request).await
}

pub(crate) const PODS: &str =
    r#"{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}"#;

/// The n-th line of a watch.
pub(crate) fn event(n: u32) -> String {
    let pod = json!({ "kind": "Pod", "apiVersion": "v1", "metadata": { "name": format!("p{n}"), "resourceVersion": "2" }});
    format!("{}\n", json!({ "type": "ADDED", "object": pod }))
}

async fn pods(State(seen): State<Arc<Seen>>, request: Request) -> Response<Body> {
    if !request.uri().query().unwrap_or_default().contains("watch=true") {
        return Response::new(Body::from(PODS));
    }
    let watching = Watching::begin(&seen);
    let quiet = request.uri().query().unwrap_or_default().contains("resourceVersion=quiet");
    let events = futures::stream::unfold((watching, 0), move |(watching, n)| async move {
        if n > 0 && quiet {
            std::future::pending::<()>().await;
        }
        if n > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Some((Ok::<_, Infallible>(event(n)), (watching, n + 1)))
    });
    Response::new(Body::from_stream(events))
}

/// A log of 64 MiB.
async fn log(State(seen): State<Arc<Seen>>, Path(_name): Path<String>) -> Body {
    seen.logs.fetch_add(1, Ordering::SeqCst);
    let sending = Logging(seen);
    let chunks = futures::stream::repeat_with(move || {
        let _sending = &sending;
        Ok::<_, Infallible>(Bytes::from(vec![b'x'; 64 * 1024]))
    });
    Body::from_stream(chunks.take(1024))
}

struct Logging(Arc<Seen>);

impl Drop for Logging {
    fn drop(&mut self) {
        self.0.logs.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn length(body: Body) -> String {
    let mut n_bytes = 0;
    let mut chunks = body.into_data_stream();
    while let Some(Ok(chunk)) = chunks.next().await {
        n_bytes += chunk.len();
    }
    n_bytes.to_string()
}

/// Says what was asked for.
async fn echo(request: Request) -> String {
    request.uri().path().to_owned()
}

async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_millis(400)).await;
    "at last"
}

async fn redirect() -> Response<Body> {
    Response::builder()
        .status(302)
        .header("location", "http://169.254.169.254/")
        .header("set-cookie", "a=b")
        .body(Body::empty())
        .unwrap()
}

fn conflict() -> (StatusCode, Json<Value>) {
    let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Conflict", "code": 409 });
    (StatusCode::CONFLICT, Json(status))
}

async fn create_secret(
    State(seen): State<Arc<Seen>>,
    Json(mut secret): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let name = secret["metadata"]["name"].as_str().unwrap().to_owned();
    let mut secrets = seen.secrets.lock().unwrap();
    if secrets.contains_key(&name) {
        return conflict();
    }
    secret["metadata"]["resourceVersion"] = json!("1");
    secrets.insert(name, secret.clone());
    (StatusCode::CREATED, Json(secret))
}

async fn kube_system(State(seen): State<Arc<Seen>>) -> (StatusCode, Json<Value>) {
    let uid = seen.cluster.lock().unwrap().unwrap_or("the-usual-cluster");
    if uid.is_empty() {
        let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403 });
        return (StatusCode::FORBIDDEN, Json(status));
    }
    let metadata = json!({ "name": "kube-system", "uid": uid });
    (StatusCode::OK, Json(json!({ "kind": "Namespace", "apiVersion": "v1", "metadata": metadata })))
}

async fn get_secret(State(seen): State<Arc<Seen>>, Path(name): Path<String>) -> (StatusCode, Json<Value>) {
    if let Some(secret) = seen.secret(&name) {
        return (StatusCode::OK, Json(secret));
    }
    let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404 });
    (StatusCode::NOT_FOUND, Json(status))
}

async fn put_secret(
    State(seen): State<Arc<Seen>>,
    Path(name): Path<String>,
    Json(mut secret): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let mut secrets = seen.secrets.lock().unwrap();
    let version = &secrets[&name]["metadata"]["resourceVersion"];
    if *version != secret["metadata"]["resourceVersion"] {
        return conflict();
    }
    let next: u64 = version.as_str().unwrap().parse::<u64>().unwrap() + 1;
    secret["metadata"]["resourceVersion"] = json!(next.to_string());
    secrets.insert(name, secret.clone());
    (StatusCode::OK, Json(secret))
}
