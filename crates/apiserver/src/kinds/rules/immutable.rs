//! What may not change once an object exists.

use buildplane_apimachinery::field::FieldError;
use serde_json::Value;

use crate::kinds::{CRD_GROUP, Kind, RBAC_GROUP};
use crate::object;

const IMMUTABLE: &str = "field is immutable";

/// The forbidden differences between the stored object and the one to replace it.
pub(crate) fn immutable(kind: &Kind, old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if object::is_deleting(new) {
        let added: Vec<_> =
            object::finalizers(new).into_iter().filter(|f| !object::finalizers(old).contains(f)).collect();
        if !added.is_empty() {
            let why = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers {added:?}"
            );
            errors.push(FieldError::forbidden("metadata.finalizers", why));
        }
    }
    match (kind.group.as_str(), kind.plural.as_str()) {
        ("", "secrets") => {
            if old["type"] != new["type"] {
                errors.push(FieldError::invalid("type", new["type"].clone(), IMMUTABLE));
            }
            data(old, new, &["data"], &mut errors);
        }
        ("", "configmaps") => data(old, new, &["data", "binaryData"], &mut errors),
        ("", "pods") => pod(old, new, &mut errors),
        ("", "persistentvolumeclaims") => claim(old, new, &mut errors),
        (RBAC_GROUP, "rolebindings" | "clusterrolebindings") if old["roleRef"] != new["roleRef"] => {
            errors.push(FieldError::invalid("roleRef", new["roleRef"].clone(), "cannot change roleRef"));
        }
        (CRD_GROUP, "customresourcedefinitions") => {
            for field in ["group", "scope"] {
                if old["spec"][field] != new["spec"][field] {
                    let path = format!("spec.{field}");
                    errors.push(FieldError::invalid(path, new["spec"][field].clone(), IMMUTABLE));
                }
            }
        }
        _ => {}
    }
    errors
}

fn data(old: &Value, new: &Value, fields: &[&str], errors: &mut Vec<FieldError>) {
    if old["immutable"] != true {
        return;
    }
    let why = "field is immutable when `immutable` is set";
    if new["immutable"] != true {
        errors.push(FieldError::forbidden("immutable", why));
    }
    for field in fields {
        if old[*field] != new[*field] {
            errors.push(FieldError::forbidden(*field, why));
        }
    }
}

fn pod(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let fixed = |object: &Value| {
        let mut spec = object["spec"].clone();
        for field in ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "nodeName"] {
            if let Some(spec) = spec.as_object_mut() {
                spec.remove(field);
            }
        }
        for list in ["containers", "initContainers"] {
            for container in spec[list].as_array_mut().into_iter().flatten() {
                container["image"] = Value::Null;
            }
            if spec[list].is_null()
                && let Some(spec) = spec.as_object_mut()
            {
                spec.remove(list);
            }
        }
        spec
    };
    if fixed(old) != fixed(new) {
        let why = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
        errors.push(FieldError::forbidden("spec", why));
    }
    let named = |object: &Value| object["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
    if !named(old).is_empty() && named(old) != named(new) {
        errors.push(FieldError::forbidden("spec.nodeName", "the pod is bound to a node"));
    }
}

fn claim(old: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    let fixed = |object: &Value| {
        let mut spec = object["spec"].clone();
        if let Some(spec) = spec.as_object_mut() {
            spec.remove("resources");
            spec.remove("volumeName");
        }
        spec
    };
    if fixed(old) != fixed(new) {
        let why = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        errors.push(FieldError::forbidden("spec", why));
    }
}
