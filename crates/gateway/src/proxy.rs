//! Requests of callers, streamed to the agent that may speak for their custom resource.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body as HttpBody;
use http_body_util::BodyExt as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use buildplane_traces::Span;
use buildplane_tunnel::{BoxError, StreamBody};
use buildplane_wire::{self as wire, Attributes, Verb};

use crate::audit::Audit;
use crate::authorize::{Action, Authorizer, Caller};
use crate::limits::Shares;
use crate::metrics::{Metrics, Reason};
use crate::registry::{Registry, Route};
use crate::status::Failure;

mod body;
mod carry;
mod exchange;
mod target;
mod upgrade;

use body::{Limited, Relayed, Upload, Watch};
use carry::Carry;
pub(crate) use carry::Limits as CarryLimits;
use exchange::{Exchanged, Outgoing, empty, exchange};
use target::check_method;
pub(crate) use target::{PREFIX, Target};
pub(crate) use upgrade::Asked;

/// What proxying works with.
pub(crate) struct Proxy {
    pub(crate) registry: Arc<Registry>,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) metrics: Metrics,
    pub(crate) shares: Shares,
    pub(crate) request_bytes: u64,
    pub(crate) response_head: Duration,
    pub(crate) carry: CarryLimits,
    /// Those who look after responses whose callers may not read them.
    pub(crate) streams: TaskTracker,
    /// The upgraded streams, which no connection's own task waits for.
    pub(crate) upgraded: TaskTracker,
    /// Cancelled when the gateway should stop.
    pub(crate) stop: CancellationToken,
}

/// A request that may go on its way.
struct Judged {
    target: Target,
    route: Arc<Route>,
}

impl Proxy {
    /// Answers one request, with the agent's answer or with an error of our own.
    pub(crate) async fn forward<B>(
        &self,
        caller: &Caller,
        mut request: Request<B>,
        request_id: String,
    ) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let mut trace = Span::begin("gateway", request.headers());
        trace.set("buildplane.request_id", || request_id.clone());
        trace.set("http.request.method", || request.method().to_string());
        let metrics = self.metrics.clone();
        let mut audit = Audit::begin(metrics, request_id, trace, &caller.user, request.method().clone());
        audit.called(request.headers());
        let asked = check_identity(request.headers()).and_then(|()| Asked::take(&mut request));
        match asked {
            Ok(Some(asked)) => self.upgrade(caller, asked, &request.into_parts().0, audit).await,
            Ok(None) => self.relay(caller, request, audit).await,
            Err(failure) => self.refuse(failure, audit),
        }
    }

    /// An ordinary request: bodies stream both ways.
    async fn relay<B>(&self, caller: &Caller, request: Request<B>, mut audit: Audit) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let upload = Arc::new(Upload::default());
        let (head, body) = request.into_parts();
        let sent = async {
            check_method(&head.method)?;
            let judged = self.judge(caller, &head, &head.method, &mut audit).await?;
            let exchanged = self.send(&judged, head, body, &upload, &audit).await?;
            audit.agent.clone_from(&exchanged.admission.link.speaker.instance);
            Ok::<_, Failure>((
                judged.target.query.endless(),
                exchanged.admission,
                relay_head(exchanged.response)?,
            ))
        };
        match sent.await {
            Ok((endless, admission, response)) => {
                audit.answered(response.status());
                response.map(|body| {
                    let watch = Watch { tasks: self.streams.clone(), stalled: self.carry.stalled };
                    let relayed = Relayed::new(body, admission.revoked, upload, audit, watch);
                    Body::new(relayed.until(endless, &self.stop))
                })
            }
            Err(failure) => {
                audit.sent = upload.n_bytes();
                self.refuse(failure, audit)
            }
        }
    }

    async fn send<B>(
        &self,
        judged: &Judged,
        head: Parts,
        body: B,
        upload: &Arc<Upload>,
        audit: &Audit,
    ) -> Result<Exchanged, Failure>
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let too_large = || {
            let message = format!("the request's body is larger than {} bytes", self.request_bytes);
            Failure::new(StatusCode::PAYLOAD_TOO_LARGE, message)
        };
        if body.size_hint().lower() > self.request_bytes {
            return Err(too_large());
        }
        let outgoing = Outgoing {
            method: head.method,
            uri: judged.target.uri()?,
            headers: headers(&head.headers, &judged.target, audit)?,
            is_endless: judged.target.query.endless().is_some(),
            protocol: None,
        };
        let is_empty = body.is_end_stream();
        let body = Limited::new(body, self.request_bytes, Arc::clone(upload)).boxed_unsync();
        let exchanged = self.in_time(exchange(&judged.route, outgoing, body, is_empty)).await;
        if exchanged.is_err() && upload.is_too_large() { Err(too_large()) } else { exchanged }
    }

    /// A request for an upgrade: an extended CONNECT in the tunnel. Whatever is no success is an ordinary answer.
    async fn upgrade(&self, caller: &Caller, asked: Asked, head: &Parts, mut audit: Audit) -> Response<Body> {
        let sent = async {
            // Every client but HTTP/2's opens a WebSocket with a GET.
            let method = if head.method == Method::CONNECT { &Method::GET } else { &head.method };
            let judged = self.judge(caller, head, method, &mut audit).await?;
            let mut headers = headers(&head.headers, &judged.target, &audit)?;
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, asked.offer.clone());
            let outgoing = Outgoing {
                method: Method::CONNECT,
                uri: judged.target.uri()?,
                headers,
                is_endless: true,
                protocol: Some(asked.protocol.clone()),
            };
            settle(&judged.route).await;
            let exchanged = self.in_time(exchange(&judged.route, outgoing, empty(), true)).await?;
            audit.agent.clone_from(&exchanged.admission.link.speaker.instance);
            Ok::<_, Failure>(exchanged)
        };
        let Exchanged { mut response, admission } = match sent.await {
            Ok(exchanged) => exchanged,
            Err(failure) => return self.refuse(failure, audit),
        };
        if response.status() == StatusCode::OK {
            let answer = match asked.answer(&response) {
                Ok(answer) => answer,
                Err(failure) => return self.refuse(failure, audit),
            };
            audit.answered(answer.status());
            let agent = hyper::upgrade::on(&mut response);
            let carry = Carry { caller: asked.caller, agent, stream: response.into_body(), admission, audit };
            let (n_upgraded, carried) =
                (self.metrics.upgraded.clone(), carry.run(self.carry, self.stop.clone()));
            n_upgraded.inc();
            let stream = async move {
                carried.await;
                n_upgraded.dec();
            };
            self.upgraded.spawn(stream.instrument(tracing::Span::current()));
            return answer;
        }
        if response.status().is_success() {
            let message = "the agent answered an upgrade with a success that is none";
            return self.refuse(Failure::new(StatusCode::BAD_GATEWAY, message), audit);
        }
        match relay_head(response) {
            Ok(response) => {
                audit.answered(response.status());
                response.map(|body| {
                    let watch = Watch { tasks: self.streams.clone(), stalled: self.carry.stalled };
                    Body::new(Relayed::new(body, admission.revoked, Arc::default(), audit, watch))
                })
            }
            Err(failure) => self.refuse(failure, audit),
        }
    }

    /// Reads what is asked for, and asks whether the caller may.
    async fn judge(
        &self,
        caller: &Caller,
        head: &Parts,
        method: &Method,
        audit: &mut Audit,
    ) -> Result<Judged, Failure> {
        let target = Target::parse(&head.uri)?;
        audit.cr = target.cr.to_string();
        audit.trace.set("buildplane.cr", || target.cr.to_string());
        audit.trace.set("buildplane.target", || target.name);
        tracing::Span::current().record("cr", &audit.cr);
        audit.target = target.name;
        target.path.as_str().clone_into(&mut audit.path);
        let attributes = Attributes::read(method, &target.path, &target.query)
            .map_err(|error| Failure::new(StatusCode::BAD_REQUEST, error.to_string()))?;
        audit.asks(&attributes);
        let action = Action::Proxy { cr: &target.cr, target: target.name, verb: verb(&attributes) };
        let grant = self.authorizer.authorize(caller, action).await?;
        let route = self.route(&target)?;
        audit.share = Some(self.shares.take(&target.cr, &caller.user, grant)?);
        Ok(Judged { target, route })
    }

    fn route(&self, target: &Target) -> Result<Arc<Route>, Failure> {
        let route = self.registry.route(&target.cr).filter(|route| route.plane.id == target.plane_id);
        let route = route.ok_or_else(|| {
            let message = format!("{} is not registered with plane id {}", target.cr, target.plane_id);
            Failure::new(StatusCode::NOT_FOUND, message)
        })?;
        if route.is_empty() {
            let message = format!("no agent of plane {} may speak for {} now", target.plane_id, target.cr);
            return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, message));
        }
        Ok(route)
    }

    fn refuse(&self, failure: Failure, mut audit: Audit) -> Response<Body> {
        audit.outcome = "refused";
        audit.answered(failure.code);
        self.metrics.requests_refused.get_or_create(&Reason { reason: failure.reason() }).inc();
        tracing::debug!(reason = failure.message, "request refused");
        failure.into_response()
    }

    async fn in_time(
        &self,
        exchanged: impl Future<Output = Result<Exchanged, Failure>>,
    ) -> Result<Exchanged, Failure> {
        tokio::time::timeout(self.response_head, exchanged).await.unwrap_or_else(|_elapsed| {
            Err(Failure::new(StatusCode::GATEWAY_TIMEOUT, "the agent did not answer in time"))
        })
    }
}

/// Whoever asks to be somebody else is told that he is not, rather than served as himself.
fn check_identity(headers: &HeaderMap) -> Result<(), Failure> {
    match headers.keys().find(|name| name.as_str().starts_with("impersonate-")) {
        None => Ok(()),
        Some(name) => {
            let message = format!("the header {name} is refused: nobody is impersonated through the gateway");
            Err(Failure::new(StatusCode::FORBIDDEN, message))
        }
    }
}

fn verb(attributes: &Attributes) -> Verb {
    match attributes {
        Attributes::Path { verb, .. } => *verb,
        Attributes::Resource(resource) => resource.verb,
    }
}

/// Asks agents that have answered nothing yet for anything: an extended CONNECT is sound only once both ends have
/// taken in each other's settings, and the answer shows that they have.
async fn settle(route: &Route) {
    for admission in route.candidates().filter(|admission| !admission.link.handle.has_answered()) {
        // Whether it works shows when the upgrade is sent.
        let asked = exchange::ask_agent(&admission.link.handle, Method::GET, wire::STREAMS_PATH);
        let _elapsed = tokio::time::timeout(Duration::from_secs(5), asked).await;
    }
}

fn headers(from: &HeaderMap, target: &Target, audit: &Audit) -> Result<HeaderMap, Failure> {
    let mut headers = wire::forward_request(from);
    for (name, value) in [
        (wire::CR, target.cr.to_string()),
        (wire::TARGET, target.name.to_owned()),
        (wire::REQUEST_ID, audit.request_id.clone()),
    ] {
        let value = HeaderValue::try_from(value)
            .map_err(|error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        headers.insert(name, value);
    }
    audit.trace.continue_in(&mut headers);
    // For the far end's log and, where its owner wants it, for an extra field beside the user it impersonates. A name that
    // no header can hold is not told; nothing is allowed by it.
    if let Ok(user) = HeaderValue::from_str(&audit.user) {
        headers.insert(wire::USER, user);
    }
    Ok(headers)
}

/// What of the agent's answer the caller gets to see. A redirect would send the caller's credentials elsewhere.
fn relay_head(response: Response<StreamBody>) -> Result<Response<StreamBody>, Failure> {
    let (mut head, body) = response.into_parts();
    let status = head.status;
    if status.is_informational() || (status.is_redirection() && status != StatusCode::NOT_MODIFIED) {
        let message = format!("the plane answered {}, which is not relayed", status.as_u16());
        return Err(Failure::new(StatusCode::BAD_GATEWAY, message));
    }
    let length = head.headers.get(header::CONTENT_LENGTH).cloned();
    head.headers = wire::forward_response(&head.headers);
    // A body's length follows from the body; only an answer without one has to be told.
    if let Some(length) = length.filter(|_| body.is_end_stream()) {
        head.headers.insert(header::CONTENT_LENGTH, length);
    }
    Ok(Response::from_parts(head, body))
}
