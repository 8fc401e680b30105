//! An object out of a request's body: its kind checked, unknown fields reported or dropped.

use std::sync::Arc;

use axum::body::Body;
use buildplane_apimachinery::field::ErrorKind;
use buildplane_apimachinery::schema::Previous;
use serde_json::Value;

use crate::call::Call;
use crate::error::{ApiError, ApiResult};
use crate::http::body::{self, Document};
use crate::kinds::Kind;
use crate::object;
use crate::verbs::present;

/// What is done about fields the kind does not have and keys that occur twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

impl FieldValidation {
    pub(crate) fn of(call: &Call) -> ApiResult<Self> {
        match call.query.get("fieldValidation") {
            None | Some("Warn") => Ok(Self::Warn),
            Some("Ignore") => Ok(Self::Ignore),
            Some("Strict") => Ok(Self::Strict),
            Some(other) => Err(ApiError::bad_request(format!(
                "fieldValidation: Unsupported value: {other:?}: supported values: \"Ignore\", \"Strict\", \"Warn\""
            ))),
        }
    }
}

/// Reads and checks the object of a create or update; it comes back as it is stored.
pub(crate) async fn read(call: &mut Call, body: Body) -> ApiResult<Value> {
    let kind = Arc::clone(&call.kind);
    read_as(call, &kind, body).await
}

/// As [`read`], for a subresource whose objects are of a kind of their own.
pub(crate) async fn read_as(call: &mut Call, kind: &Kind, body: Body) -> ApiResult<Value> {
    let validation = FieldValidation::of(call)?;
    let text = body::read(&call.headers, body, call.api.config.limits.body_bytes).await?;
    if text.is_empty() {
        return Err(ApiError::bad_request("the body of the request is empty; an object is expected"));
    }
    let document = body::object(&call.headers, &text)?;
    let mut value = document.value;
    typed(kind, &mut value)?;
    let problems = unknown(kind, &mut value, document.duplicates);
    report(validation, &problems, &mut call.warnings, |list| {
        format!(
            "{} in version \"{}\" cannot be handled as a {}: strict decoding error: {list}",
            kind.kind, kind.version, kind.kind
        )
    })?;
    Ok(present::stored_value(kind, value))
}

/// Refuses an object whose fields are of other types than the kind's: what is answered and not stored is not validated
/// elsewhere, and a text where a number is meant must not be taken for nothing.
pub(crate) fn check_types(kind: &Kind, value: &Value) -> ApiResult<()> {
    let mut errors = kind.schema().validate(value, Previous::Absent);
    errors.retain(|error| error.kind == ErrorKind::TypeInvalid);
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(kind, object::name(value), &errors)) }
}

/// Refuses a body of another kind and completes a missing type.
pub(crate) fn typed(kind: &Kind, value: &mut Value) -> ApiResult<()> {
    let Some(map) = value.as_object_mut() else {
        return Err(ApiError::bad_request("the body of the request is not an object"));
    };
    let api_version = map.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    let name = map.get("kind").and_then(Value::as_str).unwrap_or_default();
    if !api_version.is_empty() && api_version != kind.api_version {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({})",
            kind.api_version
        )));
    }
    if !name.is_empty() && name != kind.kind {
        return Err(ApiError::bad_request(format!(
            "{name} in version \"{}\" cannot be handled as a {}: the kind in the data does not match",
            kind.version, kind.kind
        )));
    }
    map.insert("apiVersion".into(), kind.api_version.clone().into());
    map.insert("kind".into(), kind.kind.clone().into());
    if map.get("metadata").is_none_or(Value::is_null) {
        map.insert("metadata".into(), serde_json::json!({}));
    }
    if !map.get("metadata").is_some_and(Value::is_object) {
        return Err(ApiError::bad_request("metadata must be an object"));
    }
    Ok(())
}

/// Drops what the kind does not know; returns the complaints of strict decoding.
pub(crate) fn unknown(kind: &Kind, value: &mut Value, duplicates: Vec<String>) -> Vec<String> {
    if kind.is_custom() {
        object::metadata_mut(value).retain(|_, entry| !entry.is_null());
    } else {
        drop_nulls(value);
    }
    let unknown = kind.schema().prune(value);
    let mut problems: Vec<String> =
        unknown.into_iter().map(|path| format!("unknown field {path:?}")).collect();
    problems.extend(duplicates.into_iter().map(|path| format!("duplicate field {path:?}")));
    problems
}

/// Built-in kinds are structs to Kubernetes: null is absence there.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, entry| !entry.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Turns complaints into an error, warnings, or nothing.
pub(crate) fn report(
    validation: FieldValidation,
    problems: &[String],
    warnings: &mut Vec<String>,
    message: impl Fn(&str) -> String,
) -> ApiResult<()> {
    if problems.is_empty() {
        return Ok(());
    }
    match validation {
        FieldValidation::Ignore => Ok(()),
        FieldValidation::Warn => {
            warnings.extend(problems.iter().cloned());
            Ok(())
        }
        FieldValidation::Strict => Err(ApiError::bad_request(message(&problems.join(", ")))),
    }
}

/// A patch or options document of any content type that JSON and YAML cover.
pub(crate) async fn document(call: &Call, body: Body) -> ApiResult<Option<Document>> {
    let text = body::read(&call.headers, body, call.api.config.limits.body_bytes).await?;
    if text.is_empty() { Ok(None) } else { body::object(&call.headers, &text).map(Some) }
}
