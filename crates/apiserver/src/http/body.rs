//! Bodies of requests: read within limits, decoded from JSON, YAML or Kubernetes protobuf.

use axum::body::Body;
use buildplane_apimachinery::decode::{self, Limits as DecodeLimits};
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::BodyExt as _;
use serde_json::Value;

use crate::error::{ApiError, ApiResult};
use crate::protobuf;

/// A body as a document.
#[derive(Debug, Default)]
pub(crate) struct Document {
    pub(crate) value: Value,
    /// Keys that occurred twice.
    pub(crate) duplicates: Vec<String>,
}

/// How much of a body that is too large is taken and thrown away before the answer. Over HTTP/2 an answer before the
/// body's end reaches many clients as a broken stream and not as what it says.
const DRAINED: usize = 32 << 20;

/// Reads a body of at most `limit` bytes.
pub(crate) async fn read(headers: &HeaderMap, mut body: Body, limit: usize) -> ApiResult<Bytes> {
    let announced =
        headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    let bound = limit.saturating_add(DRAINED);
    if announced.is_some_and(|length: usize| length > bound) {
        return Err(ApiError::too_large(limit));
    }
    let mut collected = Vec::new();
    let mut n_bytes = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| ApiError::bad_request(format!("failed to read the body: {error}")))?;
        let Some(data) = frame.data_ref() else { continue };
        n_bytes = n_bytes.saturating_add(data.len());
        if n_bytes <= limit {
            collected.extend_from_slice(data);
        } else if n_bytes > bound {
            break;
        }
    }
    if n_bytes > limit { Err(ApiError::too_large(limit)) } else { Ok(collected.into()) }
}

/// The content type without parameters, in lower case.
pub(crate) fn content_type(headers: &HeaderMap) -> String {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

/// Decodes an object by its content type.
pub(crate) fn object(headers: &HeaderMap, body: &[u8]) -> ApiResult<Document> {
    match content_type(headers).as_str() {
        "" | "application/json" | "*/*" => json(body),
        "application/yaml" | "application/x-yaml" | "text/yaml" => yaml(body),
        "application/vnd.kubernetes.protobuf" => {
            let value = protobuf::decode(body).map_err(|error| ApiError::bad_request(error.to_string()))?;
            Ok(Document { value, duplicates: Vec::new() })
        }
        _ => Err(ApiError::unsupported_media(
            "application/json, application/yaml, application/vnd.kubernetes.protobuf",
        )),
    }
}

pub(crate) fn json(body: &[u8]) -> ApiResult<Document> {
    let decoded = decode::from_slice(body, DecodeLimits::default()).map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        ApiError::bad_request(format!("{error}: {cause}"))
    })?;
    Ok(Document { value: decoded.value, duplicates: decoded.duplicates })
}

/// One YAML document; JSON is YAML too and read as such.
pub(crate) fn yaml(body: &[u8]) -> ApiResult<Document> {
    if let Ok(document) = json(body) {
        return Ok(document);
    }
    let text = std::str::from_utf8(body).map_err(|_| ApiError::bad_request("the body is not UTF-8"))?;
    // As in YAML 1.1, which Kubernetes reads: 0644 is octal.
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    let value = serde_saphyr::from_str_with_options::<Value>(text, options)
        .map_err(|error| ApiError::bad_request(format!("error decoding YAML: {error}")))?;
    // Through the reader of JSON, for its limits.
    json(&serde_json::to_vec(&value).unwrap_or_default())
}
