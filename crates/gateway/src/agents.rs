//! The agents' listener: `/ws` and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::routing::get;
use http::{HeaderValue, Response, StatusCode};
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use buildplane_api::names::{PlaneId, PlaneType};
use buildplane_tls::{PeerCertificates, PlaneSan};
use buildplane_tunnel::{Accepted, Settings, Upgrade, UpgradeError, json};
use buildplane_wire::{AgentHello, CanonicalQuery, GATEWAY_INSTANCE};

use crate::internal::check_host;
use crate::metrics::{Metrics, Reason};
use crate::peers::Peers;
use crate::registry::{Link, NotAdmitted, PlaneKey, Registry, Speaker};
use crate::status::Failure;

mod tell;

use tell::tell_replicas;

/// Planes that a certificate names and whose owners are told of its misuse.
const MAX_NAMED: usize = 8;

/// What the agents' listener works with.
#[derive(Debug)]
pub(crate) struct Agents {
    pub(crate) registry: Arc<Registry>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) settings: Settings,
    /// Present where agents that speak upstream's protocol may connect.
    pub(crate) upstream: Option<json::Settings>,
    pub(crate) metrics: Metrics,
    pub(crate) hosts: Arc<[String]>,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) settled: Instant,
    pub(crate) tasks: TaskTracker,
    /// Ends every connection, after a time to drain.
    pub(crate) shutdown: CancellationToken,
    pub(crate) next_link: AtomicU64,
}

pub(crate) fn router(agents: Arc<Agents>) -> Router {
    Router::new().route("/ws", get(connect)).with_state(agents)
}

async fn connect(State(agents): State<Arc<Agents>>, mut request: Request) -> Response<Body> {
    match agents.admit(&mut request) {
        Ok((hello, upgrade, slot)) => {
            let (mut response, accepted) = upgrade.accept();
            if let Ok(instance) = HeaderValue::try_from(agents.peers.instance()) {
                response.headers_mut().insert(GATEWAY_INSTANCE, instance);
            }
            let shared = Arc::clone(&agents);
            agents.tasks.spawn(async move { shared.run(hello, accepted, slot).await });
            response
        }
        Err(refusal) => refusal.into_response(),
    }
}

/// Who connects, and for which plane.
#[derive(Debug)]
struct Hello {
    plane: PlaneKey,
    speaker: Speaker,
}

/// Why an agent was turned away.
#[derive(Debug)]
struct Refusal {
    reason: &'static str,
    failure: Failure,
}

impl Refusal {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, failure: Failure::new(code, message) }
    }

    fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    fn into_response(self) -> Response<Body> {
        self.failure.into_response()
    }
}

impl Agents {
    fn admit(&self, request: &mut Request) -> Result<(Hello, Upgrade, OwnedSemaphorePermit), Refusal> {
        let refused = |refusal: Refusal| {
            self.metrics.refused.get_or_create(&Reason { reason: refusal.reason }).inc();
            let (reason, message) = (refusal.reason, &refusal.failure.message);
            // One that is asked to come again is not turned away: every start has such a moment.
            if refusal.failure.code == StatusCode::SERVICE_UNAVAILABLE {
                tracing::info!(reason, message, "agent asked to come again");
            } else {
                tracing::warn!(reason, message, "agent refused");
            }
            refusal
        };
        if self.peers.is_leaving() {
            let message = "this replica of the gateway is about to leave; connect to another";
            return Err(refused(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "Leaving", message)));
        }
        let hello = self.hello(request).map_err(refused)?;
        self.judge(&hello).map_err(refused)?;
        let upgrade = match self.upstream {
            Some(_) => Upgrade::check_any(request),
            None => Upgrade::check(request),
        };
        let upgrade = upgrade.map_err(|error| {
            let code =
                if error == UpgradeError::Origin { StatusCode::FORBIDDEN } else { StatusCode::BAD_REQUEST };
            refused(Refusal::new(code, "NotAnAgent", error.to_string()))
        })?;
        let slot = Arc::clone(&self.slots).try_acquire_owned().map_err(|_full| {
            refused(Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "GatewayFull",
                "the gateway has no room for more agents",
            ))
        })?;
        Ok((hello, upgrade, slot))
    }

    /// Reads what the agent says of itself.
    fn hello(&self, request: &Request) -> Result<Hello, Refusal> {
        check_host(&self.hosts, request).map_err(|failure| Refusal { reason: "WrongHost", failure })?;
        let query = CanonicalQuery::parse(request.uri().query())
            .map_err(|error| Refusal::bad_request(format!("the query is refused: {error}")))?;
        let plane_type: PlaneType =
            only(&query, "planeType")?.parse().map_err(|error| Refusal::bad_request(format!("{error}")))?;
        let id: PlaneId =
            only(&query, "planeID")?.parse().map_err(|error| Refusal::bad_request(format!("{error}")))?;
        let peer = request.extensions().get::<Arc<PeerCertificates>>().ok_or_else(|| {
            Refusal::new(
                StatusCode::UNAUTHORIZED,
                "NoClientCertificate",
                "an agent presents a client certificate",
            )
        })?;
        let peer = Arc::clone(peer);
        let said = AgentHello::read(request.headers())
            .map_err(|error| Refusal::bad_request(format!("the agent's headers are refused: {error}")))?;
        let instance = said.instance.unwrap_or_else(|| peer.fingerprint().to_string());
        let version = said.version.unwrap_or_default();
        let speaker = Speaker { peer, instance, version, cluster: said.cluster, allowed: said.allowed };
        Ok(Hello { plane: PlaneKey { plane_type, id }, speaker })
    }

    /// Holds the claim against the certificate, and the certificate against the registered CAs. Watchers are told of a
    /// refusal, unless the agent is only asked to come again.
    fn judge(&self, Hello { plane, speaker }: &Hello) -> Result<(), Refusal> {
        let judged = match self.mismatch(plane, &speaker.peer) {
            Some(mismatch) => Err(mismatch),
            None => self.registry.judge(plane, speaker),
        };
        let Err(error) = judged else { return Ok(()) };
        let mut message = error.to_string();
        let code = match &error {
            NotAdmitted::NotRegistered if Instant::now() < self.settled => {
                message.push_str(", but this gateway has only just started");
                StatusCode::SERVICE_UNAVAILABLE
            }
            NotAdmitted::PlaneFull { .. } => StatusCode::SERVICE_UNAVAILABLE,
            NotAdmitted::NotRegistered | NotAdmitted::NotAccepted { .. } => StatusCode::UNAUTHORIZED,
            NotAdmitted::PlaneMismatch { .. } => StatusCode::FORBIDDEN,
            NotAdmitted::ClusterConflict { .. } => StatusCode::CONFLICT,
        };
        if code != StatusCode::SERVICE_UNAVAILABLE {
            self.registry.refuse(plane, &error);
        }
        Err(Refusal::new(code, error.reason(), message))
    }

    /// A certificate that names planes is one for those alone.
    fn mismatch(&self, plane: &PlaneKey, peer: &PeerCertificates) -> Option<NotAdmitted> {
        let claimed = PlaneSan { plane_type: plane.plane_type.to_string(), plane_id: plane.id.to_string() };
        let named = peer.planes();
        let (named, others) = match &named {
            Ok(named) if named.is_empty() || named.contains(&claimed) => return None,
            Ok(named) => {
                let texts: Vec<String> = named.iter().map(ToString::to_string).collect();
                (texts.join(", "), named.as_slice())
            }
            Err(_malformed) => ("a plane whose name is malformed".to_owned(), [].as_slice()),
        };
        // Whoever sees the plane that it claims should know, and whoever sees the plane that it is for.
        let key = |san: &PlaneSan| {
            let plane_type = san.plane_type.parse().ok()?;
            Some(PlaneKey { plane_type, id: san.plane_id.parse().ok()? })
        };
        let planes: Vec<PlaneKey> =
            std::iter::once(plane.clone()).chain(others.iter().take(MAX_NAMED).filter_map(key)).collect();
        let crs = self.registry.vouching(&planes, peer);
        Some(NotAdmitted::PlaneMismatch { plane: plane.clone(), named, crs })
    }

    /// One connection, from its acceptance to its end.
    async fn run(&self, hello: Hello, accepted: Accepted, slot: OwnedSemaphorePermit) {
        let _slot = slot;
        let Hello { plane, speaker } = hello;
        let instance = &speaker.instance;
        let upstream = self.upstream.clone().unwrap_or_default();
        let connected = accepted.connect(&self.settings, &upstream);
        let connected = tokio::select! {
            connected = tokio::time::timeout(self.settings.heartbeat, connected) => connected,
            () = self.shutdown.cancelled() => return,
        };
        let (handle, driver) = match connected {
            Ok(Ok(connected)) => connected,
            Ok(Err(error)) => {
                tracing::warn!(plane = %plane.id, instance, error = &error as &dyn std::error::Error, "agent connection failed");
                return;
            }
            Err(_elapsed) => {
                tracing::warn!(plane = %plane.id, instance, "agent connection took too long to begin");
                return;
            }
        };
        let link = Arc::new(Link {
            id: self.next_link.fetch_add(1, Ordering::Relaxed),
            plane,
            speaker,
            connected_at: Timestamp::now(),
            handle,
            closing: self.shutdown.child_token(),
        });
        let Speaker { instance, version, .. } = &link.speaker;
        let _counted = self.metrics.connected(link.speaker.peer.not_after());
        let streams = link.handle.streams();
        tracing::info!(plane = %link.plane.id, instance, version, streams, "agent connected");
        self.registry.connect(&link);
        let replicas = self.peers.replicas();
        let ended = {
            let mut driver = std::pin::pin!(driver.run(link.closing.clone()));
            tokio::select! {
                ended = driver.as_mut() => ended,
                // Upstream's agents know of one gateway alone.
                () = tell_replicas(&link.handle, replicas), if streams => driver.await,
            }
        };
        self.registry.disconnect(&link);
        let error = ended.as_ref().err().map(|error| error as &dyn std::error::Error);
        tracing::info!(plane = %link.plane.id, instance, error, "agent disconnected");
    }
}

/// The value of a parameter that stands in the query exactly once.
fn only<'q>(query: &'q CanonicalQuery, key: &'static str) -> Result<&'q str, Refusal> {
    let mut values = query.values(key);
    match (values.next(), values.next()) {
        (Some(value), None) if !value.is_empty() => Ok(value),
        _ => Err(Refusal::bad_request(format!("the query must name {key} once"))),
    }
}
