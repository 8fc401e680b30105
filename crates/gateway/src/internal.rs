//! The internal listener: authenticates its callers, then proxies or answers the planes API.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{Request, Response, StatusCode, header};
use hyper::body::Incoming;
use tower::ServiceExt as _;

use buildplane_tls::PeerCertificates;

use crate::authorize::Caller;
use crate::proxy::{PREFIX, Proxy};
use crate::status::Failure;

/// What the internal listener works with.
#[derive(Clone)]
pub(crate) struct Internal {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) planes: Router,
    pub(crate) hosts: Arc<[String]>,
}

impl Internal {
    pub(crate) async fn answer(self, mut request: Request<Incoming>) -> Response<Body> {
        if let Err(failure) = check_host(&self.hosts, &request) {
            return failure.into_response();
        }
        let peer = request.extensions().get::<Arc<PeerCertificates>>();
        let Some(caller) = peer.and_then(|peer| Caller::of(peer)) else {
            let message = "a client certificate that names a user is required";
            return Failure::new(StatusCode::UNAUTHORIZED, message).into_response();
        };
        if request.uri().path().starts_with(PREFIX) {
            return self.proxy.forward(&caller, request).await;
        }
        request.extensions_mut().insert(caller);
        match self.planes.oneshot(request.map(Body::new)).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
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
