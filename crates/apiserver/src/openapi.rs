//! `/openapi/v3` (and what kubectl still reads of version 2): an index with a hash per document, and a document per group version, made when first asked for.
//!
//! kubectl reads two things from it: the schemas, for `explain`, and whether patching a kind knows `fieldValidation`,
//! without which it refuses to apply.

mod document;
mod v2;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use axum::body::Body;
use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::{Map, json};
use sha2::{Digest, Sha256};

use crate::error::{ApiError, ApiResult};
use crate::http::query::Query;
use crate::http::response;
use crate::server::Api;

/// Documents made so far, for one generation of the registry.
#[derive(Default)]
pub(crate) struct OpenApi {
    made: Mutex<(u64, HashMap<String, Made>)>,
}

#[derive(Clone)]
struct Made {
    text: Bytes,
    hash: String,
}

impl OpenApi {
    fn get(&self, api: &Api, group: &str, version: &str) -> Option<Made> {
        let kinds = api.kinds();
        let key = path(group, version);
        {
            let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            if made.0 != kinds.generation {
                // Built-in groups never change; only those of definitions do.
                made.1.retain(|path, _| is_builtin(path));
                made.0 = kinds.generation;
            }
            if let Some(found) = made.1.get(&key) {
                return Some(found.clone());
            }
        }
        let found = kinds.kinds(group, version);
        if found.is_empty() {
            return None;
        }
        let text = response::to_bytes(&document::make(group, version, &found));
        let hash = hash(&text);
        let document = Made { text, hash };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.0 == kinds.generation {
            made.1.insert(key, document.clone());
        }
        Some(document)
    }
}

fn hash(text: &[u8]) -> String {
    Sha256::digest(text).iter().take(16).fold(String::new(), |mut out, byte| {
        let _infallible = write!(out, "{byte:02X}");
        out
    })
}

fn path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

fn is_builtin(path: &str) -> bool {
    let group = path.split('/').nth(1).unwrap_or_default();
    path.starts_with("api/") || group.ends_with(".k8s.io")
}

/// `/openapi/v2`, for clients that take it as protobuf.
pub(crate) fn version_2(headers: &HeaderMap) -> ApiResult<Response<Body>> {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    if !accepted.into_iter().any(|value| value.contains(v2::ACCEPTED)) {
        return Err(ApiError::no_such_resource());
    }
    let mut response = response::json_bytes(StatusCode::OK, v2::document());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(v2::MEDIA_TYPE));
    Ok(response)
}

/// `/openapi/v3`
pub(crate) fn index(api: &Api) -> Response<Body> {
    let kinds = api.kinds();
    let mut paths = Map::new();
    for (group, versions) in kinds.groups() {
        for version in versions {
            if let Some(made) = api.openapi.get(api, group, version) {
                let path = path(group, version);
                let url = format!("/openapi/v3/{path}?hash={}", made.hash);
                paths.insert(path, json!({"serverRelativeURL": url}));
            }
        }
    }
    response::json(StatusCode::OK, &json!({"paths": paths}))
}

/// `/openapi/v3/apis/{group}/{version}`
pub(crate) fn document(
    api: &Api,
    path: &[&str],
    query: &Query,
    headers: &HeaderMap,
) -> ApiResult<Response<Body>> {
    let (group, version) = match path {
        ["api", version] => ("", *version),
        ["apis", group, version] => (*group, *version),
        _ => return Err(ApiError::no_such_resource()),
    };
    let made = api.openapi.get(api, group, version).ok_or_else(ApiError::no_such_resource)?;
    let tag = format!("\"{}\"", made.hash);
    let unchanged = headers.get(IF_NONE_MATCH).is_some_and(|sent| sent.as_bytes() == tag.as_bytes());
    let mut response = if unchanged {
        response::text(StatusCode::NOT_MODIFIED, Body::empty())
    } else {
        response::json_bytes(StatusCode::OK, made.text)
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    if query.get("hash") == Some(made.hash.as_str()) {
        let forever = HeaderValue::from_static("public, immutable");
        response.headers_mut().insert(CACHE_CONTROL, forever);
    }
    Ok(response)
}
