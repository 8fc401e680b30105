//! patch: JSON patch, merge patch, strategic merge patch, and apply.

use axum::body::Body;
use buildplane_apimachinery::managed::{self, ApplyError, OnConflict, Writer};
use buildplane_apimachinery::patch::{self, PatchError};
use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::Value;

use crate::auth;
use crate::call::Call;
use crate::error::{ApiError, ApiResult};
use crate::http::body::{self, Document};
use crate::object;
use crate::verbs::commit::{self, Change, CommitError, Outcome};
use crate::verbs::incoming::{self, FieldValidation};
use crate::verbs::update::ATTEMPTS;
use crate::verbs::{admit, present};

/// The kind of a patch, by content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Json,
    Merge,
    Strategic,
    Apply,
}

const TYPES: &str = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";

pub(crate) async fn patch(call: &mut Call, body: Body) -> ApiResult<Response<Body>> {
    let kind = match body::content_type(&call.headers).as_str() {
        "application/json-patch+json" => Type::Json,
        "application/merge-patch+json" => Type::Merge,
        // Custom resources have no merge strategies; Kubernetes refuses it too.
        "application/strategic-merge-patch+json" if !call.kind.is_custom() => Type::Strategic,
        "application/apply-patch+yaml" => Type::Apply,
        _ => return Err(ApiError::unsupported_media(TYPES)),
    };
    if call.query.is_set("force") && kind != Type::Apply {
        return Err(ApiError::bad_request(
            "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch",
        ));
    }
    let text = body::read(&call.headers, body, call.api.config.limits.body_bytes).await?;
    if kind == Type::Apply { apply(call, &text).await } else { change(call, kind, &text).await }
}

async fn change(call: &mut Call, kind: Type, text: &Bytes) -> ApiResult<Response<Body>> {
    let (dry_run, validation) = (call.query.dry_run()?, FieldValidation::of(call)?);
    let document = body::json(text)?;
    let manager = call.manager()?.to_owned();
    for attempt in 0..ATTEMPTS {
        let entry =
            call.api.store.get(&call.key()).ok_or_else(|| ApiError::not_found(&call.kind, &call.name))?;
        let old = object::decode(&entry)?;
        let served = present::served_value(&call.kind, old.clone());
        let mut new = patched(call, kind, &served, &document.value)?;
        incoming::typed(&call.kind, &mut new)?;
        let problems = incoming::unknown(&call.kind, &mut new, document.duplicates.clone());
        if attempt == 0 {
            incoming::report(validation, &problems, &mut call.warnings, |list| {
                format!("strict decoding error: {list}")
            })?;
        }
        let version = object::meta_str(&new, "resourceVersion").to_owned();
        let named = version != entry.revision.to_string();
        if named && !version.is_empty() {
            return Err(ApiError::modified(&call.kind, &call.name));
        }
        admit::address(call, &mut new)?;
        let new = present::stored_value(&call.kind, new);
        auth::no_escalation(call, &new)?;
        let change = Change {
            kind: &call.kind,
            subresource: &call.subresource,
            manager: Some(&manager),
            now: call.now,
            dry_run,
        };
        match commit::replace(&call.api, &change, (&entry, &old), new).await {
            Ok(outcome) => return present::one(call, StatusCode::OK, outcome.text()),
            Err(CommitError::Refused(error)) => return Err(error),
            Err(CommitError::Stale) if document.value["metadata"]["resourceVersion"].is_string() => break,
            Err(CommitError::Stale) => {}
        }
    }
    Err(ApiError::modified(&call.kind, &call.name))
}

fn patched(call: &Call, kind: Type, object: &Value, document: &Value) -> ApiResult<Value> {
    let patched = match kind {
        Type::Json => patch::json_patch(object, document),
        Type::Strategic => patch::strategic_merge(object, document, &call.kind.schema()),
        Type::Merge | Type::Apply => patch::merge_patch(object, document),
    };
    patched.map_err(|error| unapplied(call, &error))
}

fn unapplied(call: &Call, error: &PatchError) -> ApiError {
    match error.http_status() {
        413 => ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", error.to_string()),
        422 => {
            let mut refusal = ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", error.to_string());
            if let Some(cause) = std::error::Error::source(error) {
                tracing::debug!(kind = %call.kind.kind, name = %call.name, %cause, "patch does not apply");
                refusal.message = format!("{error}: {cause}");
            }
            refusal
        }
        _ => ApiError::bad_request(error.to_string()),
    }
}

async fn apply(call: &mut Call, text: &Bytes) -> ApiResult<Response<Body>> {
    if !call.query.has("fieldManager") {
        return Err(ApiError::bad_request(
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
        ));
    }
    let dry_run = call.query.dry_run()?;
    let Document { mut value, duplicates } = body::yaml(text)?;
    incoming::typed(&call.kind, &mut value)?;
    if value["metadata"].get("managedFields").is_some_and(|fields| !fields.is_null()) {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    let problems = incoming::unknown(&call.kind, &mut value, duplicates);
    let validation = FieldValidation::of(call)?;
    incoming::report(validation, &problems, &mut call.warnings, |list| {
        format!("strict decoding error: {list}")
    })?;
    admit::address(call, &mut value)?;
    let value = present::stored_value(&call.kind, value);
    auth::no_escalation(call, &value)?;
    let asked = object::meta_str(&value, "resourceVersion").to_owned();
    for _ in 0..ATTEMPTS {
        let entry = call.api.store.get(&call.key());
        if let Some(entry) = &entry
            && !asked.is_empty()
            && asked != entry.revision.to_string()
        {
            return Err(ApiError::modified(&call.kind, &call.name));
        }
        let old = entry.as_ref().map(object::decode).transpose()?;
        let merged = merge(call, old.as_ref(), &value)?;
        let change = Change {
            kind: &call.kind,
            subresource: &call.subresource,
            manager: None,
            now: call.now,
            dry_run,
        };
        let (Some(entry), Some(old)) = (entry, old) else {
            if !call.subresource.is_empty() || !asked.is_empty() {
                return Err(ApiError::not_found(&call.kind, &call.name));
            }
            auth::authorize(call, "create")?;
            let new = merged.unwrap_or_else(|| value.clone());
            match commit::create(&call.api, &change, new).await {
                Ok(text) => return present::one(call, StatusCode::CREATED, &text),
                Err(error) if error.reason == "AlreadyExists" => continue,
                Err(error) => return Err(error),
            }
        };
        let written = match merged {
            None => Ok(Outcome::Stored(entry.value.clone())),
            Some(new) => commit::replace(&call.api, &change, (&entry, &old), new).await,
        };
        match written {
            Ok(outcome) => return present::one(call, StatusCode::OK, outcome.text()),
            Err(CommitError::Refused(error)) => return Err(error),
            Err(CommitError::Stale) => {}
        }
    }
    Err(ApiError::modified(&call.kind, &call.name))
}

/// The object after the apply; `None` when the apply changes nothing.
fn merge(call: &Call, live: Option<&Value>, applied: &Value) -> ApiResult<Option<Value>> {
    let writer = Writer {
        manager: call.manager()?,
        api_version: &call.kind.api_version,
        subresource: &call.subresource,
        time: call.now,
    };
    let on_conflict = if call.query.is_set("force") { OnConflict::Force } else { OnConflict::Fail };
    let scope = commit::scope(&call.kind, &call.subresource);
    match managed::apply(live, applied, &writer, on_conflict, &call.kind.schema(), scope) {
        Ok(applied) => Ok(applied.changed.then_some(applied.object)),
        Err(ApplyError::Conflicts(conflicts)) => {
            let message = ApplyError::Conflicts(conflicts.clone()).to_string();
            Err(ApiError::apply_conflict(message, &conflicts))
        }
        Err(ApplyError::Invalid(message)) => Err(ApiError::bad_request(message)),
        Err(error @ ApplyError::Merge(_)) => Err(ApiError::internal(error)),
    }
}
