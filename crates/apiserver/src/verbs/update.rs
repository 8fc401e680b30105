//! update: a whole object replaces another.

use axum::body::Body;
use http::{Response, StatusCode};
use serde_json::Value;

use crate::auth;
use crate::call::Call;
use crate::error::{ApiError, ApiResult};
use crate::object;
use crate::verbs::commit::{self, Change, CommitError};
use crate::verbs::{admit, incoming, present};

/// How often a write without a `resourceVersion` is tried again when another one comes in between.
pub(crate) const ATTEMPTS: usize = 16;

pub(crate) async fn update(call: &mut Call, body: Body) -> ApiResult<Response<Body>> {
    let dry_run = call.query.dry_run()?;
    let mut object = incoming::read(call, body).await?;
    admit::address(call, &mut object)?;
    if call.subresource == "finalize" {
        return finalize(call, &object).await;
    }
    auth::no_escalation(call, &object)?;
    let version = object::meta_str(&object, "resourceVersion").to_owned();
    if version.is_empty() && call.kind.is_custom() {
        let field = buildplane_apimachinery::field::FieldError::invalid(
            "metadata.resourceVersion",
            0,
            "must be specified for an update",
        );
        return Err(ApiError::invalid(&call.kind, &call.name, &[field]));
    }
    let manager = call.manager()?.to_owned();
    let change = Change {
        kind: &call.kind,
        subresource: &call.subresource,
        manager: Some(&manager),
        now: call.now,
        dry_run,
    };
    for _ in 0..ATTEMPTS {
        let entry =
            call.api.store.get(&call.key()).ok_or_else(|| ApiError::not_found(&call.kind, &call.name))?;
        if !version.is_empty() && version != entry.revision.to_string() {
            return Err(ApiError::modified(&call.kind, &call.name));
        }
        let old = object::decode(&entry)?;
        match commit::replace(&call.api, &change, (&entry, &old), object.clone()).await {
            Ok(outcome) => return present::one(call, StatusCode::OK, outcome.text()),
            Err(CommitError::Refused(error)) => return Err(error),
            Err(CommitError::Stale) => {}
        }
    }
    Err(ApiError::modified(&call.kind, &call.name))
}

/// `namespaces/x/finalize` sets `spec.finalizers` alone.
async fn finalize(call: &Call, object: &Value) -> ApiResult<Response<Body>> {
    let manager = call.manager()?.to_owned();
    let change =
        Change { kind: &call.kind, subresource: "", manager: Some(&manager), now: call.now, dry_run: false };
    for _ in 0..ATTEMPTS {
        let entry =
            call.api.store.get(&call.key()).ok_or_else(|| ApiError::not_found(&call.kind, &call.name))?;
        let old = object::decode(&entry)?;
        let mut new = old.clone();
        new["spec"]["finalizers"] = match &object["spec"]["finalizers"] {
            Value::Null => serde_json::json!([]),
            list => list.clone(),
        };
        match commit::replace(&call.api, &change, (&entry, &old), new).await {
            Ok(outcome) => return present::one(call, StatusCode::OK, outcome.text()),
            Err(CommitError::Refused(error)) => return Err(error),
            Err(CommitError::Stale) => {}
        }
    }
    Err(ApiError::modified(&call.kind, &call.name))
}
