//! Errors of the agent in the shape of Kubernetes' `metav1.Status`.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{Either, Full};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;

use crate::until::Until;

/// A response of the local API, streamed, or one of our own.
pub(crate) type Body = Either<Until, Full<Bytes>>;

/// Why the agent does not carry a request out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: StatusCode,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(code: StatusCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let reason = match self.code {
            StatusCode::BAD_REQUEST => "BadRequest",
            StatusCode::FORBIDDEN => "Forbidden",
            StatusCode::NOT_FOUND => "NotFound",
            StatusCode::METHOD_NOT_ALLOWED => "MethodNotAllowed",
            StatusCode::PAYLOAD_TOO_LARGE => "RequestEntityTooLarge",
            StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailable",
            _ => "",
        };
        let status = Status {
            status: Some("Failure".to_owned()),
            message: Some(self.message),
            reason: Some(reason.to_owned()).filter(|reason| !reason.is_empty()),
            code: Some(i32::from(self.code.as_u16())),
            ..Status::default()
        };
        // A struct of strings and numbers always serializes.
        let body = serde_json::to_vec(&status).unwrap_or_default();
        let mut response = Response::new(Either::Right(Full::new(body.into())));
        *response.status_mut() = self.code;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}
