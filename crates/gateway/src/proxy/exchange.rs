use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::ext::Protocol;

use buildplane_tunnel::{Handle, Rejected, RequestBody, StreamBody};
use buildplane_wire as wire;

use crate::registry::{Admission, Route};
use crate::status::Failure;

/// A request's head as it enters the tunnel; kept, because a second connection may have to carry it.
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    /// A watch, a log that is followed, an upgraded stream: the answer goes on until somebody ends it.
    pub(super) is_endless: bool,
    /// What an extended CONNECT is for.
    pub(super) protocol: Option<Protocol>,
}

impl Outgoing {
    fn request(&self, body: RequestBody) -> Request<RequestBody> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        if let Some(protocol) = &self.protocol {
            request.extensions_mut().insert(protocol.clone());
        }
        request
    }
}

/// An answer, and by which right it came.
pub(super) struct Exchanged {
    pub(super) response: Response<StreamBody>,
    pub(super) admission: Admission,
}

pub(super) fn empty() -> RequestBody {
    Empty::new().map_err(|never: std::convert::Infallible| match never {}).boxed_unsync()
}

/// Sends the request over the next connection, and over another where the first certainly has not begun with it.
pub(super) async fn exchange(
    route: &Route,
    outgoing: Outgoing,
    body: RequestBody,
    is_empty: bool,
) -> Result<Exchanged, Failure> {
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
            Ok(response) => return Ok(Exchanged { response, admission }),
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
        let message = "the plane's agent speaks OpenChoreo's older protocol, which carries no watch, no log that is \
                       followed and no stream into a pod; read without following, or install this platform's agent";
        return Err(Failure::new(StatusCode::NOT_IMPLEMENTED, message));
    }
    Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, format!("{} cannot be reached: {last}", route.cr)))
}

/// Asks an agent itself for something, for no custom resource. What it answers is nobody's business.
pub(super) async fn ask_agent(agent: &Handle, method: Method, path: &str) {
    let Ok(uri) = Uri::try_from(format!("http://agent{path}")) else { return };
    let target = [(wire::TARGET, HeaderValue::from_static(wire::TARGET_AGENT))];
    let headers = HeaderMap::from_iter(target);
    let request = Outgoing { method, uri, headers, is_endless: false, protocol: None }.request(empty());
    if let Err(Rejected { error, .. }) = agent.send(request).await {
        tracing::debug!(path, error = &error as &dyn std::error::Error, "the agent was not reached");
    }
}
