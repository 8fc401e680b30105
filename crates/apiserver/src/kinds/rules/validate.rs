//! Rules of the built-in kinds that their schemas do not say.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use buildplane_apimachinery::field::FieldError;
use buildplane_apimachinery::names;
use serde_json::Value;

use crate::kinds::{CRD_GROUP, Kind, RBAC_GROUP, crd};
use crate::object;

const MAX_DATA: usize = 1 << 20;

/// What is wrong with the object's name, as its kind has it.
pub(crate) fn name_errors(kind: &Kind, name: &str) -> Vec<String> {
    match (kind.group.as_str(), kind.plural.as_str()) {
        ("", "namespaces") => names::dns1123_label(name),
        (RBAC_GROUP, _) => names::path_segment(name),
        _ => names::dns1123_subdomain(name),
    }
}

/// What is wrong with a complete object, its metadata included.
pub(crate) fn validate(kind: &Kind, object: &Value) -> Vec<FieldError> {
    let mut errors = metadata(kind, object);
    match (kind.group.as_str(), kind.plural.as_str()) {
        ("", "secrets") => secret(object, &mut errors),
        ("", "configmaps") => config_map(object, &mut errors),
        ("", "pods") => pod(object, &mut errors),
        ("coordination.k8s.io", "leases") => lease(object, &mut errors),
        (RBAC_GROUP, "rolebindings" | "clusterrolebindings") => binding(kind, object, &mut errors),
        (RBAC_GROUP, "roles" | "clusterroles") => rules(kind, object, &mut errors),
        (CRD_GROUP, "customresourcedefinitions") => errors.extend(crd::validate(object)),
        _ => {}
    }
    errors
}

/// What is wrong with an object besides, at its creation alone.
pub(crate) fn creation(kind: &Kind, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if kind.plural == "events" && matches!(kind.group.as_str(), "" | "events.k8s.io") {
        event(kind, object, &mut errors);
    }
    errors
}

/// An Event in the form of the core group, in which it is stored; events.k8s.io asks for more.
fn event(kind: &Kind, object: &Value, errors: &mut Vec<FieldError>) {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let (namespace, of) =
        (object::namespace(object), object["involvedObject"]["namespace"].as_str().unwrap_or_default());
    // What has no namespace is told of in one of the cluster's own.
    let fits = if of.is_empty() { matches!(namespace, "default" | "kube-system") } else { of == namespace };
    if !fits {
        errors.push(FieldError::invalid("involvedObject.namespace", of, "does not match event.namespace"));
    }
    if kind.group.is_empty() {
        return;
    }
    if object["eventTime"].is_null() {
        errors.push(FieldError::required("eventTime", ""));
    }
    let wanted = [
        ("reportingController", text("reportingComponent")),
        ("reportingInstance", text("reportingInstance")),
    ];
    for (field, value) in wanted.into_iter().chain(["action", "reason"].map(|field| (field, text(field)))) {
        if value.is_empty() {
            errors.push(FieldError::required(field, ""));
        } else if value.len() > 128 {
            errors.push(FieldError::too_long(field, 128));
        }
    }
    let type_ = text("type");
    if !matches!(type_, "Normal" | "Warning") {
        errors.push(FieldError::invalid("type", type_, "has invalid value: must be Normal or Warning"));
    }
    if text("message").len() > 1024 {
        errors.push(FieldError::too_long("message", 1024));
    }
}

fn lease(object: &Value, errors: &mut Vec<FieldError>) {
    let spec = &object["spec"];
    let number = |field: &str| spec[field].as_i64();
    if let Some(seconds) = number("leaseDurationSeconds").filter(|seconds| *seconds <= 0) {
        errors.push(FieldError::invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"));
    }
    if let Some(n) = number("leaseTransitions").filter(|n| *n < 0) {
        errors.push(FieldError::invalid("spec.leaseTransitions", n, "must be greater than or equal to 0"));
    }
}

fn metadata(kind: &Kind, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let name = object::name(object);
    if name.is_empty() {
        errors.push(FieldError::required("metadata.name", "name or generateName is required"));
    } else {
        errors.extend(names::as_errors("metadata.name", name, &name_errors(kind, name)));
    }
    let Some(metadata) = object::metadata(object) else { return errors };
    if let Some(labels) = metadata.get("labels").and_then(Value::as_object) {
        errors.extend(names::labels("metadata.labels", labels));
    }
    if let Some(annotations) = metadata.get("annotations").and_then(Value::as_object) {
        errors.extend(names::annotations("metadata.annotations", annotations));
    }
    for (index, finalizer) in object::finalizers(object).into_iter().enumerate() {
        let problems = names::qualified_name(finalizer);
        errors.extend(names::as_errors(&format!("metadata.finalizers[{index}]"), finalizer, &problems));
        let standard = matches!(finalizer, "orphan" | "foregroundDeletion" | "kubernetes");
        if problems.is_empty() && !finalizer.contains('/') && !standard {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid("metadata.finalizers", finalizer, why));
        }
    }
    let owners = metadata.get("ownerReferences").and_then(Value::as_array);
    for (index, owner) in owners.into_iter().flatten().enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().is_none_or(str::is_empty) {
                let path = format!("metadata.ownerReferences[{index}].{field}");
                errors.push(FieldError::invalid(path, owner[field].clone(), "must not be empty"));
            }
        }
    }
    let controls = |owner: &&Value| owner["controller"] == true;
    if metadata
        .get("ownerReferences")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(controls)
        .count()
        > 1
    {
        let why = "Only one reference can have Controller set to true";
        errors.push(FieldError::invalid(
            "metadata.ownerReferences",
            metadata["ownerReferences"].clone(),
            why,
        ));
    }
    errors
}

fn secret(object: &Value, errors: &mut Vec<FieldError>) {
    let mut total = 0;
    for (key, value) in object["data"].as_object().into_iter().flatten() {
        let field = format!("data[{key}]");
        errors.extend(names::as_errors(&field, key, &names::config_key(key)));
        match STANDARD.decode(value.as_str().unwrap_or_default()) {
            Ok(data) => total += data.len(),
            Err(error) => errors.push(FieldError::invalid(field, value.clone(), error.to_string())),
        }
    }
    if total > MAX_DATA {
        errors.push(FieldError::too_long("data", MAX_DATA as u64));
    }
    let required: &[&str] = match object["type"].as_str().unwrap_or_default() {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        _ => &[],
    };
    for key in required {
        if object["data"].get(key).is_none() {
            errors.push(FieldError::required(format!("data[{key}]"), ""));
        }
    }
}

fn config_map(object: &Value, errors: &mut Vec<FieldError>) {
    let mut total = 0;
    for field in ["data", "binaryData"] {
        for (key, value) in object[field].as_object().into_iter().flatten() {
            errors.extend(names::as_errors(&format!("{field}[{key}]"), key, &names::config_key(key)));
            total += value.as_str().map_or(0, str::len);
        }
    }
    if total > MAX_DATA {
        errors.push(FieldError::too_long("", MAX_DATA as u64));
    }
}

fn pod(object: &Value, errors: &mut Vec<FieldError>) {
    let spec = &object["spec"];
    let containers = spec["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    if containers.is_empty() {
        errors.push(FieldError::required("spec.containers", ""));
    }
    let mut seen = Vec::new();
    for (index, container) in containers.iter().enumerate() {
        let field = format!("spec.containers[{index}]");
        let name = container["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            errors.push(FieldError::required(format!("{field}.name"), ""));
        } else {
            errors.extend(names::as_errors(&format!("{field}.name"), name, &names::dns1123_label(name)));
        }
        if seen.contains(&name) {
            errors.push(FieldError::duplicate(format!("{field}.name"), name));
        }
        seen.push(name);
        if container["image"].as_str().is_none_or(str::is_empty) {
            errors.push(FieldError::required(format!("{field}.image"), ""));
        }
    }
    let policy = spec["restartPolicy"].as_str().unwrap_or_default();
    if !matches!(policy, "Always" | "OnFailure" | "Never") {
        errors.push(FieldError::not_supported(
            "spec.restartPolicy",
            policy,
            ["Always", "OnFailure", "Never"],
        ));
    }
}

fn binding(kind: &Kind, object: &Value, errors: &mut Vec<FieldError>) {
    let role = &object["roleRef"];
    let allowed: &[&str] = if kind.namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    let found = role["kind"].as_str().unwrap_or_default();
    if !allowed.contains(&found) {
        errors.push(FieldError::not_supported("roleRef.kind", found, allowed.iter().copied()));
    }
    if role["name"].as_str().is_none_or(str::is_empty) {
        errors.push(FieldError::required("roleRef.name", ""));
    }
    for (index, subject) in object["subjects"].as_array().into_iter().flatten().enumerate() {
        let field = format!("subjects[{index}]");
        let found = subject["kind"].as_str().unwrap_or_default();
        if !matches!(found, "User" | "Group" | "ServiceAccount") {
            let all = ["ServiceAccount", "User", "Group"];
            errors.push(FieldError::not_supported(format!("{field}.kind"), found, all));
        }
        if subject["name"].as_str().is_none_or(str::is_empty) {
            errors.push(FieldError::required(format!("{field}.name"), ""));
        }
        let homeless = subject["namespace"].as_str().is_none_or(str::is_empty);
        if found == "ServiceAccount" && homeless {
            errors.push(FieldError::required(format!("{field}.namespace"), ""));
        }
    }
}

fn rules(kind: &Kind, object: &Value, errors: &mut Vec<FieldError>) {
    for (index, rule) in object["rules"].as_array().into_iter().flatten().enumerate() {
        let field = format!("rules[{index}]");
        let empty = |name: &str| rule[name].as_array().is_none_or(Vec::is_empty);
        if empty("verbs") {
            errors.push(FieldError::required(
                format!("{field}.verbs"),
                "verbs must contain at least one value",
            ));
        }
        if !empty("nonResourceURLs") {
            if kind.namespaced {
                let why = "namespaced rules cannot apply to non-resource URLs";
                errors.push(FieldError::invalid(
                    format!("{field}.nonResourceURLs"),
                    rule["nonResourceURLs"].clone(),
                    why,
                ));
            }
            continue;
        }
        if empty("apiGroups") {
            let why = "resource rules must supply at least one api group";
            errors.push(FieldError::required(format!("{field}.apiGroups"), why));
        }
        if empty("resources") {
            let why = "resource rules must supply at least one resource";
            errors.push(FieldError::required(format!("{field}.resources"), why));
        }
    }
}
