use http::{HeaderMap, HeaderName, header};

/// The custom resource a request is made for: `<kind>/<namespace|_cluster>/<name>`.
pub const CR: HeaderName = HeaderName::from_static("x-openchoreo-cr");
/// The agent's local target.
pub const TARGET: HeaderName = HeaderName::from_static("x-openchoreo-target");
/// The id that the gateway gave the request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Which gateway replica accepted the agent: stands in the answer to the WebSocket handshake.
pub const GATEWAY_INSTANCE: HeaderName = HeaderName::from_static("x-openchoreo-gateway-instance");

/// Who asks, as the gateway knows him: for logs, and beside a user that the agent impersonates. No right follows from it.
pub const USER: HeaderName = HeaderName::from_static("x-openchoreo-user");

/// What a caller's request may carry into the tunnel. A list of what is allowed, because every advisory about proxies is
/// about a header that a list of what is forbidden forgot: credentials, impersonation, identities of front proxies,
/// framing, and every `x-openchoreo-*` stay out by not being here.
const REQUEST: [HeaderName; 12] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::RANGE,
    header::USER_AGENT,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

/// What a response may carry out of it. `Location` and `Set-Cookie` of a build cluster are nobody's business here.
const RESPONSE: [HeaderName; 15] = [
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::DATE,
    header::ETAG,
    header::EXPIRES,
    header::LAST_MODIFIED,
    header::RETRY_AFTER,
    header::VARY,
    header::WARNING,
    header::X_CONTENT_TYPE_OPTIONS,
    HeaderName::from_static("audit-id"),
    HeaderName::from_static("x-kubernetes-pf-flowschema-uid"),
    HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid"),
];

/// The headers of a caller's request that enter the tunnel.
pub fn forward_request(from: &HeaderMap) -> HeaderMap {
    select(from, &REQUEST)
}

/// The headers of a response that leave the tunnel.
pub fn forward_response(from: &HeaderMap) -> HeaderMap {
    select(from, &RESPONSE)
}

/// Trailers carry results of streams (`grpc-status` and the like); whatever has a meaning as a header does not pass as one.
pub fn forward_trailers(from: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for (name, value) in from {
        let name_text = name.as_str();
        if (name_text.starts_with("grpc-") || name_text.starts_with("x-stream-")) && value.to_str().is_ok() {
            kept.append(name, value.clone());
        }
    }
    kept
}

fn select(from: &HeaderMap, allowed: &[HeaderName]) -> HeaderMap {
    let mut kept = HeaderMap::with_capacity(allowed.len());
    for name in allowed {
        // Values that are not visible ASCII are dropped: readers disagree about them.
        for value in from.get_all(name).iter().filter(|value| value.to_str().is_ok()) {
            kept.append(name, value.clone());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&str, &[u8])]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value).unwrap())
            })
            .collect()
    }

    #[test]
    fn identity_framing_and_our_own_headers_never_enter_the_tunnel() {
        let hostile = headers(&[
            ("Authorization", b"Bearer x"),
            ("Cookie", b"a=b"),
            ("Impersonate-User", b"system:admin"),
            ("IMPERSONATE-GROUP", b"system:masters"),
            ("Impersonate-Uid", b"0"),
            ("Impersonate-Extra-Scopes", b"all"),
            ("X-Remote-User", b"admin"),
            ("X-Remote-Group", b"system:masters"),
            ("X-Forwarded-For", b"127.0.0.1"),
            ("Forwarded", b"for=127.0.0.1"),
            ("X-OpenChoreo-CR", b"buildplane/other/other"),
            ("x-openchoreo-target", b"logs"),
            ("X-Request-ID", b"somebody-elses"),
            ("Connection", b"accept"),
            ("Keep-Alive", b"1"),
            ("Proxy-Authorization", b"x"),
            ("TE", b"trailers"),
            ("Trailer", b"Content-Length"),
            ("Transfer-Encoding", b"xchunked"),
            ("Upgrade", b"websocket"),
            ("Host", b"evil"),
            ("Content-Length", b"1"),
            ("Expect", b"100-continue"),
            ("Origin", b"https://evil"),
            ("X-Http-Method-Override", b"DELETE"),
            ("Http2-Settings", b"AAA"),
        ]);
        assert_eq!(forward_request(&hostile), HeaderMap::new());
    }

    #[test]
    fn what_a_kubernetes_request_needs_enters() {
        let sent = headers(&[
            ("accept", b"application/json"),
            ("accept", b"*/*"),
            ("content-type", b"application/apply-patch+yaml"),
            ("user-agent", b"kubectl/v1.36"),
            ("if-none-match", b"\"x\""),
        ]);
        assert_eq!(forward_request(&sent), sent);
        let obscure = headers(&[("user-agent", b"\xff\xfe")]);
        assert!(forward_request(&obscure).is_empty());
    }

    #[test]
    fn a_build_cluster_sets_no_cookie_and_sends_nobody_elsewhere() {
        let hostile = headers(&[
            ("set-cookie", b"a=b"),
            ("location", b"http://169.254.169.254/"),
            ("connection", b"close"),
            ("content-length", b"999"),
            ("transfer-encoding", b"chunked"),
            ("www-authenticate", b"Basic"),
            ("refresh", b"0"),
            ("alt-svc", b"h3"),
            ("strict-transport-security", b"max-age=0"),
            ("access-control-allow-origin", b"*"),
            ("x-openchoreo-cr", b"x"),
            ("content-type", b"application/json"),
            ("audit-id", b"1"),
        ]);
        let kept = headers(&[("content-type", b"application/json"), ("audit-id", b"1")]);
        assert_eq!(forward_response(&hostile), kept);
    }

    #[test]
    fn trailers_cannot_pose_as_headers() {
        let sent = headers(&[("content-length", b"1"), ("set-cookie", b"a"), ("grpc-status", b"0")]);
        assert_eq!(forward_trailers(&sent), headers(&[("grpc-status", b"0")]));
    }
}
