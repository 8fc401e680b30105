//! One request to a resource: what it is about, and which verb answers it.

use std::sync::Arc;

use axum::body::Body;
use http::header::USER_AGENT;
use http::{HeaderMap, Method, Request, Response};
use jiff::Timestamp;

use crate::auth;
use crate::error::{ApiError, ApiResult};
use crate::http::path::ResourcePath;
use crate::http::query::Query;
use crate::http::response;
use crate::identity::Identity;
use crate::kinds::Kind;
use crate::server::Api;
use crate::verbs;

/// A request to a resource, after authorization.
pub(crate) struct Call {
    pub(crate) api: Arc<Api>,
    pub(crate) identity: Identity,
    pub(crate) kind: Arc<Kind>,
    pub(crate) namespace: Option<String>,
    /// Empty for a collection.
    pub(crate) name: String,
    /// Empty for none.
    pub(crate) subresource: String,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) now: Timestamp,
    /// What the `Warning` headers will say.
    pub(crate) warnings: Vec<String>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    fn of(method: &Method, named: bool, watch: bool) -> ApiResult<Self> {
        Ok(match (method.as_str(), named) {
            ("GET" | "HEAD", true) if !watch => Self::Get,
            ("GET", _) if watch => Self::Watch,
            ("GET" | "HEAD", _) => Self::List,
            ("POST", _) => Self::Create,
            ("PUT", true) => Self::Update,
            ("PATCH", true) => Self::Patch,
            ("DELETE", true) => Self::Delete,
            ("DELETE", false) => Self::DeleteCollection,
            _ => return Err(ApiError::method_not_allowed()),
        })
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

/// Answers a request to a resource.
pub(crate) async fn resource(
    api: Arc<Api>,
    identity: Identity,
    path: ResourcePath,
    query: Query,
    request: Request<Body>,
) -> ApiResult<Response<Body>> {
    let kinds = api.kinds();
    let (name, subresource) = (path.name.unwrap_or_default(), path.subresource.unwrap_or_default());
    let verb = Verb::of(request.method(), !name.is_empty(), query.is_set("watch"))?;
    let Some(kind) = kinds.find(&path.group, &path.version, &path.resource).cloned() else {
        return Err(ApiError::no_such_resource());
    };
    if !serves(&kind, path.namespace.is_some(), &name, &subresource) {
        return Err(ApiError::no_such_resource());
    }
    let (parts, body) = request.into_parts();
    let mut call = Call {
        api,
        identity,
        kind,
        namespace: path.namespace,
        name,
        subresource,
        query,
        headers: parts.headers,
        now: Timestamp::now(),
        warnings: Vec::new(),
    };
    auth::authorize_call(&call, verb)?;
    if !takes(&call, verb) {
        return Err(ApiError::method_not_allowed());
    }
    if let Some(warning) = call.kind.deprecation.clone() {
        call.warnings.push(warning);
    }
    // What is wrong with a request besides its error is told along with it.
    let mut response = answer(&mut call, verb, body).await.unwrap_or_else(|error| response::failed(&error));
    response::warn(&mut response, &call.warnings);
    Ok(response)
}

async fn answer(call: &mut Call, verb: Verb, body: Body) -> ApiResult<Response<Body>> {
    if matches!(verb, Verb::Watch) {
        verbs::watch::watch(call).await
    } else if call.subresource == "log" {
        verbs::log::log(call).await
    } else {
        let api = Arc::clone(&call.api);
        let _room = api
            .requests
            .try_acquire()
            .map_err(|_| ApiError::too_many_requests("Too many requests, please try again later."))?;
        let limit = api.config.limits.request_timeout;
        let answer = verbs::answer(call, verb, body);
        tokio::time::timeout(limit, answer).await.map_err(|_| ApiError::timeout())?
    }
}

/// Whether there is such a verb: each subresource has its own.
fn takes(call: &Call, verb: Verb) -> bool {
    match call.subresource.as_str() {
        "" => !call.kind.read_only || matches!(verb, Verb::Get | Verb::List | Verb::Watch),
        "status" => matches!(verb, Verb::Get | Verb::Update | Verb::Patch),
        "finalize" => verb == Verb::Update,
        "log" => verb == Verb::Get,
        "token" => verb == Verb::Create,
        _ => false,
    }
}

fn serves(kind: &Kind, in_namespace: bool, name: &str, subresource: &str) -> bool {
    let scope = if kind.namespaced { in_namespace || name.is_empty() } else { !in_namespace };
    let subresource = match subresource {
        "" => true,
        "status" => kind.has_status,
        other => kind.subresources.contains(&other),
    };
    scope && subresource && (!kind.ephemeral || name.is_empty())
}

impl Call {
    /// The store's key of the object asked for.
    pub(crate) fn key(&self) -> String {
        self.kind.key(self.namespace.as_deref(), &self.name)
    }

    /// Who is recorded as the writer of fields.
    pub(crate) fn manager(&self) -> ApiResult<&str> {
        use buildplane_apimachinery::managed::{MANAGER_MAX_BYTES, manager_from_user_agent};
        match self.query.get("fieldManager") {
            Some(manager) if manager.len() > MANAGER_MAX_BYTES => Err(ApiError::bad_request(format!(
                "fieldManager: Too long: may not be more than {MANAGER_MAX_BYTES} bytes"
            ))),
            Some(manager) => Ok(manager),
            None => {
                let agent = self.headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
                Ok(manager_from_user_agent(agent.unwrap_or_default()))
            }
        }
    }
}
