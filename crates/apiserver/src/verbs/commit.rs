//! The common end of all writes: what the server alone decides is put in, the result is judged and stored.

use buildplane_apimachinery::managed::{self, Scope, Writer};
use buildplane_store::{Entry, Expect, WriteError};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::error::{ApiError, ApiResult};
use crate::kinds::{CRD_GROUP, Kind, crd};
use crate::object;
use crate::server::Api;
use crate::verbs::admit;

/// How an object is to be replaced.
pub(crate) struct Change<'a> {
    pub(crate) kind: &'a Kind,
    /// Empty, or `status`.
    pub(crate) subresource: &'a str,
    /// The field manager; `None` for writes of the server itself and for applies, which bring their own managedFields.
    pub(crate) manager: Option<&'a str>,
    pub(crate) now: Timestamp,
    pub(crate) dry_run: bool,
}

/// What became of a write.
pub(crate) enum Outcome {
    /// The object as it is stored now (or would be).
    Stored(Bytes),
    /// The object is gone: its last finalizer was removed.
    Removed(Bytes),
}

impl Outcome {
    pub(crate) fn text(&self) -> &Bytes {
        match self {
            Self::Stored(text) | Self::Removed(text) => text,
        }
    }
}

/// What went wrong with a write.
pub(crate) enum CommitError {
    /// The object changed since it was read.
    Stale,
    /// Anything else.
    Refused(ApiError),
}

impl From<ApiError> for CommitError {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

pub(crate) fn scope(kind: &Kind, subresource: &str) -> Scope {
    match (subresource, kind.has_status) {
        ("status", _) => Scope::OnlyStatus,
        (_, true) => Scope::ExceptStatus,
        (_, false) => Scope::Whole,
    }
}

/// Stores a new object. `object` is complete but for what the server decides.
pub(crate) async fn create(api: &Api, change: &Change<'_>, mut object: Value) -> ApiResult<Bytes> {
    let kind = change.kind;
    if kind.terminating {
        return Err(ApiError::terminating());
    }
    if kind.has_status
        && let Some(map) = object.as_object_mut()
    {
        map.remove("status");
    }
    let metadata = object::metadata_mut(&mut object);
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion"] {
        metadata.remove(field);
    }
    metadata.insert("uid".into(), uuid::Uuid::new_v4().to_string().into());
    metadata.insert("creationTimestamp".into(), object::time(change.now).into());
    if has_generation(kind) {
        metadata.insert("generation".into(), 1.into());
    } else {
        metadata.remove("generation");
    }
    admit::default(kind, &mut object);
    admit::validate(kind, None, &object)?;
    let namespace = kind.namespaced.then(|| object::namespace(&object).to_owned());
    admit::namespace(api, kind, namespace.as_deref(), object::name(&object))?;
    if let Some(manager) = change.manager {
        object::metadata_mut(&mut object).remove("managedFields");
        let writer = writer(change, manager);
        object = managed::update(None, object, &writer, &kind.schema(), scope(kind, ""));
    }
    if kind.group == CRD_GROUP {
        crd::establish(&mut object, &api.kinds(), change.now);
    }
    let key = kind.key(namespace.as_deref(), object::name(&object));
    let value = object::encode(&object);
    admit::size(api.config.limits.object_bytes, value.bytes().len())?;
    if change.dry_run {
        if api.store.get(&key).is_some() {
            return Err(ApiError::already_exists(kind, object::name(&object)));
        }
        return Ok(serde_json::to_vec(&object).unwrap_or_default().into());
    }
    match api.store.write(&key, value, Expect::Absent).await {
        Ok(entry) => {
            api.heed(kind);
            Ok(entry.value)
        }
        Err(WriteError::Conflict { .. }) => Err(ApiError::already_exists(kind, object::name(&object))),
        Err(error) => Err(refused(&error)),
    }
}

/// Replaces an object that was read as `entry`/`old` by `new`.
pub(crate) async fn replace(
    api: &Api,
    change: &Change<'_>,
    (entry, old): (&Entry, &Value),
    new: Value,
) -> Result<Outcome, CommitError> {
    let kind = change.kind;
    let mut new = within_scope(kind, change.subresource, old, new);
    keep_identity(kind, old, &mut new)?;
    admit::default(kind, &mut new);
    bump_generation(kind, change.subresource, old, &mut new);
    admit::validate(kind, Some(old), &new)?;
    if kind.group == CRD_GROUP && change.subresource.is_empty() && !object::is_deleting(&new) {
        crd::establish(&mut new, &api.kinds(), change.now);
    }
    if let Some(manager) = change.manager {
        let writer = writer(change, manager);
        new = managed::update(Some(old), new, &writer, &kind.schema(), scope(kind, change.subresource));
    }
    object::metadata_mut(&mut new).insert("resourceVersion".into(), entry.revision.to_string().into());
    if new == *old {
        return Ok(Outcome::Stored(entry.value.clone()));
    }
    let key = key_of(kind, old);
    if object::is_deleting(&new) && is_finalized(kind, &new) {
        let text = serde_json::to_vec(&new).unwrap_or_default().into();
        if change.dry_run {
            return Ok(Outcome::Removed(text));
        }
        return remove(api, kind, &key, entry, &new).await.map(Outcome::Removed);
    }
    let value = object::encode(&new);
    admit::size(api.config.limits.object_bytes, value.bytes().len())?;
    if change.dry_run {
        return Ok(Outcome::Stored(serde_json::to_vec(&new).unwrap_or_default().into()));
    }
    match api.store.write(&key, value, Expect::Revision(entry.revision)).await {
        Ok(entry) => {
            api.heed(kind);
            Ok(Outcome::Stored(entry.value))
        }
        Err(WriteError::Conflict { .. }) => Err(CommitError::Stale),
        Err(error) => Err(refused(&error).into()),
    }
}

/// Takes an object out of the store; watchers see its last state with the revision of the removal.
pub(crate) async fn remove(
    api: &Api,
    kind: &Kind,
    key: &str,
    entry: &Entry,
    last: &Value,
) -> Result<Bytes, CommitError> {
    match api.store.delete(key, object::encode(last), Expect::Revision(entry.revision)).await {
        Ok(entry) => {
            api.heed(kind);
            Ok(entry.value)
        }
        Err(WriteError::Conflict { .. }) => Err(CommitError::Stale),
        Err(error) => Err(refused(&error).into()),
    }
}

/// Whether nothing holds a deleted object any more.
pub(crate) fn is_finalized(kind: &Kind, object: &Value) -> bool {
    let held = kind.is("", "namespaces")
        && object["spec"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty());
    object::finalizers(object).is_empty() && !held
}

pub(crate) fn key_of(kind: &Kind, object: &Value) -> String {
    let namespace = kind.namespaced.then(|| object::namespace(object));
    kind.key(namespace, object::name(object))
}

fn writer<'a>(change: &'a Change<'_>, manager: &'a str) -> Writer<'a> {
    Writer {
        manager,
        api_version: &change.kind.api_version,
        subresource: change.subresource,
        time: change.now,
    }
}

/// Only the part of the object that the door leads to may change.
fn within_scope(kind: &Kind, subresource: &str, old: &Value, mut new: Value) -> Value {
    let field = |object: &Value, name: &str| object.get(name).cloned();
    if subresource != "status" {
        if kind.has_status
            && let Some(map) = new.as_object_mut()
        {
            match field(old, "status") {
                Some(status) => map.insert("status".into(), status),
                None => map.remove("status"),
            };
        }
        return new;
    }
    let mut scoped = old.clone();
    if let Some(map) = scoped.as_object_mut() {
        match field(&new, "status") {
            Some(status) => map.insert("status".into(), status),
            None => map.remove("status"),
        };
    }
    // A Pod's status may come with labels and annotations, as the kubelet writes them; custom resources keep theirs.
    let kept: &[&str] =
        if kind.is_custom() { &["managedFields"] } else { &["managedFields", "labels", "annotations"] };
    for name in kept {
        let value = new["metadata"].get(*name).cloned();
        let metadata = object::metadata_mut(&mut scoped);
        match value {
            Some(value) => metadata.insert((*name).to_owned(), value),
            None => metadata.remove(*name),
        };
    }
    let asked = &new["metadata"];
    for name in ["uid", "resourceVersion"] {
        let value = asked[name].clone();
        object::metadata_mut(&mut scoped).insert(name.to_owned(), value);
    }
    scoped
}

/// Puts back what no client may change.
fn keep_identity(kind: &Kind, old: &Value, new: &mut Value) -> ApiResult<()> {
    let asked = object::uid(new);
    if !asked.is_empty() && asked != object::uid(old) {
        let why = format!(
            "Precondition failed: UID in precondition: {asked}, UID in object meta: {}",
            object::uid(old)
        );
        return Err(ApiError::conflict(kind, object::name(old), &why));
    }
    new["apiVersion"] = old["apiVersion"].clone();
    new["kind"] = old["kind"].clone();
    let metadata = object::metadata_mut(new);
    metadata.remove("selfLink");
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "generateName",
    ] {
        match old["metadata"].get(field) {
            Some(value) => metadata.insert(field.to_owned(), value.clone()),
            None => metadata.remove(field),
        };
    }
    Ok(())
}

fn has_generation(kind: &Kind) -> bool {
    kind.is_custom() || kind.group == CRD_GROUP || kind.is("", "pods")
}

fn bump_generation(kind: &Kind, subresource: &str, old: &Value, new: &mut Value) {
    if !has_generation(kind) || subresource == "status" {
        return;
    }
    let desired = |object: &Value| {
        let mut object = object.clone();
        if let Some(map) = object.as_object_mut() {
            map.remove("metadata");
            if kind.has_status {
                map.remove("status");
            }
        }
        object
    };
    if desired(old) != desired(new) {
        let generation = old["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        object::metadata_mut(new).insert("generation".into(), generation.into());
    }
}

/// The store's refusals, as a client is told.
pub(crate) fn refused(error: &WriteError) -> ApiError {
    match error {
        WriteError::Overloaded => {
            ApiError::too_many_requests("too many writes are waiting, please try again later")
        }
        WriteError::Closed => ApiError::unavailable("the server is shutting down"),
        WriteError::StorageFull { .. } => {
            ApiError::new(http::StatusCode::INSUFFICIENT_STORAGE, "InternalError", error.to_string())
        }
        WriteError::Conflict { .. } | WriteError::Storage { .. } => ApiError::internal(error),
    }
}

/// Writes an object at start if it is missing.
pub(crate) async fn seed(
    api: &Api,
    kind: &Kind,
    mut object: Value,
    now: Timestamp,
) -> Result<(), WriteError> {
    if api.store.get(&key_of(kind, &object)).is_some() {
        return Ok(());
    }
    admit::default(kind, &mut object);
    let metadata = object::metadata_mut(&mut object);
    metadata.entry("uid").or_insert_with(|| json!(uuid::Uuid::new_v4().to_string()));
    metadata.insert("creationTimestamp".into(), object::time(now).into());
    match api.store.write(&key_of(kind, &object), object::encode(&object), Expect::Absent).await {
        Ok(_) | Err(WriteError::Conflict { .. }) => {
            api.heed(kind);
            Ok(())
        }
        Err(error) => Err(error),
    }
}
