//! What the OpenAPI of Kubernetes says about lists and maps of the built-in types and `k8s-openapi` leaves out.
//!
//! The definition is named without its `io.k8s.` prefix and package path: `core.v1.Container`.

use serde_json::{Value, json};

use super::model::{ListType, PatchStrategy};

/// How one list property merges.
pub(super) struct ListRule {
    definition: &'static str,
    property: &'static str,
    /// Keys of a map list, `[""]` for a set, empty for an atomic list.
    keys: &'static [&'static str],
    /// `x-kubernetes-patch-merge-key`; empty for none.
    patch_key: &'static str,
    strategy: PatchStrategy,
}

const REPLACE: PatchStrategy = PatchStrategy { merge: false, retain_keys: false };
const MERGE: PatchStrategy = PatchStrategy { merge: true, retain_keys: false };
const MERGE_RETAIN: PatchStrategy = PatchStrategy { merge: true, retain_keys: true };
const SET: &[&str] = &[""];

const fn rule(
    definition: &'static str,
    property: &'static str,
    keys: &'static [&'static str],
    patch_key: &'static str,
    strategy: PatchStrategy,
) -> ListRule {
    ListRule { definition, property, keys, patch_key, strategy }
}

/// Lists that are not atomic, or that strategic merge treats otherwise than by replacing them.
const LISTS: &[ListRule] = &[
    rule("meta.v1.ObjectMeta", "ownerReferences", &["uid"], "uid", MERGE),
    rule("meta.v1.ObjectMeta", "finalizers", SET, "", MERGE),
    rule("meta.v1.LabelSelector", "matchExpressions", &[], "", REPLACE),
    rule("core.v1.PodSpec", "containers", &["name"], "name", MERGE),
    rule("core.v1.PodSpec", "initContainers", &["name"], "name", MERGE),
    rule("core.v1.PodSpec", "ephemeralContainers", &["name"], "name", MERGE),
    rule("core.v1.PodSpec", "volumes", &["name"], "name", MERGE_RETAIN),
    rule("core.v1.PodSpec", "imagePullSecrets", &["name"], "name", MERGE),
    rule("core.v1.PodSpec", "hostAliases", &["ip"], "ip", MERGE),
    rule(
        "core.v1.PodSpec",
        "topologySpreadConstraints",
        &["topologyKey", "whenUnsatisfiable"],
        "topologyKey",
        MERGE,
    ),
    rule("core.v1.PodSpec", "schedulingGates", &["name"], "name", MERGE),
    rule("core.v1.PodSpec", "resourceClaims", &["name"], "name", MERGE_RETAIN),
    rule("core.v1.PodStatus", "conditions", &["type"], "type", MERGE),
    rule("core.v1.PodStatus", "podIPs", &["ip"], "ip", MERGE),
    rule("core.v1.PodStatus", "hostIPs", &[], "ip", MERGE),
    rule("core.v1.PodStatus", "resourceClaimStatuses", &["name"], "name", MERGE_RETAIN),
    rule("core.v1.Container", "ports", &["containerPort", "protocol"], "containerPort", MERGE),
    rule("core.v1.Container", "env", &["name"], "name", MERGE),
    rule("core.v1.Container", "volumeMounts", &["mountPath"], "mountPath", MERGE),
    rule("core.v1.Container", "volumeDevices", &["devicePath"], "devicePath", MERGE),
    rule("core.v1.EphemeralContainer", "ports", &["containerPort", "protocol"], "containerPort", MERGE),
    rule("core.v1.EphemeralContainer", "env", &["name"], "name", MERGE),
    rule("core.v1.EphemeralContainer", "volumeMounts", &["mountPath"], "mountPath", MERGE),
    rule("core.v1.EphemeralContainer", "volumeDevices", &["devicePath"], "devicePath", MERGE),
    rule("core.v1.ContainerStatus", "volumeMounts", &["mountPath"], "mountPath", MERGE),
    rule("core.v1.ResourceRequirements", "claims", &["name"], "", REPLACE),
    rule("core.v1.VolumeResourceRequirements", "claims", &["name"], "", REPLACE),
    rule("core.v1.ServiceAccount", "secrets", &["name"], "name", MERGE),
    rule("core.v1.ServiceSpec", "ports", &["port", "protocol"], "port", MERGE),
    rule("core.v1.ServiceStatus", "conditions", &["type"], "type", MERGE),
    rule("core.v1.NamespaceStatus", "conditions", &["type"], "type", MERGE),
    rule("core.v1.NodeSpec", "podCIDRs", SET, "", MERGE),
    rule("core.v1.NodeStatus", "addresses", &["type"], "type", MERGE),
    rule("core.v1.NodeStatus", "conditions", &["type"], "type", MERGE),
    rule("core.v1.PersistentVolumeClaimStatus", "conditions", &["type"], "type", MERGE),
    rule("core.v1.ReplicationControllerStatus", "conditions", &["type"], "type", MERGE),
    rule("apps.v1.DeploymentStatus", "conditions", &["type"], "type", MERGE),
    rule("apps.v1.DaemonSetStatus", "conditions", &["type"], "type", MERGE),
    rule("apps.v1.ReplicaSetStatus", "conditions", &["type"], "type", MERGE),
    rule("apps.v1.StatefulSetStatus", "conditions", &["type"], "type", MERGE),
    rule("batch.v1.JobStatus", "conditions", &[], "type", MERGE),
    rule("apiextensions.v1.CustomResourceDefinitionStatus", "conditions", &["type"], "", REPLACE),
    rule("apiextensions.v1.JSONSchemaProps", "x-kubernetes-validations", &["rule"], "rule", MERGE),
    rule("apiregistration.v1.APIServiceStatus", "conditions", &["type"], "type", MERGE),
    rule("admissionregistration.v1.MutatingWebhookConfiguration", "webhooks", &["name"], "name", MERGE),
    rule("admissionregistration.v1.ValidatingWebhookConfiguration", "webhooks", &["name"], "name", MERGE),
];

/// Objects that are one value for server-side apply (`x-kubernetes-map-type: atomic`).
const ATOMIC: &[&str] = &[
    "meta.v1.FieldsV1",
    "meta.v1.LabelSelector",
    "meta.v1.OwnerReference",
    "core.v1.ConfigMapKeySelector",
    "core.v1.EndpointAddress",
    "core.v1.EndpointPort",
    "core.v1.FileKeySelector",
    "core.v1.LocalObjectReference",
    "core.v1.NodeSelector",
    "core.v1.NodeSelectorTerm",
    "core.v1.ObjectFieldSelector",
    "core.v1.ObjectReference",
    "core.v1.ResourceFieldSelector",
    "core.v1.ScopeSelector",
    "core.v1.SecretKeySelector",
    "core.v1.SecretReference",
    "core.v1.TopologySelectorTerm",
    "core.v1.TypedLocalObjectReference",
    "rbac.v1.RoleRef",
    "rbac.v1.Subject",
];

/// Types that hold any JSON, whatever their schema says.
const ANY: &[&str] = &["apiextensions.v1.JSON"];

/// Map properties that are one value.
const ATOMIC_PROPERTIES: &[(&str, &str)] = &[
    ("core.v1.PodSpec", "nodeSelector"),
    ("core.v1.ServiceSpec", "selector"),
    ("core.v1.ReplicationControllerSpec", "selector"),
];

/// Defaults of properties that are keys of a list, without which entries could not be told apart.
const KEY_DEFAULTS: &[(&str, &str, &str)] =
    &[("core.v1.ContainerPort", "protocol", "TCP"), ("core.v1.ServicePort", "protocol", "TCP")];

/// `io.k8s.api.core.v1.Container` → `core.v1.Container`.
pub(super) fn short_name(definition: &str) -> &str {
    if !definition.starts_with("io.k8s.") {
        return definition;
    }
    let dots: Vec<usize> = definition.match_indices('.').map(|(at, _)| at).collect();
    match dots.as_slice() {
        [.., group, _, _] => &definition[group + 1..],
        _ => definition,
    }
}

pub(super) fn list_rule(
    definition: &str,
    property: &str,
) -> Option<(ListType, Option<String>, PatchStrategy)> {
    let found = LISTS.iter().find(|rule| rule.definition == definition && rule.property == property)?;
    let list_type = match found.keys {
        [] => ListType::Atomic,
        [""] => ListType::Set,
        keys => ListType::Map(keys.iter().map(ToString::to_string).collect()),
    };
    let patch_key = (!found.patch_key.is_empty()).then(|| found.patch_key.to_owned());
    Some((list_type, patch_key, found.strategy))
}

pub(super) fn is_atomic(definition: &str) -> bool {
    ATOMIC.contains(&definition)
}

pub(super) fn is_any(definition: &str) -> bool {
    ANY.contains(&definition)
}

pub(super) fn is_atomic_property(definition: &str, property: &str) -> bool {
    ATOMIC_PROPERTIES.contains(&(definition, property))
}

pub(super) fn key_default(definition: &str, property: &str) -> Option<Value> {
    KEY_DEFAULTS
        .iter()
        .find(|(of, name, _)| *of == definition && *name == property)
        .map(|(_, _, value)| Value::from(*value))
}

/// `metadata` of custom resources and of embedded resources.
pub(super) fn object_meta() -> Value {
    let text = json!({"type": "string"});
    let number = json!({"type": "integer"});
    let time = json!({"type": "string", "format": "date-time", "nullable": true});
    json!({
        "type": "object",
        "properties": {
            "name": text, "generateName": text, "namespace": text, "selfLink": text, "uid": text,
            "resourceVersion": text, "generation": number, "creationTimestamp": time, "deletionTimestamp": time,
            "deletionGracePeriodSeconds": number,
            "labels": {"type": "object", "additionalProperties": text},
            "annotations": {"type": "object", "additionalProperties": text},
            "finalizers": {
                "type": "array", "items": text,
                "x-kubernetes-list-type": "set", "x-kubernetes-patch-strategy": "merge",
            },
            "ownerReferences": {
                "type": "array",
                "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["uid"],
                "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "uid",
                "items": {
                    "type": "object",
                    "x-kubernetes-map-type": "atomic",
                    "required": ["apiVersion", "kind", "name", "uid"],
                    "properties": {
                        "apiVersion": text, "kind": text, "name": text, "uid": text,
                        "controller": {"type": "boolean"}, "blockOwnerDeletion": {"type": "boolean"},
                    },
                },
            },
            "managedFields": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "manager": text, "operation": text, "apiVersion": text, "time": time, "fieldsType": text,
                        "fieldsV1": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                        "subresource": text,
                    },
                },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_named_by_group_version_and_kind() {
        assert_eq!(short_name("io.k8s.api.core.v1.Container"), "core.v1.Container");
        assert_eq!(short_name("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"), "meta.v1.ObjectMeta");
        assert_eq!(short_name("dev.openchoreo.BuildPlane"), "dev.openchoreo.BuildPlane");
    }
}
