//! A build cluster's API as far as agents and callers need it. It says in every answer whose request it answers.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use buildplane_serve::{Limits, serve_plain};

use crate::net::Net;

/// A log that is followed has this many lines, one each half second.
pub(crate) const LINES: usize = 12;

/// One cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) host: &'static str,
    objects: Mutex<BTreeMap<String, Value>>,
    /// How often each creation was carried out.
    created: Mutex<BTreeMap<String, usize>>,
}

impl Cluster {
    pub(crate) fn start(host: &'static str, net: &Net, stop: CancellationToken) -> Arc<Self> {
        let cluster = Arc::new(Self { host, objects: Mutex::default(), created: Mutex::default() });
        let limits = Limits { drain: Duration::from_millis(10), ..Limits::default() };
        let served = serve_plain(net.listen(host), router(Arc::clone(&cluster)), limits, stop);
        tokio::spawn(async move { served.await.unwrap() });
        cluster
    }

    pub(crate) fn n_created(&self, nonce: &str) -> usize {
        self.created.lock().unwrap().get(nonce).copied().unwrap_or_default()
    }

    /// The CA that the agents of the cluster made for themselves.
    pub(crate) fn agent_ca(&self) -> Option<String> {
        use base64::Engine as _;
        let objects = self.objects.lock().unwrap();
        let encoded = objects.get("cluster-agent-tls")?["data"]["ca.crt"].as_str()?;
        String::from_utf8(base64::engine::general_purpose::STANDARD.decode(encoded).ok()?).ok()
    }
}

fn router(cluster: Arc<Cluster>) -> Router {
    let secrets = "/api/v1/namespaces/openchoreo-build-plane/secrets";
    Router::new()
        .route(secrets, post(create_secret))
        .route(&format!("{secrets}/{{name}}"), get(get_secret).put(put_secret))
        .route("/api/v1/namespaces/kube-system", get(kube_system))
        .route("/api/v1/namespaces/{namespace}/pods/{name}", get(pod))
        .route("/api/v1/namespaces/{namespace}/pods/{name}/log", get(log))
        .route("/apis/argoproj.io/v1alpha1/namespaces/{namespace}/workflows", post(workflow))
        .with_state(cluster)
}

/// What every answer says of the request that it answers.
pub(crate) fn mark(cluster: &str, namespace: &str, nonce: &str) -> String {
    format!("{cluster} {namespace} {nonce}")
}

async fn kube_system(State(cluster): State<Arc<Cluster>>) -> Json<Value> {
    let metadata = json!({ "name": "kube-system", "uid": format!("uid-of-{}", cluster.host) });
    Json(json!({ "kind": "Namespace", "apiVersion": "v1", "metadata": metadata }))
}

async fn pod(State(cluster): State<Arc<Cluster>>, Path((namespace, name)): Path<(String, String)>) -> String {
    mark(cluster.host, &namespace, &name)
}

async fn workflow(
    State(cluster): State<Arc<Cluster>>,
    Path(namespace): Path<String>,
    body: Bytes,
) -> (StatusCode, String) {
    let nonce =
        String::from_utf8_lossy(body.split(|byte| *byte == b' ').next().unwrap_or_default()).into_owned();
    *cluster.created.lock().unwrap().entry(nonce.clone()).or_default() += 1;
    (StatusCode::CREATED, mark(cluster.host, &namespace, &nonce))
}

async fn log(State(cluster): State<Arc<Cluster>>, Path((namespace, name)): Path<(String, String)>) -> Body {
    let mark = mark(cluster.host, &namespace, &name);
    let lines = futures::stream::unfold(0, move |n| {
        let line = format!("{mark} {n}\n");
        async move {
            if n > 0 {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            (n < LINES).then_some((Ok::<_, Infallible>(line), n + 1))
        }
    });
    Body::from_stream(lines)
}

fn failure(code: StatusCode, reason: &str) -> (StatusCode, Json<Value>) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code.as_u16(),
    });
    (code, Json(status))
}

async fn create_secret(
    State(cluster): State<Arc<Cluster>>,
    Json(mut secret): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let name = secret["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let mut objects = cluster.objects.lock().unwrap();
    if objects.contains_key(&name) {
        return failure(StatusCode::CONFLICT, "AlreadyExists");
    }
    secret["metadata"]["resourceVersion"] = json!("1");
    objects.insert(name, secret.clone());
    (StatusCode::CREATED, Json(secret))
}

async fn get_secret(
    State(cluster): State<Arc<Cluster>>,
    Path(name): Path<String>,
) -> (StatusCode, Json<Value>) {
    match cluster.objects.lock().unwrap().get(&name) {
        Some(secret) => (StatusCode::OK, Json(secret.clone())),
        None => failure(StatusCode::NOT_FOUND, "NotFound"),
    }
}

async fn put_secret(
    State(cluster): State<Arc<Cluster>>,
    Path(name): Path<String>,
    Json(mut secret): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let mut objects = cluster.objects.lock().unwrap();
    let Some(known) = objects.get(&name) else { return failure(StatusCode::NOT_FOUND, "NotFound") };
    let version = &known["metadata"]["resourceVersion"];
    if *version != secret["metadata"]["resourceVersion"] {
        return failure(StatusCode::CONFLICT, "Conflict");
    }
    let next = version.as_str().and_then(|version| version.parse::<u64>().ok()).unwrap_or_default() + 1;
    secret["metadata"]["resourceVersion"] = json!(next.to_string());
    objects.insert(name, secret.clone());
    (StatusCode::OK, Json(secret))
}
