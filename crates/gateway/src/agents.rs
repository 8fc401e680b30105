//! The agents' listener: `/ws` and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::routing::get;
use http::{Response, StatusCode};
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use buildplane_api::names::{PlaneId, PlaneType};
use buildplane_tls::{PeerCertificates, PlaneSan};
use buildplane_tunnel::{Accepted, GatewayEnd, Settings, Upgrade, UpgradeError};
use buildplane_wire::{AgentHello, CanonicalQuery};

use crate::events::{Refused, rfc3339};
use crate::internal::check_host;
use crate::metrics::{Metrics, Reason};
use crate::registry::{Link, NotAdmitted, PlaneKey, Registry};
use crate::status::Failure;

/// What the agents' listener works with.
#[derive(Debug)]
pub(crate) struct Agents {
    pub(crate) registry: Arc<Registry>,
    pub(crate) settings: Settings,
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
            let (response, accepted) = upgrade.accept();
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
    peer: Arc<PeerCertificates>,
    instance: String,
    version: String,
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
        let hello = self.hello(request).map_err(refused)?;
        if let Err(refusal) = self.judge(&hello) {
            // One that is asked to come again is not turned away.
            if refusal.failure.code != StatusCode::SERVICE_UNAVAILABLE {
                self.registry.publish_refusal(&Refused {
                    plane_type: hello.plane.plane_type.as_str(),
                    plane_id: hello.plane.id.as_str(),
                    reason: refusal.reason,
                    message: refusal.failure.message.clone(),
                    at: rfc3339(Timestamp::now()),
                });
            }
            return Err(refused(refusal));
        }
        let upgrade = Upgrade::check(request).map_err(|error| {
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
        Ok(Hello { plane: PlaneKey { plane_type, id }, peer, instance, version })
    }

    /// Holds the claim against the certificate, and the certificate against the registered CAs.
    fn judge(&self, hello: &Hello) -> Result<(), Refusal> {
        let mismatch = |message: String| Refusal::new(StatusCode::FORBIDDEN, "PlaneMismatch", message);
        let named = hello.peer.planes().map_err(|error| mismatch(error.to_string()))?;
        let claimed =
            PlaneSan { plane_type: hello.plane.plane_type.to_string(), plane_id: hello.plane.id.to_string() };
        if !named.is_empty() && !named.contains(&claimed) {
            let named: Vec<String> = named.iter().map(ToString::to_string).collect();
            return Err(mismatch(format!("the certificate is for {}, not for {claimed}", named.join(", "))));
        }
        match self.registry.judge(&hello.plane, &hello.peer) {
            Ok(()) => Ok(()),
            Err(error @ NotAdmitted::NotRegistered) if Instant::now() < self.settled => {
                let message = format!("{error}, but this gateway has only just started");
                Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "NotRegistered", message))
            }
            Err(error @ NotAdmitted::NotRegistered) => {
                Err(Refusal::new(StatusCode::UNAUTHORIZED, "NotRegistered", error.to_string()))
            }
            Err(error @ NotAdmitted::NotAccepted { .. }) => {
                Err(Refusal::new(StatusCode::UNAUTHORIZED, "CertificateNotAccepted", error.to_string()))
            }
            Err(error @ NotAdmitted::PlaneFull { .. }) => {
                Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "PlaneFull", error.to_string()))
            }
        }
    }

    /// One connection, from its acceptance to its end.
    async fn run(&self, hello: Hello, accepted: Accepted, slot: OwnedSemaphorePermit) {
        let _slot = slot;
        let Hello { plane, peer, instance, version } = hello;
        let connected = async {
            let stream = accepted.byte_stream(&self.settings).await?;
            GatewayEnd::connect(stream, &self.settings).await
        };
        let connected = tokio::select! {
            connected = tokio::time::timeout(self.settings.heartbeat, connected) => connected,
            () = self.shutdown.cancelled() => return,
        };
        let end = match connected {
            Ok(Ok(end)) => end,
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
            peer,
            instance,
            version,
            handle: end.handle,
            closing: self.shutdown.child_token(),
        });
        self.metrics.connections.inc();
        tracing::info!(plane = %link.plane.id, instance = link.instance, version = link.version, "agent connected");
        self.registry.connect(&link);
        let ended = end.driver.run(link.closing.clone()).await;
        self.registry.disconnect(&link);
        self.metrics.connections.dec();
        let error = ended.as_ref().err().map(|error| error as &dyn std::error::Error);
        tracing::info!(plane = %link.plane.id, instance = link.instance, error, "agent disconnected");
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
