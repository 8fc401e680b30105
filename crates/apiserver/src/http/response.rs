//! Responses.

use axum::body::Body;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WARNING};
use http::{HeaderValue, Response, StatusCode};
use serde_json::Value;

use crate::error::ApiError;
use crate::http::negotiate::Encoding;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const YAML: HeaderValue = HeaderValue::from_static("application/yaml");
const PRIVATE: HeaderValue = HeaderValue::from_static("no-cache, private");

/// JSON that is already text.
pub(crate) fn json_bytes(code: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response.headers_mut().insert(CACHE_CONTROL, PRIVATE);
    response
}

pub(crate) fn json(code: StatusCode, value: &Value) -> Response<Body> {
    json_bytes(code, to_bytes(value))
}

pub(crate) fn to_bytes(value: &Value) -> Bytes {
    // Writing a Value to memory cannot fail: its keys are strings.
    serde_json::to_vec(value).unwrap_or_default().into()
}

/// Text of an object in the encoding that was asked for.
pub(crate) fn encoded(code: StatusCode, body: Bytes, encoding: Encoding) -> Response<Body> {
    match encoding {
        Encoding::Json => json_bytes(code, body),
        Encoding::Yaml => {
            let text = serde_json::from_slice::<Value>(&body)
                .ok()
                .and_then(|value| serde_saphyr::to_string(&value).ok())
                .unwrap_or_default();
            let mut response = json_bytes(code, text.into());
            response.headers_mut().insert(CONTENT_TYPE, YAML);
            response
        }
    }
}

pub(crate) fn text(code: StatusCode, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = code;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

/// The answer to a request that failed; our own failures are logged.
pub(crate) fn failed(failure: &ApiError) -> Response<Body> {
    if failure.code.is_server_error() {
        tracing::warn!(code = failure.code.as_u16(), message = %failure.message, "request failed");
    }
    error(failure)
}

fn error(error: &ApiError) -> Response<Body> {
    let mut response = json(error.code, &error.status());
    if let Some(seconds) = error.details.get("retryAfterSeconds").and_then(Value::as_u64) {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Adds `Warning` headers, which kubectl prints.
pub(crate) fn warn(response: &mut Response<Body>, warnings: &[String]) {
    for warning in warnings {
        let clean: String = warning.chars().filter(|c| !c.is_control()).take(512).collect();
        let quoted = clean.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(WARNING, value);
        }
    }
}
