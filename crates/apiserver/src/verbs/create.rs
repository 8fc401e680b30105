//! create

use axum::body::Body;
use buildplane_apimachinery::names;
use http::{Response, StatusCode};
use rand::Rng as _;
use serde_json::Value;

use crate::call::Call;
use crate::error::{ApiError, ApiResult};
use crate::object;
use crate::verbs::commit::{self, Change};
use crate::verbs::{admit, incoming, present};

/// Letters Kubernetes makes generated names of: no vowels, so no words.
const SUFFIX: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// How often another generated name is tried when one is taken.
const ATTEMPTS: usize = 8;

pub(crate) async fn create(call: &mut Call, body: Body) -> ApiResult<Response<Body>> {
    if !call.name.is_empty() || !call.subresource.is_empty() {
        return Err(ApiError::method_not_allowed());
    }
    if call.kind.namespaced && call.namespace.is_none() {
        return Err(ApiError::method_not_allowed());
    }
    let dry_run = call.query.dry_run()?;
    let mut object = incoming::read(call, body).await?;
    admit::address(call, &mut object)?;
    if !object::meta_str(&object, "resourceVersion").is_empty() {
        return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
    }
    let manager = call.manager()?.to_owned();
    let change =
        Change { kind: &call.kind, subresource: "", manager: Some(&manager), now: call.now, dry_run };
    let base = object::meta_str(&object, "generateName").to_owned();
    let generated = object::name(&object).is_empty() && !base.is_empty();
    let mut attempts = 1..=ATTEMPTS;
    loop {
        let mut candidate = object.clone();
        if generated {
            let name = names::generated_name(&base, &suffix());
            object::metadata_mut(&mut candidate).insert("name".into(), Value::from(name));
        }
        crate::auth::no_escalation(call, &candidate)?;
        attempts.next();
        match commit::create(&call.api, &change, candidate).await {
            Ok(text) => return present::one(call, StatusCode::CREATED, &text),
            Err(error) if generated && error.reason == "AlreadyExists" && !attempts.is_empty() => {}
            Err(error) => return Err(error),
        }
    }
}

fn suffix() -> String {
    let mut random = rand::rng();
    (0..5).map(|_| char::from(SUFFIX[random.random_range(0..SUFFIX.len())])).collect()
}
