//! delete: at once, or marked until finalizers are done.

use axum::body::Body;
use bytes::Bytes;
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::call::Call;
use crate::error::{ApiError, ApiResult};
use crate::http::response;
use crate::kinds::{CRD_GROUP, Kind, crd};
use crate::object;
use crate::server::Api;
use crate::verbs::commit::{self, CommitError};
use crate::verbs::update::ATTEMPTS;
use crate::verbs::{incoming, present};

pub(crate) const FOREGROUND: &str = "foregroundDeletion";
pub(crate) const ORPHAN: &str = "orphan";

/// What becomes of the dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Propagation {
    /// They go later.
    Background,
    /// They go first.
    Foreground,
    /// They stay.
    Orphan,
}

/// How an object is to be deleted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Deletion {
    pub(crate) propagation: Option<Propagation>,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
    pub(crate) dry_run: bool,
}

impl Deletion {
    /// Options of the body, else of the query.
    pub(crate) async fn of(call: &Call, body: Body) -> ApiResult<Self> {
        let document = incoming::document(call, body).await?;
        let options = document.map(|document| document.value).unwrap_or_default();
        let policy = options["propagationPolicy"].as_str().or_else(|| call.query.get("propagationPolicy"));
        let orphan = options["orphanDependents"].as_bool();
        let propagation = match (policy, orphan) {
            (Some("Background"), _) | (None, Some(false)) => Some(Propagation::Background),
            (Some("Foreground"), _) => Some(Propagation::Foreground),
            (Some("Orphan"), _) | (None, Some(true)) => Some(Propagation::Orphan),
            (None, None) => None,
            (Some(other), _) => {
                return Err(ApiError::bad_request(format!(
                    "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: {other:?}: supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
                )));
            }
        };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let dry_run = options["dryRun"].as_array().is_some_and(|list| !list.is_empty());
        Ok(Self {
            propagation,
            uid: text(&options["preconditions"]["uid"]),
            resource_version: text(&options["preconditions"]["resourceVersion"]),
            dry_run: dry_run || call.query.dry_run()?,
        })
    }
}

/// What a delete did.
pub(crate) enum Deleted {
    /// The object is gone.
    Gone(Bytes),
    /// The object waits for its finalizers.
    Marked(Bytes),
}

pub(crate) async fn handle(call: &mut Call, body: Body) -> ApiResult<Response<Body>> {
    if !call.subresource.is_empty() {
        return Err(ApiError::method_not_allowed());
    }
    let deletion = Deletion::of(call, body).await?;
    match delete(&call.api, &call.kind, &call.key(), &deletion, call.now).await? {
        Some(Deleted::Marked(text)) => present::one(call, StatusCode::OK, &text),
        Some(Deleted::Gone(text)) => Ok(response::json(StatusCode::OK, &gone(call, &text)?)),
        None => Err(ApiError::not_found(&call.kind, &call.name)),
    }
}

fn gone(call: &Call, text: &Bytes) -> ApiResult<Value> {
    let object = object::decode_bytes(text)?;
    let mut details = json!({"name": call.name, "kind": call.kind.plural, "uid": object::uid(&object)});
    if !call.kind.group.is_empty() {
        details["group"] = call.kind.group.clone().into();
    }
    Ok(json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
    }))
}

/// Deletes an object; `None` when there is none.
pub(crate) async fn delete(
    api: &Api,
    kind: &Kind,
    key: &str,
    deletion: &Deletion,
    now: Timestamp,
) -> ApiResult<Option<Deleted>> {
    for _ in 0..ATTEMPTS {
        let Some(entry) = api.store.get(key) else { return Ok(None) };
        let old = object::decode(&entry)?;
        preconditions(kind, &old, deletion)?;
        let mut new = old.clone();
        prepare(kind, &mut new, deletion.propagation);
        let finalized = commit::is_finalized(kind, &new);
        if !object::is_deleting(&new) && !finalized {
            let metadata = object::metadata_mut(&mut new);
            metadata.insert("deletionTimestamp".into(), object::time(now).into());
            metadata.insert("deletionGracePeriodSeconds".into(), 0.into());
            if let Some(generation) = old["metadata"]["generation"].as_i64() {
                metadata.insert("generation".into(), (generation + 1).into());
            }
            if kind.is("", "namespaces") {
                new["status"]["phase"] = "Terminating".into();
            }
        }
        if deletion.dry_run {
            return Ok(Some(if finalized {
                Deleted::Gone(entry.value)
            } else {
                Deleted::Marked(entry.value)
            }));
        }
        if finalized {
            match commit::remove(api, kind, key, &entry, &new).await {
                Ok(text) => return Ok(Some(Deleted::Gone(text))),
                Err(CommitError::Refused(error)) => return Err(error),
                Err(CommitError::Stale) => continue,
            }
        }
        if new == old {
            return Ok(Some(Deleted::Marked(entry.value)));
        }
        let expect = buildplane_store::Expect::Revision(entry.revision);
        match api.store.write(key, object::encode(&new), expect).await {
            Ok(entry) => {
                api.heed(kind);
                return Ok(Some(Deleted::Marked(entry.value)));
            }
            Err(buildplane_store::WriteError::Conflict { .. }) => {}
            Err(error) => return Err(commit::refused(&error)),
        }
    }
    Err(ApiError::modified(kind, key.rsplit('/').next().unwrap_or_default()))
}

/// Sets the finalizers that the propagation asks for.
fn prepare(kind: &Kind, object: &mut Value, propagation: Option<Propagation>) {
    match propagation {
        Some(Propagation::Background) => {
            object::remove_finalizer(object, FOREGROUND);
            object::remove_finalizer(object, ORPHAN);
        }
        Some(Propagation::Foreground) => {
            object::remove_finalizer(object, ORPHAN);
            object::add_finalizer(object, FOREGROUND);
        }
        Some(Propagation::Orphan) => {
            object::remove_finalizer(object, FOREGROUND);
            object::add_finalizer(object, ORPHAN);
        }
        None => {}
    }
    if kind.group == CRD_GROUP && !object::is_deleting(object) {
        object::add_finalizer(object, crd::CLEANUP);
    }
}

fn preconditions(kind: &Kind, object: &Value, deletion: &Deletion) -> ApiResult<()> {
    let name = object::name(object);
    if let Some(uid) = deletion.uid.as_deref().filter(|uid| *uid != object::uid(object)) {
        let found = object::uid(object);
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {found}");
        return Err(ApiError::conflict(kind, name, &why));
    }
    let found = object::meta_str(object, "resourceVersion");
    if let Some(version) = deletion.resource_version.as_deref().filter(|version| *version != found) {
        let why = format!(
            "Precondition failed: ResourceVersion in precondition: {version}, ResourceVersion in object meta: {found}"
        );
        return Err(ApiError::conflict(kind, name, &why));
    }
    Ok(())
}
