//! What holds for every object that goes to a build plane.

use buildplane_api::CiNamespace;
use buildplane_api::names::is_subdomain;
use serde_json::{Map, Value};

use crate::fold::is_field;
use crate::violation::Violation;

/// A larger object than this is refused before anything else is looked at; an API server takes 1.5 MiB at most.
pub(crate) const MAX_BYTES: usize = 1024 * 1024;

/// What identifies an object.
pub(crate) struct Identity {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
}

/// Judges type and metadata of an object, and puts it into its namespace.
pub(crate) fn judge(
    object: &mut Value,
    path: &str,
    namespace: &CiNamespace,
    violations: &mut Vec<Violation>,
) -> Option<Identity> {
    let Some(fields) = object.as_object_mut() else {
        violations.push(Violation::new(path, "is not an object"));
        return None;
    };
    for doubled in doubled_keys(fields) {
        violations.push(Violation::new(format!("{path}.{doubled}"), "is there twice, in different case"));
    }
    let identity = (text(fields.get("apiVersion")), text(fields.get("kind")));
    let (Some(api_version), Some(kind)) = identity else {
        violations.push(Violation::new(path, "has no apiVersion or no kind"));
        return None;
    };
    let path = format!("{path}.metadata");
    let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) else {
        violations.push(Violation::new(path, "is missing"));
        return None;
    };
    for (key, value) in metadata.iter() {
        let allowed = ["name", "namespace", "labels", "annotations", "creationTimestamp"];
        if !allowed.contains(&key.as_str()) {
            violations
                .push(Violation::new(format!("{path}.{key}"), "may not be set by a template; remove it"));
        } else if matches!(key.as_str(), "labels" | "annotations") && !is_text_map(value) {
            violations.push(Violation::new(format!("{path}.{key}"), "must be a map of texts"));
        }
    }
    metadata.remove("creationTimestamp");
    match metadata.get("namespace") {
        None | Some(Value::Null) => {}
        Some(Value::String(given)) if given == namespace.as_str() => {}
        Some(given) => violations.push(Violation::new(
            format!("{path}.namespace"),
            format!(
                "is {given}, but objects of this run belong into {namespace}; write ${{metadata.namespace}}"
            ),
        )),
    }
    metadata.insert("namespace".to_owned(), Value::String(namespace.as_str().to_owned()));
    let name = text(metadata.get("name")).unwrap_or_default();
    if !is_subdomain(&name) {
        violations.push(Violation::new(
            format!("{path}.name"),
            format!("is {name:?}, which is no name; use lower-case letters, digits, hyphens and dots"),
        ));
        return None;
    }
    Some(Identity { api_version, kind, name })
}

fn text(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).map(ToOwned::to_owned)
}

fn is_text_map(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(entries) => entries.values().all(Value::is_string),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => false,
    }
}

/// The keys that a reader who ignores case would take for one that came before.
pub(crate) fn doubled_keys(fields: &Map<String, Value>) -> Vec<String> {
    let keys: Vec<&String> = fields.keys().collect();
    let is_doubled = |(index, key): (usize, &&String)| {
        keys.iter().take(index).any(|before| is_field(before, key)).then(|| (**key).clone())
    };
    keys.iter().enumerate().filter_map(is_doubled).collect()
}
