//! One request out of the tunnel: what it asks, whether it may, and the local API's answer.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, Uri, header};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::Incoming;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use buildplane_api::names::{CrRef, PlaneType};
use buildplane_traces::Span;
use buildplane_tunnel::BoxError;
use buildplane_wire::{
    self as wire, Attributes, CanonicalPath, CanonicalQuery, STREAMS_PATH, TARGET_AGENT, TARGET_KUBERNETES,
};

use crate::failure::{Body, Failure};
use crate::local_api::{ApiBody, LocalApi, RequestBody};
use crate::metrics::{Code, Metrics};
use crate::policy::{Allowed, Policy};
use crate::until::Until;
use crate::upgrade::{self, Answered, Asked, Handshake, Streams};

/// An object that is to be judged and is larger than this is not read.
const JUDGED_BYTES: usize = 64 * 1024;

/// Carries requests out, as far as the policy allows.
pub(crate) struct Requests {
    pub(crate) api: LocalApi,
    pub(crate) policy: Policy,
    pub(crate) plane_type: PlaneType,
    pub(crate) metrics: Metrics,
    streams: Arc<Streams>,
}

impl Requests {
    pub(crate) fn new(api: LocalApi, policy: Policy, plane_type: PlaneType, metrics: Metrics) -> Self {
        let streams = Arc::new(Streams::new(metrics.streams.clone()));
        Self { api, policy, plane_type, metrics, streams }
    }

    /// Answers one request of a connection that is left when `leave` is cancelled.
    pub(crate) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        leave: CancellationToken,
    ) -> Response<Body> {
        let request_id = text(request.headers(), &wire::REQUEST_ID).unwrap_or_default();
        // Of the highest level, because a span that a filter leaves out is missing from warnings, too.
        let span = tracing::error_span!("request", request_id, cr = tracing::field::Empty);
        self.judged(request, leave).instrument(span).await
    }

    async fn judged(self: Arc<Self>, request: Request<Incoming>, leave: CancellationToken) -> Response<Body> {
        let mut trace = Span::begin("agent", request.headers());
        trace.set("http.request.method", || request.method().to_string());
        if let Some(request_id) = text(request.headers(), &wire::REQUEST_ID) {
            trace.set("buildplane.request_id", || request_id.to_owned());
        }
        let response = match self.carry_out(request, &leave, &mut trace).await {
            Ok(response) => response,
            Err(failure) => {
                if failure.code == StatusCode::FORBIDDEN {
                    self.metrics.refused.inc();
                }
                // A field called `message` would take the place of the line's own.
                let (status, reason) = (failure.code.as_u16(), &failure.message);
                tracing::warn!(status, reason, "request not carried out");
                failure.into_response()
            }
        };
        trace.end(response.status());
        self.metrics.requests.get_or_create(&Code { code: response.status().as_u16() }).inc();
        response
    }

    async fn carry_out(
        &self,
        mut request: Request<Incoming>,
        leave: &CancellationToken,
        trace: &mut Span,
    ) -> Result<Response<Body>, Failure> {
        if text(request.headers(), &wire::TARGET) == Some(TARGET_AGENT) {
            return self.of_gateway(request.method(), request.uri().path());
        }
        let upgrade = Asked::take(&mut request)?;
        let (mut head, body) = request.into_parts();
        trace.continue_in(&mut head.headers);
        let cr = self.custom_resource(&head.headers)?;
        trace.set("buildplane.cr", || cr.to_string());
        tracing::Span::current().record("cr", tracing::field::display(&cr));
        if text(&head.headers, &wire::TARGET) != Some(TARGET_KUBERNETES) {
            return Err(Failure::new(
                StatusCode::FORBIDDEN,
                format!("this agent has no target but {TARGET_KUBERNETES}"),
            ));
        }
        let path = CanonicalPath::parse(head.uri.path())
            .map_err(|error| bad_request(format!("the path is refused: {error}")))?;
        let query = CanonicalQuery::parse(head.uri.query())
            .map_err(|error| bad_request(format!("the query is refused: {error}")))?;
        // The local API takes an upgrade as a GET; what it does is read from the path.
        let method = if upgrade.is_some() { Method::GET } else { head.method };
        let attributes = Attributes::read(&method, &path, &query).map_err(bad_request)?;
        describe(trace, &attributes);
        let forbidden =
            |refusal: crate::policy::Refusal| Failure::new(StatusCode::FORBIDDEN, refusal.to_string());
        let allowed = self.policy.decide(&cr, &attributes, &query).map_err(forbidden)?;
        let url = self.api.url(path.as_str(), query.as_str()).map_err(bad_request)?;
        if let Some(upgrade) = upgrade {
            upgrade.check(&attributes)?;
            return self.upgrade(upgrade, url, &head.headers, leave).await;
        }
        let body = match allowed {
            Allowed::AsAsked => body.map_err(BoxError::from).boxed_unsync(),
            Allowed::WithBody(rule) => {
                let object = read_object(&head.headers, body).await?;
                self.policy.decide_body(&cr, &rule, &object).map_err(forbidden)?;
                // What was judged is sent, and not the text it was read from: no reader finds anything else in it.
                full(object.to_string())
            }
        };
        let mut outgoing = Request::new(body);
        *outgoing.method_mut() = method;
        *outgoing.uri_mut() = url;
        *outgoing.headers_mut() = wire::forward_request(&head.headers);
        let response = self.send(outgoing).await?;
        let (head, body) = relay(response)?.into_parts();
        Ok(Response::from_parts(head, Either::Left(Until::new(body, query.endless(), leave))))
    }

    /// Opens a stream into a pod.
    async fn upgrade(
        &self,
        asked: Asked,
        url: Uri,
        headers: &HeaderMap,
        leave: &CancellationToken,
    ) -> Result<Response<Body>, Failure> {
        let Handshake { request, accept } = asked.handshake(url, headers)?;
        let answer = self.send(request).await?;
        match upgrade::read_answer(&asked, &accept, answer)? {
            Answered::Upgraded { response, api } => {
                let request_id = text(headers, &wire::REQUEST_ID).unwrap_or_default().to_owned();
                self.streams.carry(request_id, asked, api);
                Ok(response)
            }
            Answered::Refused(answer) => {
                let (head, body) = relay(answer)?.into_parts();
                Ok(Response::from_parts(head, Either::Left(Until::new(body, None, leave))))
            }
        }
    }

    async fn send(&self, request: Request<RequestBody>) -> Result<Response<ApiBody>, Failure> {
        self.api.send(request).await.map_err(|error| {
            tracing::warn!(error = &*error as &dyn std::error::Error, "the local API did not answer");
            let message = "the build plane's API cannot be reached by its agent";
            Failure::new(StatusCode::SERVICE_UNAVAILABLE, message)
        })
    }

    /// A request of the gateway itself, made for no custom resource.
    fn of_gateway(&self, method: &Method, path: &str) -> Result<Response<Body>, Failure> {
        match (method, path.strip_prefix(STREAMS_PATH)) {
            (&Method::GET, Some("")) => {}
            (&Method::DELETE, Some(id)) => self.streams.end(id.trim_start_matches('/')),
            _ => return Err(Failure::new(StatusCode::NOT_FOUND, "the agent has nothing there")),
        }
        Ok(Response::new(Either::Right(Full::default())))
    }

    fn custom_resource(&self, headers: &HeaderMap) -> Result<CrRef, Failure> {
        let cr: CrRef = text(headers, &wire::CR)
            .ok_or_else(|| bad_request(format!("{} must stand there once", wire::CR)))?
            .parse()
            .map_err(bad_request)?;
        if cr.plane_type() == self.plane_type {
            Ok(cr)
        } else {
            let message = format!("{cr} is no custom resource of a {}", self.plane_type);
            Err(Failure::new(StatusCode::FORBIDDEN, message))
        }
    }
}

/// What is asked for, as rules name it. Neither names nor queries.
fn describe(trace: &mut Span, attributes: &Attributes) {
    match attributes {
        Attributes::Path { verb, .. } => trace.set("buildplane.verb", || verb.as_str()),
        Attributes::Resource(resource) => {
            trace.set("buildplane.verb", || resource.verb.as_str());
            trace.set("buildplane.resource", || resource.qualified());
        }
    }
}

/// The value of a header that stands there exactly once.
fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// Reads an object whose writing is judged by more than its URL.
async fn read_object(headers: &HeaderMap, body: Incoming) -> Result<Value, Failure> {
    let json = text(headers, &header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/json"));
    if !json || headers.contains_key(header::CONTENT_ENCODING) {
        let message = "this kind is written through the gateway as plain JSON only, so that it can be judged";
        return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let body = Limited::new(body, JUDGED_BYTES)
        .collect()
        .await
        .map_err(|error| Failure::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()))?
        .to_bytes();
    serde_json::from_slice(&body).map_err(|error| bad_request(format!("the body is no object: {error}")))
}

fn full(body: impl Into<Bytes>) -> RequestBody {
    Full::<Bytes>::new(body.into()).map_err(|never: std::convert::Infallible| match never {}).boxed_unsync()
}

/// What of the local API's answer enters the tunnel.
fn relay(response: Response<ApiBody>) -> Result<Response<ApiBody>, Failure> {
    let (mut head, body) = response.into_parts();
    let status = head.status;
    if status.is_informational() || (status.is_redirection() && status != StatusCode::NOT_MODIFIED) {
        let message = format!("the build plane's API answered {}, which is not relayed", status.as_u16());
        return Err(Failure::new(StatusCode::BAD_GATEWAY, message));
    }
    let length = head.headers.get(header::CONTENT_LENGTH).cloned();
    head.headers = wire::forward_response(&head.headers);
    if let Some(length) = length.filter(|_| body.is_end_stream()) {
        head.headers.insert(header::CONTENT_LENGTH, length);
    }
    Ok(Response::from_parts(head, body))
}

fn bad_request(reason: impl std::fmt::Display) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, reason.to_string())
}
