//! What stands before the registry: who may pull and push what.
//!
//! docker-registry knows one login and asks it for nothing more. It listens on a loopback port of its own, with a password
//! that is made at each start and that only this front knows; builds come through here, each namespace with a login of its
//! own. Bodies stream both ways.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use buildplane_api::names::CiNamespace;
use futures::future::BoxFuture;

use super::request::{Caller, Refusal, judge};
use crate::credentials::{Login, same};
use crate::tasks::chain;

/// How long the registry may take to begin its answer, the upload before it included.
const ANSWER: Duration = Duration::from_mins(15);

/// What the registry is told of a request's head. Whatever else a caller sends is not for it: a host to put into links,
/// credentials, hops.
const PASSED: [HeaderName; 9] = [
    header::ACCEPT,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::RANGE,
    header::USER_AGENT,
    header::ACCEPT_RANGES,
];
/// What belongs to one connection, or to the registry's own login.
const KEPT_BACK: [HeaderName; 5] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::WWW_AUTHENTICATE,
    header::TRAILER,
];

struct Front {
    /// The administrator's login, and what the namespaces' logins are made of.
    login: Login,
    backend: Backend,
}

/// The registry itself.
pub(crate) struct Backend {
    /// `https://127.0.0.1:<port>`.
    pub(crate) address: String,
    /// The only login that it takes.
    pub(crate) login: Login,
    /// A client that believes its certificate.
    pub(crate) send: Exchange,
}

/// Sends a request and returns the head of its answer; both bodies stream.
pub(crate) type Exchange = Box<
    dyn Fn(Request) -> BoxFuture<'static, Result<Response<Body>, hyper_util::client::legacy::Error>>
        + Send
        + Sync,
>;

/// The service for the registry's listener.
pub(crate) fn router(login: Login, backend: Backend) -> Router {
    Router::new().fallback(answer).with_state(Arc::new(Front { login, backend }))
}

async fn answer(State(front): State<Arc<Front>>, request: Request) -> Response<Body> {
    let Some(caller) = front.caller(request.headers()) else {
        let mut refused = refuse(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "a login is needed");
        let challenge = HeaderValue::from_static("Basic realm=\"buildplane\"");
        refused.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        return refused;
    };
    let (method, uri) = (request.method(), request.uri());
    match judge(&caller, method, uri.path(), uri.query()) {
        Ok(target) => front.pass(target, request).await,
        Err(Refusal::Unknown) => {
            refuse(StatusCode::NOT_FOUND, "NAME_INVALID", "there is no such repository or path")
        }
        Err(Refusal::Method) => {
            refuse(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "the registry does not do that")
        }
        Err(Refusal::Denied) => refuse(
            StatusCode::FORBIDDEN,
            "DENIED",
            "this login is for the images of its own namespace (<namespace>.*, <namespace>/*), and to pull library/*",
        ),
    }
}

impl Front {
    fn caller(&self, headers: &HeaderMap) -> Option<Caller> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(given), None) = (values.next(), values.next()) else { return None };
        if same(given.as_bytes(), self.login.basic().as_bytes()) {
            return Some(Caller::Administrator);
        }
        let text = STANDARD.decode(given.to_str().ok()?.strip_prefix("Basic ")?).ok()?;
        let (namespace, _) = std::str::from_utf8(&text).ok()?.split_once(':')?;
        // A namespace that cannot be has no builds.
        CiNamespace::for_namespace(namespace).ok()?;
        let login = self.login.for_namespace(namespace);
        same(given.as_bytes(), login.basic().as_bytes()).then(|| Caller::Namespace(namespace.to_owned()))
    }

    async fn pass(&self, target: String, request: Request) -> Response<Body> {
        let (head, body) = request.into_parts();
        let mut passed = Request::new(body);
        *passed.method_mut() = head.method;
        let (Ok(uri), Ok(login)) = (
            format!("{}{target}", self.backend.address).parse(),
            HeaderValue::try_from(self.backend.login.basic()),
        ) else {
            return refuse(StatusCode::NOT_FOUND, "NAME_INVALID", "there is no such path");
        };
        *passed.uri_mut() = uri;
        passed.headers_mut().insert(header::AUTHORIZATION, login);
        for name in PASSED {
            for value in head.headers.get_all(&name) {
                passed.headers_mut().append(&name, value.clone());
            }
        }
        let mut answered = match tokio::time::timeout(ANSWER, (self.backend.send)(passed)).await {
            Ok(Ok(answered)) if answered.status() != StatusCode::UNAUTHORIZED => answered,
            Ok(Ok(_)) => return unavailable("it does not take the front's login"),
            Ok(Err(error)) => return unavailable(&chain(&error)),
            Err(_) => return unavailable("it did not answer in time"),
        };
        for name in KEPT_BACK {
            answered.headers_mut().remove(name);
        }
        answered
    }
}

/// Clients try again after this: the registry is started anew when it has ended.
fn unavailable(reason: &str) -> Response<Body> {
    tracing::warn!(reason, "the registry did not answer");
    refuse(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "the registry does not answer; try again")
}

fn refuse(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let body = serde_json::json!({ "errors": [{ "code": code, "message": message }] }).to_string();
    let mut response = (status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
    // How clients know that they speak to a registry.
    let version = HeaderName::from_static("docker-distribution-api-version");
    response.headers_mut().insert(version, HeaderValue::from_static("registry/2.0"));
    response
}
