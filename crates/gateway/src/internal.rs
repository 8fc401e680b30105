//! The internal listener: authenticates its callers, then proxies or answers the planes API.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use tower::ServiceExt as _;
use tracing::Instrument as _;

use buildplane_tls::PeerCertificates;
use buildplane_wire as wire;

use crate::authorize::{Caller, ControlPlane};
use crate::metrics::Reason;
use crate::peers::{Forwarder, believed, forwarded_id};
use crate::proxy::{PREFIX, Proxy};
use crate::status::Failure;

/// What the internal listener works with.
#[derive(Clone)]
pub(crate) struct Internal {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) forwarder: Arc<Forwarder>,
    pub(crate) planes: Router,
    /// Knows whose tokens are whose.
    pub(crate) control_plane: Option<Arc<ControlPlane>>,
    pub(crate) hosts: Arc<[String]>,
}

impl Internal {
    /// Answers one request. Whatever is logged on the way stands under its id, which the caller is told.
    pub(crate) async fn answer(self, request: Request<Incoming>) -> Response<Body> {
        let request_id = forwarded_id(&request).unwrap_or_else(uuid::Uuid::new_v4).to_string();
        let told = HeaderValue::try_from(request_id.as_str());
        // Of the highest level, because a span that a filter leaves out is missing from warnings, too.
        let span = tracing::error_span!("request", request_id, cr = tracing::field::Empty);
        let mut response = self.carry_out(request, request_id).instrument(span).await;
        if let Ok(told) = told {
            response.headers_mut().insert(wire::REQUEST_ID, told);
        }
        response
    }

    async fn carry_out(self, mut request: Request<Incoming>, request_id: String) -> Response<Body> {
        if let Err(failure) = check_host(&self.hosts, &request) {
            return failure.into_response();
        }
        let caller = match self.caller(&request).await {
            Ok(caller) => caller,
            Err(failure) => {
                let reason = Reason { reason: failure.reason() };
                self.proxy.metrics.requests_refused.get_or_create(&reason).inc();
                return failure.into_response();
            }
        };
        if request.uri().path().starts_with(PREFIX) {
            let caller = match believed(&caller, request.headers()) {
                Err(failure) => return failure.into_response(),
                // Another replica has found that the agent is here: if it has gone since, the caller tries again.
                Ok(Some(caller)) => caller,
                Ok(None) => {
                    let way = self.forwarder.way(request.uri());
                    if !way.is_empty() {
                        return self.forwarder.forward(&way, &caller, request, &request_id).await;
                    }
                    caller
                }
            };
            return self.proxy.forward(&caller, request, request_id).await;
        }
        request.extensions_mut().insert(caller);
        match self.planes.oneshot(request.map(Body::new)).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

impl Internal {
    /// Who calls: whom a client certificate names, or else whose token it is.
    async fn caller<B>(&self, request: &Request<B>) -> Result<Caller, Failure> {
        let peer = request.extensions().get::<Arc<PeerCertificates>>();
        if let Some(caller) = peer.and_then(|peer| Caller::of(peer)) {
            return Ok(caller);
        }
        let nobody = |message: &str| Failure::new(StatusCode::UNAUTHORIZED, message);
        let Some(control_plane) = &self.control_plane else {
            return Err(nobody("a client certificate that names a user is required"));
        };
        let token = bearer(request.headers()).ok_or_else(|| {
            nobody("a client certificate that names a user, or a bearer token, is required")
        })?;
        let caller = control_plane.review_token(token).await?;
        let mut caller = caller.ok_or_else(|| {
            nobody("the bearer token is nobody's, has ended, or was not made for this gateway")
        })?;
        caller.disown_replicas();
        Ok(caller)
    }
}

/// The one token of a request. What is empty, blank or twice there is none.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (given.next(), given.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let sound = scheme.eq_ignore_ascii_case("bearer")
        && !token.is_empty()
        && token.bytes().all(|byte| byte.is_ascii_graphic());
    Some(token).filter(|_| sound)
}

/// Refuses requests for names that are not ours, so that no other name can be made to lead here.
pub(crate) fn check_host<B>(hosts: &[String], request: &Request<B>) -> Result<(), Failure> {
    let mut given = request.headers().get_all(header::HOST).iter();
    let host = match (request.uri().authority(), given.next(), given.next()) {
        (Some(authority), _, None) => Some(authority.host()),
        (None, Some(host), None) => host.to_str().ok().map(without_port),
        _ => None,
    };
    let ours = host.is_some_and(|host| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        // Nobody can make the DNS of an address lead elsewhere.
        host.parse::<IpAddr>().is_ok() || hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
    });
    if ours {
        Ok(())
    } else {
        Err(Failure::new(StatusCode::MISDIRECTED_REQUEST, "this host name is not served here"))
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_word_that_stands_there_once() {
        let headers = |values: &[&str]| {
            let values = values.iter().map(|value| HeaderValue::try_from(*value).unwrap());
            values.map(|value| (header::AUTHORIZATION, value)).collect::<HeaderMap>()
        };
        assert_eq!(bearer(&headers(&["Bearer abc"])), Some("abc"));
        assert_eq!(bearer(&headers(&["bearer abc"])), Some("abc"));
        for values in [
            &[][..],
            &[""],
            &["Bearer"],
            &["Bearer "],
            &["Bearer  "],
            &["Bearer \t"],
            &["Bearer a b"],
            &["Bearer  abc"],
            &["Basic abc"],
            &["abc"],
            &["Bearer abc", "Bearer abc"],
        ] {
            assert_eq!(bearer(&headers(values)), None, "{values:?}");
        }
    }

    #[test]
    fn only_our_own_names_are_served() {
        let hosts = ["gateway.svc".to_owned()];
        for (host, ours) in [
            ("gateway.svc", true),
            ("GATEWAY.svc:8444", true),
            ("127.0.0.1:8444", true),
            ("[::1]:8444", true),
            ("evil.example", false),
            ("gateway.svc.evil.example", false),
            ("gateway.svc@evil.example", false),
            ("", false),
        ] {
            let request = Request::get("/x").header("host", host).body(()).unwrap();
            assert_eq!(check_host(&hosts, &request).is_ok(), ours, "{host:?}");
        }
        let none = Request::get("/x").body(()).unwrap();
        assert!(check_host(&hosts, &none).is_err());
        let two =
            Request::get("/x").header("host", "gateway.svc").header("host", "gateway.svc").body(()).unwrap();
        assert!(check_host(&hosts, &two).is_err());
        let absolute = Request::get("https://127.0.0.1:8444/x").body(()).unwrap();
        assert!(check_host(&hosts, &absolute).is_ok());
        let elsewhere = Request::get("https://evil/x").body(()).unwrap();
        assert!(check_host(&hosts, &elsewhere).is_err());
    }
}
