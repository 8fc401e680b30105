//! Defaults of the built-in kinds, as users of Kubernetes see them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::kinds::{CRD_GROUP, Kind, RBAC_GROUP, crd};
use crate::object;

/// Fills in what is absent.
pub(crate) fn default(kind: &Kind, object: &mut Value) {
    match (kind.group.as_str(), kind.plural.as_str()) {
        ("", "namespaces") => namespace(object),
        ("", "secrets") => secret(object),
        ("", "pods") => pod(object),
        ("", "persistentvolumeclaims") => claim(object),
        (RBAC_GROUP, "rolebindings" | "clusterrolebindings") => binding(object),
        (CRD_GROUP, "customresourcedefinitions") => crd::default(object),
        _ => {}
    }
}

fn set(object: &mut Map<String, Value>, field: &str, value: impl Into<Value>) {
    if object.get(field).is_none_or(Value::is_null) {
        object.insert(field.to_owned(), value.into());
    }
}

fn child<'a>(object: &'a mut Value, field: &str) -> Option<&'a mut Map<String, Value>> {
    let map = object.as_object_mut()?;
    map.entry(field).or_insert_with(|| json!({})).as_object_mut()
}

fn namespace(object: &mut Value) {
    let name = object::name(object).to_owned();
    if let Some(labels) =
        object::metadata_mut(object).entry("labels").or_insert_with(|| json!({})).as_object_mut()
    {
        labels.insert("kubernetes.io/metadata.name".into(), name.into());
    }
    if let Some(spec) = child(object, "spec") {
        set(spec, "finalizers", json!(["kubernetes"]));
    }
    if let Some(status) = child(object, "status") {
        set(status, "phase", "Active");
    }
}

fn secret(object: &mut Value) {
    let Some(map) = object.as_object_mut() else { return };
    set(map, "type", "Opaque");
    let Some(Value::Object(texts)) = map.remove("stringData") else { return };
    let data = map.entry("data").or_insert_with(|| json!({}));
    if data.is_null() {
        *data = json!({});
    }
    if let Some(data) = data.as_object_mut() {
        for (key, text) in texts {
            data.insert(key, STANDARD.encode(text.as_str().unwrap_or_default()).into());
        }
    }
}

fn claim(object: &mut Value) {
    if let Some(spec) = child(object, "spec") {
        set(spec, "volumeMode", "Filesystem");
    }
    if let Some(status) = child(object, "status") {
        set(status, "phase", "Pending");
    }
}

fn binding(object: &mut Value) {
    if let Some(role) = child(object, "roleRef") {
        set(role, "apiGroup", RBAC_GROUP);
    }
    for subject in object.get_mut("subjects").and_then(Value::as_array_mut).into_iter().flatten() {
        let users = matches!(subject["kind"].as_str(), Some("User" | "Group"));
        if let Some(subject) = subject.as_object_mut().filter(|_| users) {
            set(subject, "apiGroup", RBAC_GROUP);
        }
    }
}

fn pod(object: &mut Value) {
    if let Some(spec) = child(object, "spec") {
        set(spec, "restartPolicy", "Always");
        set(spec, "dnsPolicy", "ClusterFirst");
        set(spec, "terminationGracePeriodSeconds", 30);
        set(spec, "securityContext", json!({}));
        set(spec, "schedulerName", "default-scheduler");
        set(spec, "enableServiceLinks", true);
        set(spec, "priority", 0);
        set(spec, "preemptionPolicy", "PreemptLowerPriority");
        set(spec, "serviceAccountName", "default");
        let account = spec.get("serviceAccountName").cloned().unwrap_or_default();
        set(spec, "serviceAccount", account);
        for list in ["containers", "initContainers"] {
            for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                self::container(container);
            }
        }
        for volume in spec.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten() {
            for source in ["secret", "configMap", "projected", "downwardAPI"] {
                if let Some(source) = volume.get_mut(source).and_then(Value::as_object_mut) {
                    set(source, "defaultMode", 0o644);
                }
            }
        }
    }
    if let Some(status) = child(object, "status") {
        set(status, "phase", "Pending");
        set(status, "qosClass", "BestEffort");
    }
}

fn container(container: &mut Value) {
    let image = container["image"].as_str().unwrap_or_default();
    let tag = image.rsplit('/').next().and_then(|last| last.split_once(':')).map(|(_, tag)| tag);
    let moving = !image.contains('@') && tag.is_none_or(|tag| tag == "latest");
    let Some(map) = container.as_object_mut() else { return };
    set(map, "terminationMessagePath", "/dev/termination-log");
    set(map, "terminationMessagePolicy", "File");
    set(map, "imagePullPolicy", if moving { "Always" } else { "IfNotPresent" });
    set(map, "resources", json!({}));
    for port in map.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(port) = port.as_object_mut() {
            set(port, "protocol", "TCP");
        }
    }
    for variable in map.get_mut("env").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(field) = variable["valueFrom"].get_mut("fieldRef").and_then(Value::as_object_mut) {
            set(field, "apiVersion", "v1");
        }
        if variable["valueFrom"].is_null()
            && let Some(map) = variable.as_object_mut()
        {
            map.remove("valueFrom");
        }
    }
}
