//! The planes API: controllers register custom resources, and watch who is connected.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Extension, Path, Query, Request, State};
use axum::routing::{get, put};
use axum::{Json, Router};
use bytes::Bytes;
use futures::Stream;
use http::{HeaderValue, Response, StatusCode, header};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::Receiver;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use buildplane_api::names::{CLUSTER_SEGMENT, CrRef, PlaneId, PlaneType};
use buildplane_tls::TrustAnchors;

use crate::authorize::{Action, Authorizer, Caller};
use crate::events::{Event, PlaneStatus};
use crate::peers::{GATEWAYS, Peers};
use crate::registry::{PlaneKey, Registry};
use crate::status::Failure;

/// Size of a registration.
const MAX_BODY: usize = 1024 * 1024;
/// How often a quiet watch shows that it lives.
const PING: Duration = Duration::from_secs(15);

/// What the planes API works with.
pub(crate) struct Planes {
    pub(crate) registry: Arc<Registry>,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    /// This replica, whose random id shows a watcher that it has to register its planes anew, and the others.
    pub(crate) peers: Arc<Peers>,
    /// How often watchers are told when the connected agents were last heard of.
    pub(crate) heartbeat: Duration,
    pub(crate) shutdown: CancellationToken,
}

pub(crate) fn router(planes: Arc<Planes>) -> Router {
    Router::new()
        .route("/api/v1/planes/watch", get(watch))
        .route("/api/v1/planes/status", get(statuses))
        .route("/api/v1/planes/{plane_type}/{plane_id}/status", get(status))
        .route("/api/v1/planes/{plane_type}/{plane_id}/{namespace}/{name}", put(register).delete(unregister))
        .fallback(|| async { Failure::new(StatusCode::NOT_FOUND, "there is nothing here").into_response() })
        .with_state(planes)
}

type Segments = Path<(String, String, String, String)>;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Registration {
    #[serde(rename = "clientCA")]
    client_ca: String,
    /// The cluster that the custom resource is pinned to.
    #[serde(rename = "clusterID", default)]
    cluster_id: Option<String>,
}

async fn register(
    State(planes): State<Arc<Planes>>,
    Extension(caller): Extension<Caller>,
    Path(segments): Segments,
    request: Request,
) -> Result<Json<serde_json::Value>, Refused> {
    let (plane, cr) = reference(&segments)?;
    planes.allow(&caller, Action::Register(&cr)).await?;
    let body = to_bytes(request.into_body(), MAX_BODY)
        .await
        .map_err(|error| Failure::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()))?;
    let registration: Registration = serde_json::from_slice(&body)
        .map_err(|error| bad_request(format!("the registration is no JSON of ours: {error}")))?;
    let anchors = TrustAnchors::parse(&registration.client_ca)
        .map_err(|error| Failure::new(StatusCode::UNPROCESSABLE_ENTITY, format!("clientCA: {error}")))?;
    let cluster = registration.cluster_id;
    if cluster.as_deref().is_some_and(|cluster| !buildplane_wire::is_claim(cluster)) {
        let message = "clusterID: a cluster is named by the uid of its namespace kube-system";
        return Err(Failure::new(StatusCode::UNPROCESSABLE_ENTITY, message).into());
    }
    planes
        .registry
        .register(&plane, &cr, anchors, cluster)
        .map_err(|full| Failure::new(StatusCode::TOO_MANY_REQUESTS, full.to_string()))?;
    Ok(Json(serde_json::json!({ "success": true })))
}

async fn unregister(
    State(planes): State<Arc<Planes>>,
    Extension(caller): Extension<Caller>,
    Path(segments): Segments,
) -> Result<Json<serde_json::Value>, Refused> {
    let (plane, cr) = reference(&segments)?;
    planes.allow(&caller, Action::Register(&cr)).await?;
    planes.registry.unregister(&plane, &cr);
    Ok(Json(serde_json::json!({ "success": true })))
}

async fn watch(
    State(planes): State<Arc<Planes>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response<Body>, Refused> {
    planes.allow(&caller, Action::ReadPlanes).await?;
    let (now, changes) = planes.registry.watch();
    // Read after the changes are subscribed to: a change in between is then told twice rather than never.
    let replicas = planes.peers.entries();
    let hello = Event::Hello { instance: planes.peers.instance(), replicas: &replicas }.line();
    let mut pending: Vec<Bytes> = std::iter::once(hello).chain(now).collect();
    pending.reverse();
    let beat = Instant::now() + planes.heartbeat;
    let lines = Lines { pending, changes, beat, planes };
    let mut response = Response::new(Body::from_stream(lines.stream()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

struct Lines {
    pending: Vec<Bytes>,
    changes: Receiver<Bytes>,
    /// When the next heartbeats are due.
    beat: Instant,
    planes: Arc<Planes>,
}

impl Lines {
    /// Ends at shutdown, and when the watcher fell so far behind that lines were lost: it begins anew then.
    fn stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> {
        futures::stream::unfold(self, |mut lines| async move {
            loop {
                if let Some(line) = lines.pending.pop() {
                    return Some((Ok(line), lines));
                }
                let line = tokio::select! {
                    biased;
                    () = lines.planes.shutdown.cancelled() => return None,
                    // Changes first: what they say may be older than the heartbeats, which then follow.
                    changed = tokio::time::timeout(PING, lines.changes.recv()) => match changed {
                        Ok(Ok(line)) => line,
                        Ok(Err(_lagged_or_closed)) => return None,
                        Err(_quiet) => Event::Ping {}.line(),
                    },
                    () = tokio::time::sleep_until(lines.beat) => {
                        lines.beat = Instant::now() + lines.planes.heartbeat;
                        lines.pending = lines.planes.registry.heartbeats();
                        if !lines.pending.is_empty() {
                            continue;
                        }
                        Event::Ping {}.line()
                    }
                };
                return Some((Ok(line), lines));
            }
        })
    }
}

#[derive(Debug, Deserialize)]
struct Filter {
    namespace: Option<String>,
    name: Option<String>,
}

async fn status(
    State(planes): State<Arc<Planes>>,
    Extension(caller): Extension<Caller>,
    Path((plane_type, plane_id)): Path<(String, String)>,
    Query(filter): Query<Filter>,
) -> Result<Json<PlaneStatus>, Refused> {
    planes.allow(&caller, Action::ReadPlanes).await?;
    let plane = plane_key(&plane_type, &plane_id)?;
    let cr = match &filter.name {
        Some(name) => {
            let namespace = filter.namespace.as_deref().unwrap_or(CLUSTER_SEGMENT);
            Some(CrRef::from_segments(plane.plane_type, namespace, name).map_err(bad_request)?)
        }
        None => None,
    };
    Ok(Json(planes.registry.plane_status(&plane, cr.as_ref())))
}

#[derive(Debug, Serialize)]
struct PlaneStatuses {
    total: usize,
    planes: Vec<PlaneStatus>,
}

async fn statuses(
    State(planes): State<Arc<Planes>>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<PlaneStatuses>, Refused> {
    planes.allow(&caller, Action::ReadPlanes).await?;
    let statuses = planes.registry.plane_statuses();
    Ok(Json(PlaneStatuses { total: statuses.len(), planes: statuses }))
}

impl Planes {
    async fn allow(&self, caller: &Caller, action: Action<'_>) -> Result<(), Failure> {
        // Replicas tell each other who is connected.
        if action == Action::ReadPlanes && caller.groups.iter().any(|group| group == GATEWAYS) {
            return Ok(());
        }
        self.authorizer.authorize(caller, action).await?;
        Ok(())
    }
}

fn reference(
    (plane_type, plane_id, namespace, name): &(String, String, String, String),
) -> Result<(PlaneKey, CrRef), Failure> {
    let plane = plane_key(plane_type, plane_id)?;
    let cr = CrRef::from_segments(plane.plane_type, namespace, name).map_err(bad_request)?;
    Ok((plane, cr))
}

fn plane_key(plane_type: &str, plane_id: &str) -> Result<PlaneKey, Failure> {
    let plane_type: PlaneType = plane_type.parse().map_err(bad_request)?;
    Ok(PlaneKey { plane_type, id: PlaneId::parse(plane_id).map_err(bad_request)? })
}

fn bad_request(reason: impl std::fmt::Display) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, reason.to_string())
}

/// A failure as axum's handlers return it.
struct Refused(Failure);

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

impl axum::response::IntoResponse for Refused {
    fn into_response(self) -> Response<Body> {
        self.0.into_response()
    }
}
