//! Errors in the shape of Kubernetes' `metav1.Status`, so that kubectl and controllers show them as they show their own.

use std::time::Duration;

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

/// How soon a caller may try again what failed for the moment.
const RETRY_SECONDS: u32 = 1;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: serde_json::Map<String, serde_json::Value>,
    status: &'static str,
    message: &'a str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
    code: u16,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    retry_after_seconds: u32,
}

/// A refusal or failure as the caller sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: StatusCode,
    pub(crate) message: String,
    /// How soon, in seconds, it may be tried again.
    retry: u32,
}

impl Failure {
    pub(crate) fn new(code: StatusCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry: RETRY_SECONDS }
    }

    /// The same, to be tried again after this time.
    pub(crate) fn after(self, wait: Duration) -> Self {
        let seconds = u32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
        Self { retry: seconds.max(RETRY_SECONDS), ..self }
    }

    /// Kubernetes' word for it.
    pub(crate) fn reason(&self) -> &'static str {
        match reason(self.code) {
            "" => "Other",
            reason => reason,
        }
    }

    fn is_momentary(&self) -> bool {
        matches!(self.code, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let retry = self.retry;
        let details = self.is_momentary().then_some(Details { retry_after_seconds: self.retry });
        let status = Answer {
            kind: "Status",
            api_version: "v1",
            metadata: serde_json::Map::new(),
            status: "Failure",
            message: &self.message,
            reason: reason(self.code),
            details,
            code: self.code.as_u16(),
        };
        // A struct of strings and numbers always serializes.
        let body = serde_json::to_vec(&status).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.code;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.is_momentary() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry));
        }
        response
    }
}

/// The reason that Kubernetes' clients expect beside a code.
fn reason(code: StatusCode) -> &'static str {
    match code {
        StatusCode::BAD_REQUEST => "BadRequest",
        StatusCode::UNAUTHORIZED => "Unauthorized",
        StatusCode::FORBIDDEN => "Forbidden",
        StatusCode::NOT_FOUND => "NotFound",
        StatusCode::METHOD_NOT_ALLOWED => "MethodNotAllowed",
        StatusCode::CONFLICT => "Conflict",
        StatusCode::PAYLOAD_TOO_LARGE => "RequestEntityTooLarge",
        StatusCode::UNPROCESSABLE_ENTITY => "Invalid",
        StatusCode::TOO_MANY_REQUESTS => "TooManyRequests",
        StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailable",
        StatusCode::GATEWAY_TIMEOUT => "Timeout",
        StatusCode::INTERNAL_SERVER_ERROR => "InternalError",
        _ => "",
    }
}
