//! The front door: is this request meant for us, who sends it, is there room for it?

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use buildplane_tls::PeerCertificates;
use http::header::HOST;
use http::{Method, Request, Response, StatusCode};

use crate::auth;
use crate::call;
use crate::discovery;
use crate::error::{ApiError, ApiResult};
use crate::http::path::Target;
use crate::http::query::Query;
use crate::http::response;
use crate::identity::{self, Identity};
use crate::openapi;
use crate::server::Api;

/// Answers any request.
pub(crate) async fn answer(api: Arc<Api>, request: Request<Body>) -> Response<Body> {
    match route(api, request).await {
        Ok(response) => response,
        Err(error) => response::failed(&error),
    }
}

async fn route(api: Arc<Api>, request: Request<Body>) -> ApiResult<Response<Body>> {
    let uri = request.uri();
    if uri.path().len() + uri.query().map_or(0, str::len) > api.config.limits.uri_bytes {
        return Err(ApiError::new(StatusCode::URI_TOO_LONG, "BadRequest", "the request URI is too long"));
    }
    let identity = if let Some(identity) = request.extensions().get::<Identity>() {
        identity.clone()
    } else {
        check_host(&api, &request)?;
        authenticate(&api, &request)?
    };
    let identity = auth::impersonated(&api, identity, request.headers())?;
    let target = Target::parse(uri.path())?;
    let query = Query::parse(uri.query())?;
    match target {
        Target::Resource(path) => call::resource(api, identity, path, query, request).await,
        Target::Other(segments) => other(&api, &identity, &segments, &query, &request),
    }
}

/// A bearer token counts before a certificate: a kubeconfig carries its certificate along whatever `--token` says.
fn authenticate(api: &Api, request: &Request<Body>) -> ApiResult<Identity> {
    if let Some(token) = identity::bearer(request.headers())? {
        return match api.tokens.verify(api, token, api.tokens.audiences()) {
            Ok(verified) => Ok(verified.identity),
            Err(refusal) => {
                tracing::info!(%refusal, "refused a bearer token");
                Err(ApiError::unauthorized())
            }
        };
    }
    let peer = request.extensions().get::<Arc<PeerCertificates>>();
    peer.and_then(|peer| api.authenticator.identify(api.config.client_anchors.as_deref(), peer))
        .ok_or_else(ApiError::unauthorized)
}

fn other(
    api: &Api,
    identity: &Identity,
    segments: &[String],
    query: &Query,
    request: &Request<Body>,
) -> ApiResult<Response<Body>> {
    auth::authorize_path(api, identity, request.method(), request.uri().path())?;
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Err(ApiError::method_not_allowed());
    }
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        [] => Ok(discovery::root(api)),
        ["version"] => Ok(discovery::version()),
        ["healthz" | "livez" | "readyz", ..] => Ok(response::text(StatusCode::OK, "ok")),
        ["api"] => Ok(discovery::core(api, request.headers())),
        ["apis"] => Ok(discovery::groups(api, request.headers())),
        ["apis", group] => discovery::group(api, group),
        ["api", version] => discovery::resources(api, "", version),
        ["apis", group, version] => discovery::resources(api, group, version),
        ["openapi", "v2"] => openapi::version_2(request.headers()),
        ["openapi", "v3"] => Ok(openapi::index(api)),
        ["openapi", "v3", path @ ..] => openapi::document(api, path, query, request.headers()),
        _ => Err(ApiError::no_such_resource()),
    }
}

/// A page in a browser may point its own name at this address; the name it then sends gives it away.
fn check_host(api: &Api, request: &Request<Body>) -> ApiResult<()> {
    let host = request
        .uri()
        .authority()
        .map(http::uri::Authority::as_str)
        .or_else(|| request.headers().get(HOST).and_then(|value| value.to_str().ok()))
        .unwrap_or_default();
    let name = host_name(host);
    let loopback = name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if loopback || api.config.hosts.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::MISDIRECTED_REQUEST,
        "BadRequest",
        format!("this server is not known as {name:?}; add the name to its configuration"),
    ))
}

fn host_name(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_brackets_are_not_part_of_a_host_name() {
        for (host, name) in [
            ("localhost:6443", "localhost"),
            ("localhost", "localhost"),
            ("127.0.0.1:1", "127.0.0.1"),
            ("[::1]:6443", "::1"),
            ("[::1]", "::1"),
            ("evil.example:80", "evil.example"),
            ("", ""),
        ] {
            assert_eq!(host_name(host), name);
        }
    }
}
