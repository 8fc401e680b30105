//! Requests of callers, streamed to the agent that may speak for their custom resource.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body::Body as HttpBody;
use http_body_util::{BodyExt as _, Empty};
use tokio_util::sync::CancellationToken;

use buildplane_tunnel::{BoxError, Rejected, RequestBody, StreamBody};
use buildplane_wire::{self as wire, CanonicalQuery};

use crate::audit::Audit;
use crate::authorize::{Action, Authorizer, Caller};
use crate::metrics::Metrics;
use crate::registry::{Admission, Registry, Route};
use crate::status::Failure;

mod body;
mod target;

use body::{Limited, Relayed, Upload};
pub(crate) use target::PREFIX;
use target::{Target, check_method};

/// What proxying works with.
pub(crate) struct Proxy {
    pub(crate) registry: Arc<Registry>,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) metrics: Metrics,
    pub(crate) request_bytes: u64,
    pub(crate) response_head: Duration,
    /// Cancelled when the gateway should stop.
    pub(crate) stop: CancellationToken,
}

impl Proxy {
    /// Answers one request, with the agent's answer or with an error of our own.
    pub(crate) async fn forward<B>(&self, caller: &Caller, request: Request<B>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let mut audit = Audit::begin(self.metrics.clone(), &caller.user, request.method().clone());
        let upload = Arc::new(Upload::default());
        let request_id = HeaderValue::try_from(audit.request_id.as_str()).ok();
        let endless = CanonicalQuery::parse(request.uri().query()).ok().and_then(|query| query.endless());
        let sent = self.send(caller, request, &mut audit, &upload).await;
        let mut response = match sent {
            Ok((response, admission)) => {
                audit.answered(response.status());
                response.map(|body| {
                    let relayed = Relayed::new(body, admission.revoked, upload, audit);
                    Body::new(relayed.until(endless, &self.stop))
                })
            }
            Err(failure) => {
                audit.sent = upload.n_bytes();
                audit.outcome = "refused";
                audit.answered(failure.code);
                tracing::debug!(request_id = audit.request_id, message = failure.message, "request refused");
                failure.into_response()
            }
        };
        if let Some(request_id) = request_id {
            response.headers_mut().insert(wire::REQUEST_ID, request_id);
        }
        response
    }

    async fn send<B>(
        &self,
        caller: &Caller,
        request: Request<B>,
        audit: &mut Audit,
        upload: &Arc<Upload>,
    ) -> Result<(Response<StreamBody>, Admission), Failure>
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let (head, body) = request.into_parts();
        check_method(&head.method, &head.headers)?;
        let target = Target::parse(&head.uri)?;
        audit.cr = target.cr.to_string();
        target.path.as_str().clone_into(&mut audit.path);
        self.authorizer
            .authorize(caller, Action::Proxy { cr: &target.cr, target: target.name })
            .await
            .map_err(|denied| Failure::new(StatusCode::FORBIDDEN, denied.to_string()))?;
        let too_large = || {
            let message = format!("the request's body is larger than {} bytes", self.request_bytes);
            Failure::new(StatusCode::PAYLOAD_TOO_LARGE, message)
        };
        if body.size_hint().lower() > self.request_bytes {
            return Err(too_large());
        }
        let route = self.route(&target)?;
        let outgoing = Outgoing {
            method: head.method,
            uri: target.uri()?,
            headers: headers(&head.headers, &target, &audit.request_id)?,
            is_endless: target.query.endless().is_some(),
        };
        let is_empty = body.is_end_stream();
        let body = Limited::new(body, self.request_bytes, Arc::clone(upload)).boxed_unsync();
        let exchanged = self.exchange(&route, outgoing, body, is_empty);
        let exchanged = tokio::time::timeout(self.response_head, exchanged).await;
        let (response, admission) = match exchanged {
            Ok(Ok(exchanged)) => exchanged,
            Ok(Err(_failure)) if upload.is_too_large() => return Err(too_large()),
            Ok(Err(failure)) => return Err(failure),
            Err(_elapsed) => {
                return Err(Failure::new(StatusCode::GATEWAY_TIMEOUT, "the agent did not answer in time"));
            }
        };
        admission.link.speaker.instance.clone_into(&mut audit.agent);
        Ok((relay_head(response)?, admission))
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

    /// Sends the request over the next connection, and over another where the first certainly has not begun with it.
    async fn exchange(
        &self,
        route: &Route,
        outgoing: Outgoing,
        body: RequestBody,
        is_empty: bool,
    ) -> Result<(Response<StreamBody>, Admission), Failure> {
        let mut request = outgoing.request(body);
        let mut last = "every connection of its agents is closing".to_owned();
        let mut cannot_stream = false;
        for admission in route.candidates() {
            if outgoing.is_endless && !admission.link.handle.streams() {
                cannot_stream = true;
                continue;
            }
            let sent = tokio::select! {
                sent = admission.link.handle.send(request) => sent,
                () = admission.revoked.cancelled() => {
                    let message = format!("the connection may no longer speak for {}", route.cr);
                    return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, message));
                }
            };
            match sent {
                Ok(response) => return Ok((response, admission)),
                Err(Rejected { error, request: Some(unsent) }) => {
                    last = error.to_string();
                    request = *unsent;
                }
                // What only reads may be done twice.
                Err(Rejected { error, request: None })
                    if is_empty && (error.is_unprocessed() || outgoing.method.is_safe()) =>
                {
                    last = error.to_string();
                    request = outgoing.request(empty());
                }
                Err(Rejected { error, request: None }) => {
                    tracing::debug!(cr = %route.cr, error = &error as &dyn std::error::Error, "stream failed");
                    let message = "the connection to the agent broke before it answered; the request may have been carried out";
                    return Err(Failure::new(StatusCode::BAD_GATEWAY, message));
                }
            }
        }
        if cannot_stream {
            let message = "the plane's agent speaks OpenChoreo's older protocol, which carries no watch and no log \
                           that is followed; read without following, or install this platform's agent";
            return Err(Failure::new(StatusCode::NOT_IMPLEMENTED, message));
        }
        Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, format!("{} cannot be reached: {last}", route.cr)))
    }
}

/// A request's head as it enters the tunnel; kept, because a second connection may have to carry it.
struct Outgoing {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    /// A watch or a log that is followed: the answer goes on until somebody ends it.
    is_endless: bool,
}

impl Outgoing {
    fn request(&self, body: RequestBody) -> Request<RequestBody> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

fn empty() -> RequestBody {
    Empty::new().map_err(|never: std::convert::Infallible| match never {}).boxed_unsync()
}

fn headers(from: &HeaderMap, target: &Target, request_id: &str) -> Result<HeaderMap, Failure> {
    let mut headers = wire::forward_request(from);
    for (name, value) in [
        (wire::CR, target.cr.to_string()),
        (wire::TARGET, target.name.to_owned()),
        (wire::REQUEST_ID, request_id.to_owned()),
    ] {
        let value = HeaderValue::try_from(value)
            .map_err(|error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        headers.insert(name, value);
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
