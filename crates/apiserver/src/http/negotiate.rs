//! In which form an answer is wanted.

use buildplane_apimachinery::table::IncludeObject;
use http::HeaderMap;
use http::header::ACCEPT;

use crate::error::{ApiError, ApiResult};
use crate::http::query::Query;

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The object or list itself.
    Object,
    /// A `meta.k8s.io/v1` Table.
    Table(IncludeObject),
    /// `PartialObjectMetadata`.
    Metadata,
}

/// The text of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Yaml,
}

/// What the `Accept` header asks for; the first alternative we have wins, as in Kubernetes.
pub(crate) fn negotiate(headers: &HeaderMap, query: &Query) -> ApiResult<(Form, Encoding)> {
    let mut alternatives = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    if alternatives.peek().is_none() {
        return Ok((Form::Object, Encoding::Json));
    }
    alternatives
        .flat_map(|value| value.split(','))
        .find_map(|alternative| accepted(alternative.trim(), query))
        .ok_or_else(ApiError::not_acceptable)
}

fn accepted(alternative: &str, query: &Query) -> Option<(Form, Encoding)> {
    let mut parts = alternative.split(';').map(str::trim);
    let encoding = match parts.next()?.to_ascii_lowercase().as_str() {
        "application/json" | "*/*" | "application/*" | "" => Encoding::Json,
        "application/yaml" => Encoding::Yaml,
        _ => return None,
    };
    let (mut wanted, mut version, mut group) = (None, None, None);
    for part in parts {
        match part.split_once('=') {
            Some(("as", value)) => wanted = Some(value),
            Some(("v", value)) => version = Some(value),
            Some(("g", value)) => group = Some(value),
            // stream, charset, q: nothing here depends on them.
            Some(_) | None => {}
        }
    }
    let Some(wanted) = wanted else { return Some((Form::Object, encoding)) };
    if group != Some("meta.k8s.io") || version != Some("v1") {
        return None;
    }
    match wanted {
        "Table" => Some((
            Form::Table(match query.get("includeObject") {
                Some("Object") => IncludeObject::Object,
                Some("None") => IncludeObject::None,
                _ => IncludeObject::Metadata,
            }),
            encoding,
        )),
        "PartialObjectMetadata" | "PartialObjectMetadataList" => Some((Form::Metadata, encoding)),
        _ => None,
    }
}
