//! What a gateway says to the agent itself: which replicas are alive. Nothing else is listened to.

use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::Incoming;
use tokio::sync::mpsc;

use buildplane_wire::{REPLICAS_PATH, ReplicaSet, TARGET, TARGET_AGENT, is_claim};

use crate::failure::{Body, Failure};
use crate::roster::ConnectionId;

/// The body of a replica set, and how long it may take.
const BYTES: usize = 64 * 1024;
const DEADLINE: Duration = Duration::from_secs(5);
/// More replicas are not connected to.
pub(crate) const MAX_REPLICAS: usize = 64;

/// Where what one connection's gateway says is told.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) connection: ConnectionId,
    pub(crate) tell: mpsc::Sender<(ConnectionId, ReplicaSet)>,
}

impl Told {
    /// Whether a request is for the agent itself, and about replicas.
    pub(crate) fn is_meant<B>(request: &Request<B>) -> bool {
        let mut targets = request.headers().get_all(&TARGET).iter();
        request.uri().path() == REPLICAS_PATH
            && targets.next().is_some_and(|target| target == TARGET_AGENT)
            && targets.next().is_none()
    }

    pub(crate) async fn answer(self, request: Request<Incoming>) -> Response<Body> {
        match tokio::time::timeout(DEADLINE, self.accept(request)).await {
            Ok(Ok(())) => {
                let mut response = Response::new(Either::Right(Full::default()));
                *response.status_mut() = StatusCode::NO_CONTENT;
                response
            }
            Ok(Err(failure)) => failure.into_response(),
            Err(_elapsed) => {
                Failure::new(StatusCode::REQUEST_TIMEOUT, "the replica set did not arrive in time")
                    .into_response()
            }
        }
    }

    async fn accept(self, request: Request<Incoming>) -> Result<(), Failure> {
        if request.method() != Method::PUT {
            return Err(Failure::new(StatusCode::METHOD_NOT_ALLOWED, "the replica set is put"));
        }
        let refused = |message: String| Failure::new(StatusCode::BAD_REQUEST, message);
        let body = Limited::new(request.into_body(), BYTES).collect().await;
        let body = body.map_err(|error| refused(format!("no replica set: {error}")))?.to_bytes();
        let set: ReplicaSet =
            serde_json::from_slice(&body).map_err(|error| refused(format!("no replica set: {error}")))?;
        if set.replicas.len() > MAX_REPLICAS {
            return Err(refused(format!("more than {MAX_REPLICAS} replicas")));
        }
        let names = set.replicas.iter().map(|replica| &replica.instance).chain([&set.instance]);
        if !names.into_iter().all(|instance| is_claim(instance)) {
            return Err(refused("an instance is no short name".to_owned()));
        }
        let gone = |_closed| Failure::new(StatusCode::SERVICE_UNAVAILABLE, "the agent is leaving");
        self.tell.send((self.connection, set)).await.map_err(gone)
    }
}
