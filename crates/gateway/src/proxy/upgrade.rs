//! Callers who ask for an upgrade: by HTTP/1.1's `Upgrade`, as kubectl does, or by HTTP/2's extended CONNECT.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body as HttpBody;
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;

use axum::body::Body;
use buildplane_tunnel::websocket_accept;
use buildplane_wire::{PROTOCOL_SPDY, PROTOCOL_WEBSOCKET, Subprotocols};

use crate::status::Failure;

/// An upgrade that a caller asked for, found sound and not answered yet.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The `:protocol` inside the tunnel.
    pub(crate) protocol: Protocol,
    /// What the tunnel's request offers.
    pub(crate) offer: HeaderValue,
    offered: Subprotocols,
    /// What answers an HTTP/1.1 handshake; none on HTTP/2, which has none.
    accept: Option<HeaderValue>,
    pub(crate) caller: OnUpgrade,
}

impl Asked {
    /// Reads what the request asks for; none where it is no upgrade. What looks like one and is not sound is refused.
    pub(crate) fn take<B: HttpBody>(request: &mut Request<B>) -> Result<Option<Self>, Failure> {
        let headers = request.headers();
        let h2 = request.extensions().get::<Protocol>();
        let asked = h2.is_some()
            || headers.contains_key(header::UPGRADE)
            || headers.contains_key(header::SEC_WEBSOCKET_KEY)
            || has_token(headers, &header::CONNECTION, "upgrade");
        if !asked {
            return Ok(None);
        }
        // Kubernetes' clients are no browsers: a page in one must not be able to open a stream into a pod.
        if headers.contains_key(header::ORIGIN) {
            let message = "a request that asks for an upgrade must come without the header Origin";
            return Err(Failure::new(StatusCode::FORBIDDEN, message));
        }
        let spdy = h2.is_none() && only(headers, &header::UPGRADE).is_some_and(is_spdy);
        let (protocol, accept) = match h2 {
            Some(protocol) => (check_connect(protocol, headers)?, None),
            None if spdy => (Protocol::from_static(PROTOCOL_SPDY), None),
            None => {
                let accept = check_handshake(request)?;
                (Protocol::from_static(PROTOCOL_WEBSOCKET), Some(accept))
            }
        };
        let known = if spdy {
            // SPDY says what it is for in headers of its own; it is judged, and never carried.
            let spoken = [(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("v5.channel.k8s.io"))];
            Subprotocols::offered(&HeaderMap::from_iter(spoken))
        } else {
            Subprotocols::offered(headers)
        };
        let offered = known.map_err(|error| bad_request(error.to_string()))?;
        let offer = offered.to_header().ok_or_else(|| bad_request("the subprotocols are no header"))?;
        Ok(Some(Self { protocol, offer, offered, accept, caller: hyper::upgrade::on(request) }))
    }

    /// What the caller is answered once the plane has agreed. A plane that agrees to something else has not agreed.
    pub(crate) fn answer<B>(&self, agreed: &Response<B>) -> Result<Response<Body>, Failure> {
        let chosen = self
            .offered
            .chosen(agreed.headers())
            .map_err(|error| Failure::new(StatusCode::BAD_GATEWAY, error.to_string()))?;
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, chosen);
        if let Some(accept) = &self.accept {
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept.clone());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        }
        Ok(response)
    }
}

/// HTTP/2: the protocol stands in the request's head, and there is no key.
fn check_connect(protocol: &Protocol, headers: &HeaderMap) -> Result<Protocol, Failure> {
    let version = headers.get(header::SEC_WEBSOCKET_VERSION);
    if protocol.as_str() == PROTOCOL_WEBSOCKET && version.is_none_or(|version| version == "13") {
        Ok(protocol.clone())
    } else {
        Err(bad_request("only CONNECT with :protocol websocket, version 13, is carried"))
    }
}

/// HTTP/1.1: the handshake of RFC 6455, without a body behind which a second request could hide.
fn check_handshake<B: HttpBody>(request: &Request<B>) -> Result<HeaderValue, Failure> {
    let headers = request.headers();
    let key = only(headers, &header::SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24);
    let sound = request.method() == Method::GET
        && has_token(headers, &header::CONNECTION, "upgrade")
        && only(headers, &header::UPGRADE).is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
        && only(headers, &header::SEC_WEBSOCKET_VERSION) == Some("13")
        && request.body().is_end_stream()
        && !headers.contains_key(header::TRANSFER_ENCODING);
    key.filter(|_| sound)
        .and_then(|key| websocket_accept(&HeaderValue::from_str(key).ok()?))
        .ok_or_else(|| bad_request("this is neither an ordinary request nor a WebSocket handshake"))
}

fn is_spdy(value: &str) -> bool {
    value.to_ascii_lowercase().starts_with("spdy/")
}

/// The value of a header that stands there exactly once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|found| found.trim().eq_ignore_ascii_case(token))
}

fn bad_request(reason: impl Into<String>) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, reason)
}

#[cfg(test)]
mod tests {
    use http_body_util::{Empty, Full};

    use super::*;

    const GOOD: [(&str, &str); 5] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", "v5.channel.k8s.io"),
    ];

    fn request(method: &str, headers: &[(&str, &str)]) -> Request<Empty<bytes::Bytes>> {
        let mut request = Request::builder().method(method).uri("/x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Empty::new()).unwrap()
    }

    #[test]
    fn a_handshake_is_taken_and_an_ordinary_request_is_not() {
        assert!(Asked::take(&mut request("GET", &[("connection", "keep-alive")])).unwrap().is_none());
        let asked = Asked::take(&mut request("GET", &GOOD)).unwrap().unwrap();
        assert_eq!(asked.protocol.as_str(), "websocket");
        assert_eq!(asked.accept.unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let spdy = [("connection", "Upgrade"), ("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", "v5")];
        let asked = Asked::take(&mut request("POST", &spdy)).unwrap().unwrap();
        assert_eq!(asked.protocol.as_str(), "spdy");
    }

    #[test]
    fn what_only_looks_like_a_handshake_is_refused() {
        let changed = |name: &'static str, value: &'static str| {
            let mut headers = GOOD.to_vec();
            headers.retain(|(known, _)| *known != name);
            if !value.is_empty() {
                headers.push((name, value));
            }
            headers
        };
        let with = |name: &'static str, value: &'static str| {
            let mut headers = GOOD.to_vec();
            headers.push((name, value));
            headers
        };
        for (method, headers, code) in [
            ("POST", GOOD.to_vec(), 400),
            ("GET", with("origin", "https://evil.example"), 403),
            ("GET", with("origin", "null"), 403),
            ("GET", changed("connection", "keep-alive"), 400),
            ("GET", changed("upgrade", ""), 400),
            ("GET", changed("upgrade", "h2c"), 400),
            ("GET", changed("upgrade", "websocket, h2c"), 400),
            ("GET", with("upgrade", "h2c"), 400),
            ("GET", changed("sec-websocket-version", "8"), 400),
            ("GET", changed("sec-websocket-key", "x"), 400),
            ("GET", with("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="), 400),
            ("GET", with("transfer-encoding", "chunked"), 400),
            ("GET", changed("sec-websocket-protocol", "chat"), 400),
            ("GET", changed("sec-websocket-protocol", ""), 400),
            ("GET", with("sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.eA"), 400),
        ] {
            let failure = Asked::take(&mut request(method, &headers)).unwrap_err();
            assert_eq!(failure.code.as_u16(), code, "{method} {headers:?}: {}", failure.message);
        }
        let (parts, _) = request("GET", &GOOD).into_parts();
        let mut smuggled = Request::from_parts(parts, Full::new(bytes::Bytes::from("GET /x")));
        assert_eq!(Asked::take(&mut smuggled).unwrap_err().code.as_u16(), 400);
    }
}
