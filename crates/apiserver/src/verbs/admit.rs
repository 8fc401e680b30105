//! Whether an object may be written: namespace, fields, rules.

use buildplane_apimachinery::schema::Previous;
use serde_json::Value;

use crate::call::Call;
use crate::error::{ApiError, ApiResult};
use crate::kinds::{Kind, rules};
use crate::object;
use crate::server::Api;

/// The namespace an object is created in must be there and not on its way out.
pub(crate) fn namespace(api: &Api, kind: &Kind, namespace: Option<&str>, name: &str) -> ApiResult<()> {
    let Some(namespace) = namespace else { return Ok(()) };
    let entry = api
        .store
        .get(&format!("/core/namespaces/{namespace}"))
        .ok_or_else(|| ApiError::namespace_not_found(namespace))?;
    // Nearly every namespace says nowhere that it is being deleted: no need to parse it then.
    if object::mentions_deletion(&entry.value) && object::is_deleting(&object::decode(&entry)?) {
        return Err(ApiError::namespace_terminating(kind, name, namespace));
    }
    Ok(())
}

/// Fills in defaults: the schema's, then the kind's own.
pub(crate) fn default(kind: &Kind, object: &mut Value) {
    kind.schema().default(object);
    if !kind.is_custom() {
        rules::default(kind, object);
    }
}

/// What may not be, as a 422.
pub(crate) fn validate(kind: &Kind, old: Option<&Value>, new: &Value) -> ApiResult<()> {
    let mut errors = rules::validate(kind, new);
    match old {
        Some(old) => errors.extend(rules::immutable(kind, old, new)),
        None => errors.extend(rules::creation(kind, new)),
    }
    errors.extend(kind.schema().judge(new, old.map_or(Previous::Absent, Previous::Object)));
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(kind, object::name(new), &errors)) }
}

/// An object of this size is not stored.
pub(crate) fn size(call_limit: usize, size: usize) -> ApiResult<()> {
    if size > call_limit {
        return Err(ApiError::new(
            http::StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLarge",
            format!("Request entity too large: the object has {size} bytes, limit is {call_limit}"),
        ));
    }
    Ok(())
}

/// Namespace and name of the body must be those of the request.
pub(crate) fn address(call: &Call, object: &mut Value) -> ApiResult<()> {
    let metadata = object::metadata_mut(object);
    let named = metadata.get("namespace").and_then(Value::as_str).unwrap_or_default().to_owned();
    match &call.namespace {
        Some(namespace) if named.is_empty() => {
            metadata.insert("namespace".into(), namespace.clone().into());
        }
        Some(namespace) if named != *namespace => {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        Some(_) => {}
        None if named.is_empty() => {
            metadata.remove("namespace");
        }
        None => {
            return Err(ApiError::bad_request("namespace should be empty for cluster-scoped resources"));
        }
    }
    if call.name.is_empty() {
        return Ok(());
    }
    let name = metadata.get("name").and_then(Value::as_str).unwrap_or_default();
    if name.is_empty() {
        metadata.insert("name".into(), call.name.clone().into());
    } else if name != call.name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            call.name
        )));
    }
    Ok(())
}
