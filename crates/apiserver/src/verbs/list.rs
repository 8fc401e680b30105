//! list: in pages, all from one revision, filtered by selectors.

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use buildplane_apimachinery::selector::{FieldSelector, LabelSelector};
use buildplane_store::{Range, RangeError, Revision, Store};
use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::error::{ApiError, ApiResult};
use crate::http::negotiate::{Form, negotiate};
use crate::http::response;
use crate::kinds::Kind;
use crate::object::{self, MetadataOnly};
use crate::verbs::present;

/// What objects must be like.
pub(crate) struct Filter {
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Filter {
    pub(crate) fn of(call: &Call) -> ApiResult<Self> {
        let filter = Self { labels: call.query.label_selector()?, fields: call.query.field_selector()? };
        let kind = &call.kind;
        for requirement in filter.fields.requirements() {
            let field = requirement.field.as_str();
            let known = matches!(field, "metadata.name" | "metadata.namespace")
                || kind.selectable.iter().any(|selectable| selectable == field);
            if !known {
                return Err(ApiError::bad_request(format!("field label not supported: {field}")));
            }
        }
        Ok(filter)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// The one name the selector admits, if it names one.
    pub(crate) fn name(&self) -> Option<&str> {
        self.fields.exact("metadata.name")
    }

    /// Whether stored text matches; reads no more of it than it must.
    pub(crate) fn matches(&self, stored: &[u8]) -> bool {
        if self.is_empty() {
            return true;
        }
        if self.fields.is_empty() {
            return serde_json::from_slice::<MetadataOnly>(stored)
                .is_ok_and(|object| self.labels.matches(object.metadata.labels.as_ref()));
        }
        serde_json::from_slice::<Value>(stored).is_ok_and(|object| {
            self.labels.matches_object(&object) && self.fields.matches_object(&selectable(&object))
        })
    }
}

/// Events are selected by `source` and `reportingComponent`, which are not plain fields.
fn selectable(object: &Value) -> Value {
    if object["kind"] != "Event" {
        return object.clone();
    }
    let mut event = object.clone();
    let source = event["source"]["component"].as_str().or_else(|| event["reportingComponent"].as_str());
    event["source"] = source.unwrap_or_default().into();
    event
}

const MIN_FETCH: usize = 500;

/// Which list is asked for.
struct Asked {
    at: Option<Revision>,
    start_after: Option<String>,
    limit: Option<usize>,
}

/// A page of stored text.
pub(crate) struct Listed {
    pub(crate) items: Vec<Bytes>,
    pub(crate) revision: Revision,
    next: Option<String>,
}

pub(crate) async fn list(call: &Call) -> ApiResult<Response<Body>> {
    let (form, encoding) = negotiate(&call.headers, &call.query)?;
    let filter = Filter::of(call)?;
    let listed = listed(call, &filter).await?;
    let mut metadata = Map::new();
    if let Some(next) = &listed.next {
        metadata.insert("continue".into(), token(listed.revision, next).into());
    }
    metadata.insert("resourceVersion".into(), listed.revision.to_string().into());
    let metadata = Value::Object(metadata);
    let body = match form {
        Form::Object => join(&call.kind, &listed.items, &metadata)?,
        Form::Table(include) => {
            let objects = values(&call.kind, &listed.items)?;
            response::to_bytes(&present::table(&call.kind, &objects, metadata, include, call.now))
        }
        Form::Metadata => {
            let objects = values(&call.kind, &listed.items)?;
            let items: Vec<_> = objects.iter().map(present::metadata).collect();
            response::to_bytes(&json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata, "items": items,
            }))
        }
    };
    Ok(response::encoded(StatusCode::OK, body, encoding))
}

fn values(kind: &Kind, items: &[Bytes]) -> ApiResult<Vec<Value>> {
    items.iter().map(|item| Ok(present::served_value(kind, object::decode_bytes(item)?))).collect()
}

/// The list as text, without looking into the items.
fn join(kind: &Kind, items: &[Bytes], metadata: &Value) -> ApiResult<Bytes> {
    let head = format!(
        "{{\"apiVersion\":{},\"kind\":{},\"metadata\":{metadata},\"items\":[",
        Value::from(kind.api_version.as_str()),
        Value::from(kind.list_kind.as_str()),
    );
    let size: usize = items.iter().map(|item| item.len() + 1).sum();
    let mut out = Vec::with_capacity(head.len() + size + 2);
    out.extend_from_slice(head.as_bytes());
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        if kind.stored_as_served() {
            out.extend_from_slice(item);
        } else {
            out.extend_from_slice(&present::served(kind, item)?);
        }
    }
    out.extend_from_slice(b"]}\n");
    Ok(out.into())
}

/// The matching objects of the page that is asked for.
pub(crate) async fn listed(call: &Call, filter: &Filter) -> ApiResult<Listed> {
    let asked = asked(call)?;
    let store = &call.api.store;
    let prefix = match (filter.name(), &call.namespace) {
        (Some(name), Some(namespace)) => call.kind.key(Some(namespace), name),
        (Some(name), None) if !call.kind.namespaced => call.kind.key(None, name),
        _ => call.kind.range(call.namespace.as_deref()),
    };
    let mut listed = Listed { items: Vec::new(), revision: Revision(0), next: None };
    let mut at = asked.at;
    let mut start_after = asked.start_after;
    loop {
        // Of objects that are chosen from, more are looked at in one go than are wanted.
        let wanted = asked.limit.map(|limit| limit - listed.items.len());
        let fetched = wanted.map(|wanted| if filter.is_empty() { wanted } else { wanted.max(MIN_FETCH) });
        let range = Range { prefix: &prefix, start_after: start_after.as_deref(), limit: fetched, at };
        let page =
            store.range(range).await.map_err(|error| gone(store, &prefix, start_after.as_deref(), &error))?;
        listed.revision = page.revision;
        at = Some(page.revision);
        let mut entries = page.entries.into_iter();
        for (key, entry) in entries.by_ref() {
            if filter.matches(&entry.value) {
                listed.items.push(entry.value);
            }
            start_after = Some(key.to_string());
            if asked.limit.is_some_and(|limit| listed.items.len() >= limit) {
                break;
            }
        }
        let more = page.more || entries.len() > 0;
        if !more {
            return Ok(listed);
        }
        if asked.limit.is_some_and(|limit| listed.items.len() >= limit) {
            listed.next =
                start_after.map(|key| key.get(call.kind.prefix.len()..).unwrap_or_default().to_owned());
            return Ok(listed);
        }
    }
}

fn asked(call: &Call) -> ApiResult<Asked> {
    let limit = call.query.number("limit")?.filter(|limit| *limit > 0);
    let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let revision = call.query.revision()?;
    let rule = call.query.get("resourceVersionMatch");
    if let Some(text) = call.query.get("continue") {
        if revision.is_some_and(|revision| revision.0 != 0) {
            return Err(ApiError::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let (at, key) = parse_token(text)
            .ok_or_else(|| ApiError::bad_request("continue key is not valid: the token is malformed"))?;
        // A token of an expired list: go on from there, at the latest revision.
        let at = (at.0 != 0).then_some(at);
        return Ok(Asked { at, start_after: Some(format!("{}{key}", call.kind.prefix)), limit });
    }
    let current = call.api.store.revision();
    let at = match (revision, rule) {
        (None, Some(_)) => {
            return Err(ApiError::bad_request(
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
            ));
        }
        (None | Some(Revision(0)), None | Some("NotOlderThan")) => None,
        (Some(Revision(0)), Some("Exact")) => {
            return Err(ApiError::bad_request(
                "resourceVersionMatch: Forbidden: resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"",
            ));
        }
        (Some(asked), Some("Exact")) => Some(asked),
        // Without a rule but with a limit the revision is meant exactly.
        (Some(asked), None) if limit.is_some() => Some(asked),
        (Some(asked), None | Some("NotOlderThan")) if asked <= current => None,
        (Some(asked), None | Some("NotOlderThan")) => {
            return Err(ApiError::revision_too_large(asked.0, current.0));
        }
        (_, Some(other)) => {
            return Err(ApiError::bad_request(format!(
                "resourceVersionMatch: Unsupported value: {other:?}: supported values: \"Exact\", \"NotOlderThan\""
            )));
        }
    };
    Ok(Asked { at, start_after: None, limit })
}

fn gone(store: &Store, prefix: &str, start_after: Option<&str>, error: &RangeError) -> ApiError {
    match error {
        RangeError::Compacted { compacted } => {
            let Some(key) = start_after else {
                return ApiError::expired(format!(
                    "The resourceVersion for the provided list is too old; the oldest available is {compacted}."
                ));
            };
            let mut expired = ApiError::expired(
                "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
            );
            let rest = prefix.match_indices('/').nth(2).map_or(0, |(at, _)| at + 1);
            expired.continue_token = Some(token(Revision(0), key.get(rest..).unwrap_or_default()));
            expired
        }
        RangeError::Future { requested, current } => ApiError::revision_too_large(requested.0, current.0),
        RangeError::Closed => ApiError::unavailable(error.to_string()),
        RangeError::Storage { .. } => {
            tracing::error!(%error, revision = %store.revision(), "failed to list");
            ApiError::internal(error)
        }
    }
}

fn token(revision: Revision, key: &str) -> String {
    let text = json!({"v": "meta.k8s.io/v1", "rv": revision.0, "start": key}).to_string();
    URL_SAFE_NO_PAD.encode(text)
}

fn parse_token(token: &str) -> Option<(Revision, String)> {
    let text = URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).ok()?;
    let value: Value = serde_json::from_slice(&text).ok()?;
    (value["v"] == "meta.k8s.io/v1")
        .then(|| Some((Revision(value["rv"].as_u64()?), value["start"].as_str()?.to_owned())))
        .flatten()
}
