//! Streams into pods (exec, attach, port-forward): an extended CONNECT in the tunnel, a WebSocket handshake at the local
//! API, and bytes between them that nobody here reads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Either, Empty, Full};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use prometheus_client::metrics::gauge::Gauge;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, Span};

use buildplane_tunnel::{Carried, Patience, splice, websocket_accept, websocket_key};
use buildplane_wire::{self as wire, Attributes, PROTOCOL_SPDY, PROTOCOL_WEBSOCKET, Subprotocols};

use crate::failure::{Body, Failure};
use crate::local_api::{ApiBody, RequestBody};

/// The gateway is the less patient of the two, and says so when it ends a stream.
const PATIENCE: Patience = Patience { linger: Duration::from_secs(5), stalled: Duration::from_hours(1) };
/// How long both ends may take to be handed over once both have agreed.
const HANDOVER: Duration = Duration::from_secs(10);

/// An upgrade that was asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    offered: Subprotocols,
    spdy: bool,
    upgraded: OnUpgrade,
}

impl Asked {
    /// Reads an extended CONNECT; none where the request is another.
    pub(crate) fn take(request: &mut Request<Incoming>) -> Result<Option<Self>, Failure> {
        if request.method() != Method::CONNECT {
            return Ok(None);
        }
        let refuse = |message: String| Failure::new(StatusCode::BAD_REQUEST, message);
        let spdy = match request.extensions().get::<Protocol>().map(Protocol::as_str) {
            Some(PROTOCOL_WEBSOCKET) => false,
            Some(PROTOCOL_SPDY) => true,
            _ => return Err(refuse(format!("only CONNECT with :protocol {PROTOCOL_WEBSOCKET} is carried"))),
        };
        let offered = Subprotocols::offered(request.headers()).map_err(|error| refuse(error.to_string()))?;
        Ok(Some(Self { offered, spdy, upgraded: hyper::upgrade::on(request) }))
    }

    /// Refuses what the policy allows and nobody can carry.
    pub(crate) fn check(&self, attributes: &Attributes) -> Result<(), Failure> {
        if !wire::opens_stream(attributes) {
            let message = "only exec, attach and portforward of pods are upgraded";
            return Err(Failure::new(StatusCode::BAD_REQUEST, message));
        }
        if self.spdy {
            return Err(Failure::new(StatusCode::NOT_IMPLEMENTED, wire::SPDY_NOT_CARRIED));
        }
        Ok(())
    }

    /// The handshake at the local API.
    pub(crate) fn handshake(&self, url: Uri, headers: &HeaderMap) -> Result<Handshake, Failure> {
        let unusable = || Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "no handshake could be made");
        let key = websocket_key().ok_or_else(unusable)?;
        let accept = websocket_accept(&key).ok_or_else(unusable)?;
        let body = Empty::new().map_err(|never: std::convert::Infallible| match never {}).boxed_unsync();
        let mut request = Request::new(body);
        *request.uri_mut() = url;
        *request.headers_mut() = wire::forward_request(headers);
        for (name, value) in [
            (header::CONNECTION, HeaderValue::from_static("Upgrade")),
            (header::UPGRADE, HeaderValue::from_static("websocket")),
            (header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
            (header::SEC_WEBSOCKET_KEY, key),
            (header::SEC_WEBSOCKET_PROTOCOL, self.offered.to_header().ok_or_else(unusable)?),
        ] {
            request.headers_mut().insert(name, value);
        }
        Ok(Handshake { request, accept })
    }
}

/// A handshake that is about to be sent.
#[derive(Debug)]
pub(crate) struct Handshake {
    pub(crate) request: Request<RequestBody>,
    pub(crate) accept: HeaderValue,
}

/// What the local API made of a handshake.
pub(crate) enum Answered {
    /// It switches protocols.
    Upgraded {
        /// What the gateway is told.
        response: Response<Body>,
        /// The API's end.
        api: OnUpgrade,
    },
    /// It answered as to any request.
    Refused(Response<ApiBody>),
}

/// Reads the answer to a handshake: only a whole 101 is an upgrade. A success that is none cannot be told to the
/// gateway, where a success means that bytes may flow.
pub(crate) fn read_answer(
    asked: &Asked,
    accept: &HeaderValue,
    mut answer: Response<ApiBody>,
) -> Result<Answered, Failure> {
    let bad = |message: String| Err(Failure::new(StatusCode::BAD_GATEWAY, message));
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        if answer.status().is_success() {
            return bad(format!(
                "the build plane's API answered {} to a WebSocket handshake",
                answer.status().as_u16()
            ));
        }
        return Ok(Answered::Refused(answer));
    }
    let headers = answer.headers();
    let websocket = headers
        .get(header::UPGRADE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.eq_ignore_ascii_case("websocket"));
    if !websocket || headers.get(header::SEC_WEBSOCKET_ACCEPT) != Some(accept) {
        return bad("the build plane's API answered 101, but not to our WebSocket handshake".to_owned());
    }
    let chosen = match asked.offered.chosen(headers) {
        Ok(chosen) => chosen,
        Err(error) => return bad(error.to_string()),
    };
    let mut response = Response::new(Either::Right(Full::default()));
    response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, chosen);
    Ok(Answered::Upgraded { response, api: hyper::upgrade::on(&mut answer) })
}

/// The upgraded streams that are open.
#[derive(Debug)]
pub(crate) struct Streams {
    n_open: Gauge,
    tasks: TaskTracker,
    open: Mutex<HashMap<String, CancellationToken>>,
}

impl Streams {
    pub(crate) fn new(n_open: Gauge) -> Self {
        Self { n_open, tasks: TaskTracker::new(), open: Mutex::default() }
    }

    /// Copies bytes until the stream ends, at either end or because the gateway ends it by its request id.
    pub(crate) fn carry(self: &Arc<Self>, request_id: String, asked: Asked, api: OnUpgrade) {
        let streams = Arc::clone(self);
        let ended = CancellationToken::new();
        self.lock().insert(request_id.clone(), ended.clone());
        self.n_open.inc();
        let carried = async move {
            let carried = Carried::default();
            let carrying = async {
                let both = async { tokio::try_join!(asked.upgraded, api) };
                let (gateway, api) = match tokio::time::timeout(HANDOVER, both).await {
                    Ok(both) => both.map_err(|error| error.to_string())?,
                    Err(_elapsed) => return Err("the ends were not handed over in time".to_owned()),
                };
                splice(TokioIo::new(gateway), TokioIo::new(api), &carried, PATIENCE)
                    .await
                    .map_err(|error| error.to_string())
            };
            let outcome = tokio::select! {
                carried = carrying => carried.map_or_else(|error| error, |spliced| format!("{spliced:?}")),
                () = ended.cancelled() => "the gateway ended it".to_owned(),
            };
            streams.lock().remove(&request_id);
            streams.n_open.dec();
            tracing::info!(
                outcome,
                received_bytes = carried.there(),
                sent_bytes = carried.back(),
                "stream into a pod ended"
            );
        };
        self.tasks.spawn(carried.instrument(Span::current()));
    }

    /// Ends a stream. Its flow control may hold up what would tell its end otherwise.
    pub(crate) fn end(&self, request_id: &str) {
        let open = self.lock().remove(request_id);
        if let Some(ended) = open {
            ended.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, CancellationToken>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
