//! Objects in the form that was asked for.

use axum::body::Body;
use buildplane_apimachinery::table::IncludeObject;
use bytes::Bytes;
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::call::Call;
use crate::error::ApiResult;
use crate::http::negotiate::{Form, negotiate};
use crate::http::response;
use crate::kinds::Kind;
use crate::object;

/// Stored text as the requested version of the kind has it; the same text where nothing differs.
pub(crate) fn served(kind: &Kind, stored: &Bytes) -> ApiResult<Bytes> {
    if kind.stored_as_served() {
        return Ok(stored.clone());
    }
    Ok(response::to_bytes(&served_value(kind, object::decode_bytes(stored)?)))
}

/// A stored object in the requested version.
pub(crate) fn served_value(kind: &Kind, mut object: Value) -> Value {
    if kind.is("events.k8s.io", "events") {
        return event(object);
    }
    object["apiVersion"] = kind.api_version.clone().into();
    object
}

/// An object of the requested version as it is stored.
pub(crate) fn stored_value(kind: &Kind, mut object: Value) -> Value {
    if kind.is("events.k8s.io", "events") {
        return rename(object, "v1", |(core, new)| (new, core));
    }
    if kind.version != kind.storage_version {
        object["apiVersion"] = format!("{}/{}", kind.group, kind.storage_version).into();
    }
    object
}

/// Fields of Event, in the core group and in events.k8s.io.
const EVENT_FIELDS: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

fn event(object: Value) -> Value {
    rename(object, "events.k8s.io/v1", |pair| pair)
}

fn rename(
    mut object: Value,
    api_version: &str,
    order: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str),
) -> Value {
    if let Some(map) = object.as_object_mut() {
        for pair in EVENT_FIELDS {
            let (from, to) = order(*pair);
            if let Some(value) = map.remove(from) {
                map.insert(to.to_owned(), value);
            }
        }
        map.insert("apiVersion".into(), api_version.into());
    }
    object
}

/// One object as the answer to a request.
pub(crate) fn one(call: &Call, code: StatusCode, stored: &Bytes) -> ApiResult<Response<Body>> {
    let (form, encoding) = negotiate(&call.headers, &call.query)?;
    let body = served(&call.kind, stored)?;
    let body = match form {
        Form::Object => body,
        Form::Metadata => response::to_bytes(&metadata(&object::decode_bytes(&body)?)),
        Form::Table(include) => {
            let object = object::decode_bytes(&body)?;
            let version = object["metadata"]["resourceVersion"].clone();
            let table = table(&call.kind, [&object], json!({"resourceVersion": version}), include, call.now);
            response::to_bytes(&table)
        }
    };
    Ok(response::encoded(code, body, encoding))
}

pub(crate) fn table<'v>(
    kind: &Kind,
    objects: impl IntoIterator<Item = &'v Value>,
    list_metadata: Value,
    include: IncludeObject,
    now: Timestamp,
) -> Value {
    kind.columns.table(objects, list_metadata, include, now)
}

/// `PartialObjectMetadata` of an object.
pub(crate) fn metadata(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}
