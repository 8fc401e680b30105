//! Requests that another replica can answer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;

use buildplane_tls::PeerCertificates;
use buildplane_traces::Span;
use buildplane_tunnel::{BoxError, Carried, Patience, RequestBody, splice};
use buildplane_wire::{self as wire, CanonicalQuery, Endless};

use crate::authorize::Caller;
use crate::proxy::{Asked, CarryLimits, Target};
use crate::registry::{PlaneKey, Registry};
use crate::status::Failure;

use super::client::{PeerBody, PeerClient};
use super::{GATEWAYS, Peers};

/// The replica that forwards. A request with it is never forwarded again.
const FORWARDED_BY: HeaderName = HeaderName::from_static("x-openchoreo-forwarded-by");
/// How long one side of an upgraded stream may go on after the other has closed.
const LINGER: Duration = Duration::from_secs(5);
/// The caller, as JSON.
const USER: HeaderName = HeaderName::from_static("x-openchoreo-forwarded-user");

/// The caller whom a replica speaks for; none where the request is the caller's own. What a request says of this is
/// believed from replicas alone.
pub(crate) fn believed(caller: &Caller, headers: &HeaderMap) -> Result<Option<Caller>, Failure> {
    if !headers.contains_key(&FORWARDED_BY) || !caller.groups.iter().any(|group| group == GATEWAYS) {
        return Ok(None);
    }
    let invalid =
        || Failure::new(StatusCode::BAD_REQUEST, "a replica forwards for a caller whom it does not name");
    let mut users = headers.get_all(&USER).iter();
    let (Some(user), None) = (users.next(), users.next()) else { return Err(invalid()) };
    let mut caller: Caller = serde_json::from_slice(user.as_bytes()).map_err(|_not_ours| invalid())?;
    if caller.user.trim().is_empty() {
        return Err(invalid());
    }
    caller.disown_replicas();
    Ok(Some(caller))
}

/// The id that a replica has given a request before it forwarded it, so that one id is in the logs of both.
pub(crate) fn forwarded_id<B>(request: &Request<B>) -> Option<uuid::Uuid> {
    let headers = request.headers();
    let peer = request
        .extensions()
        .get::<Arc<PeerCertificates>>()
        .filter(|_| headers.contains_key(&FORWARDED_BY))?;
    let is_replica = Caller::of(peer)?.groups.iter().any(|group| group == GATEWAYS);
    let id = headers.get(wire::REQUEST_ID).filter(|_| is_replica)?;
    uuid::Uuid::try_parse_ascii(id.as_bytes()).ok()
}

/// Sends what cannot be answered here to a replica that can.
pub(crate) struct Forwarder {
    pub(crate) registry: Arc<Registry>,
    pub(crate) peers: Arc<Peers>,
    /// How long a replica may take to begin its answer.
    pub(crate) response_head: Duration,
    /// What upgraded streams may take, and those that are open.
    pub(crate) carry: CarryLimits,
    pub(crate) upgraded: TaskTracker,
    /// Cancelled when the gateway should stop.
    pub(crate) stop: CancellationToken,
}

/// Whose request it is, and the id that it was given here.
#[derive(Debug, Clone, Copy)]
struct Asker<'a> {
    caller: &'a Caller,
    request_id: &'a str,
}

impl Forwarder {
    /// The replicas that can answer a request which cannot be answered here; none where it can, or where nobody can.
    pub(crate) fn way(&self, uri: &Uri) -> Vec<Arc<PeerClient>> {
        // What cannot be read is refused by whoever reads it next.
        let Ok(target) = Target::parse(uri) else { return Vec::new() };
        let plane = PlaneKey { plane_type: target.cr.plane_type(), id: target.plane_id };
        let route = self.registry.route(&target.cr).filter(|route| route.plane == plane);
        if route.is_some_and(|route| route.is_open()) {
            return Vec::new();
        }
        self.peers.way(&plane, &target.cr)
    }

    /// Has a request answered by one of these replicas. The replica judges the caller, as if it had been asked itself.
    pub(crate) async fn forward<B>(
        &self,
        way: &[Arc<PeerClient>],
        caller: &Caller,
        mut request: Request<B>,
        request_id: &str,
    ) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        match Asked::take(&mut request) {
            Ok(None) => {}
            Ok(Some(asked)) => return self.upgrade(way, Asker { caller, request_id }, asked, request).await,
            Err(failure) => return failure.into_response(),
        }
        let endless = CanonicalQuery::parse(request.uri().query()).ok().and_then(|query| query.endless());
        let mut trace = Span::begin("gateway replica", request.headers());
        trace.set("buildplane.request_id", || request_id.to_owned());
        trace.continue_in(request.headers_mut());
        let from = Asker { caller, request_id };
        match self.in_time(self.send(way, from, request, None)).await {
            Ok(response) => {
                trace.end(response.status());
                let stop = endless.map(|endless| (endless, Box::pin(self.stop.clone().cancelled_owned())));
                response.map(|body| Body::new(Forwarded { body, stop }))
            }
            Err(failure) => {
                tracing::debug!(reason = failure.message, "request not forwarded");
                trace.end(failure.code);
                failure.into_response()
            }
        }
    }

    /// An upgrade becomes an extended CONNECT between the replicas, as it does in the tunnel.
    async fn upgrade<B>(
        &self,
        way: &[Arc<PeerClient>],
        from: Asker<'_>,
        asked: Asked,
        request: Request<B>,
    ) -> Response<Body> {
        let request = request.map(|_body| Empty::<Bytes>::new());
        let mut response = match self.in_time(self.send(way, from, request, Some(&asked))).await {
            Ok(response) => response,
            Err(failure) => return failure.into_response(),
        };
        if response.status() != StatusCode::OK {
            return response.map(|body| Body::new(Forwarded { body, stop: None }));
        }
        let answer = match asked.answer(&response) {
            Ok(answer) => answer,
            Err(failure) => return failure.into_response(),
        };
        let replica = hyper::upgrade::on(&mut response);
        let (stop, limits) = (self.stop.clone(), self.carry);
        self.upgraded.spawn(async move {
            // Holds the stream's place on its connection.
            let _stream = response;
            let carrying = async {
                let (caller, replica) = tokio::try_join!(asked.caller, replica).ok()?;
                let patience = Patience { linger: LINGER, stalled: limits.stalled };
                splice(TokioIo::new(caller), TokioIo::new(replica), &Carried::default(), patience).await.ok()
            };
            let stopped = async {
                stop.cancelled().await;
                tokio::time::sleep(limits.drain).await;
            };
            tokio::select! {
                _ended = carrying => {}
                () = stopped => {}
            }
        });
        answer
    }

    async fn in_time(
        &self,
        sent: impl Future<Output = Result<Response<PeerBody>, Failure>>,
    ) -> Result<Response<PeerBody>, Failure> {
        // The replica has the same deadline and a better answer, so it goes first.
        let deadline = self.response_head + Duration::from_secs(2);
        tokio::time::timeout(deadline, sent).await.unwrap_or_else(|_elapsed| {
            let message = "the gateway replica with the agent did not answer in time";
            Err(Failure::new(StatusCode::GATEWAY_TIMEOUT, message))
        })
    }

    async fn send<B>(
        &self,
        way: &[Arc<PeerClient>],
        from: Asker<'_>,
        request: Request<B>,
        asked: Option<&Asked>,
    ) -> Result<Response<PeerBody>, Failure>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (head, body) = request.into_parts();
        let is_empty = body.is_end_stream();
        let mut headers = self.headers(from, &head.headers)?;
        if let Some(asked) = asked {
            headers.remove(header::CONTENT_LENGTH);
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, asked.offer.clone());
        }
        let method = if asked.is_some() { Method::CONNECT } else { head.method };
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let mut body = Some(body.map_err(Into::into).boxed_unsync());
        let mut last = "there is none".to_owned();
        for peer in way {
            let slot = match peer.slot().await {
                Ok(slot) => slot,
                Err(error) => {
                    last = error.to_string();
                    continue;
                }
            };
            let mut request = Request::new(body.take().unwrap_or_else(empty));
            method.clone_into(request.method_mut());
            if let Some(asked) = asked {
                request.extensions_mut().insert(asked.protocol.clone());
            }
            let uri = format!("https://{}{path}", peer.authority());
            *request.uri_mut() = uri.parse().map_err(|error: http::uri::InvalidUri| {
                Failure::new(StatusCode::BAD_REQUEST, error.to_string())
            })?;
            headers.clone_into(request.headers_mut());
            let unanswered = match slot.send(request).await {
                Ok(response) => return Ok(response),
                Err(unanswered) => unanswered,
            };
            last = unanswered.error.to_string();
            match unanswered.request {
                Some(unsent) => body = Some(unsent.into_body()),
                // What only reads may be done twice.
                None if is_empty && method.is_safe() => body = Some(empty()),
                None => {
                    let message = "the gateway replica with the agent broke off before it answered; the request may have been \
                                   carried out, so look before you try it again";
                    return Err(Failure::new(StatusCode::BAD_GATEWAY, message));
                }
            }
        }
        let message = format!("no gateway replica with an agent of the plane can be reached: {last}");
        Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, message))
    }

    fn headers(&self, from: Asker<'_>, given: &HeaderMap) -> Result<HeaderMap, Failure> {
        let Asker { caller, request_id } = from;
        let mut headers = wire::forward_request(given);
        if let Some(length) = given.get(header::CONTENT_LENGTH) {
            headers.insert(header::CONTENT_LENGTH, length.clone());
        }
        let unnameable =
            || Failure::new(StatusCode::BAD_REQUEST, "the caller's name holds what no header carries");
        let by = HeaderValue::try_from(self.peers.instance()).map_err(|_not_a_header| unnameable())?;
        let user = serde_json::to_vec(caller).map_err(|_not_text| unnameable())?;
        headers.insert(FORWARDED_BY, by);
        if let Ok(request_id) = HeaderValue::try_from(request_id) {
            headers.insert(wire::REQUEST_ID, request_id);
        }
        headers.insert(USER, HeaderValue::from_bytes(&user).map_err(|_control| unnameable())?);
        Ok(headers)
    }
}

fn empty() -> RequestBody {
    Empty::new().map_err(|never: std::convert::Infallible| match never {}).boxed_unsync()
}

#[derive(Debug, thiserror::Error)]
#[error("the gateway is shutting down")]
struct Shutdown;

/// A replica's answer on its way to the caller. One without an end of its own ends with this gateway.
struct Forwarded {
    body: PeerBody,
    stop: Option<(Endless, Pin<Box<WaitForCancellationFutureOwned>>)>,
}

impl HttpBody for Forwarded {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Some((endless, stop)) = &mut this.stop
            && stop.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(match endless {
                Endless::Watch => None,
                Endless::Follow => Some(Err(Shutdown.into())),
            });
        }
        Poll::Ready(ready!(Pin::new(&mut this.body).poll_frame(cx)).map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(user: &str, groups: &[&str]) -> Caller {
        let groups: Vec<&str> = groups.to_vec();
        serde_json::from_value(serde_json::json!({ "user": user, "groups": groups })).unwrap()
    }

    fn headers(users: &[&Caller]) -> HeaderMap {
        let mut headers = HeaderMap::from_iter([(FORWARDED_BY, HeaderValue::from_static("x"))]);
        for user in users {
            headers.append(USER, HeaderValue::from_bytes(&serde_json::to_vec(user).unwrap()).unwrap());
        }
        headers
    }

    #[test]
    fn only_replicas_speak_for_others() {
        let replica = caller("gateway-0", &[GATEWAYS]);
        let mut alice = caller("älice", &["a", "b\n"]);
        alice.uid = Some("1".to_owned());
        alice.extra.insert("scopes".to_owned(), vec!["x".to_owned()]);
        let named = headers(&[&alice]);
        assert_eq!(believed(&replica, &named).unwrap(), Some(alice));
        for who in [
            caller("manager", &["controllers"]),
            caller(GATEWAYS, &[]),
            caller("x", &["OPENCHOREO:GATEWAYS"]),
        ] {
            assert_eq!(believed(&who, &named).unwrap(), None, "{who:?}");
        }
        assert_eq!(believed(&replica, &HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn a_replica_hands_on_neither_nobody_nor_itself() {
        let replica = caller("gateway-0", &[GATEWAYS]);
        let alice = caller("alice", &[]);
        for lacking in [headers(&[]), headers(&[&caller(" ", &[])]), headers(&[&alice, &alice])] {
            assert_eq!(believed(&replica, &lacking).unwrap_err().code, StatusCode::BAD_REQUEST);
        }
        let nested = headers(&[&caller("a", &[GATEWAYS, "b"])]);
        assert_eq!(believed(&replica, &nested).unwrap(), Some(caller("a", &["b"])));
    }
}
