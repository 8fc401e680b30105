//! The schemas of real built-in kinds, as `k8s-openapi` describes them.

#![expect(clippy::unwrap_used, reason = "malformed test data fails the test")]

use buildplane_apimachinery::managed::{self, OnConflict, Scope, Writer};
use buildplane_apimachinery::patch;
use buildplane_apimachinery::schema::{Previous, Schema};
use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

fn schema_of<K: schemars::JsonSchema>() -> Schema {
    let document = SchemaSettings::openapi3().into_generator().into_root_schema_for::<K>();
    Schema::from_document(&document.to_value(), "").unwrap()
}

fn writer(manager: &str) -> Writer<'_> {
    Writer { manager, api_version: "v1", subresource: "", time: Timestamp::UNIX_EPOCH }
}

fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "namespace": "n", "labels": {"app": "x"}, "creationTimestamp": null},
        "spec": {
            "containers": [{
                "name": "main", "image": "busybox",
                "ports": [{"containerPort": 80}],
                "env": [{"name": "A", "value": "1"}],
                "resources": {"limits": {"cpu": 1, "memory": "1Gi"}},
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            }],
            "volumes": [{"name": "v", "emptyDir": {}}],
        },
        "status": {},
    })
}

#[test]
fn a_pod_passes_through_its_schema() {
    let schema = schema_of::<core::Pod>();
    let mut object = pod();
    assert_eq!(schema.prune(&mut object), [""; 0]);
    schema.default(&mut object);
    assert_eq!(object["metadata"].get("creationTimestamp"), None);
    assert_eq!(object["spec"]["containers"][0]["ports"][0], json!({"containerPort": 80, "protocol": "TCP"}));
    assert_eq!(schema.validate(&object, Previous::Absent), []);

    object["spec"]["containers"][0]["imaeg"] = json!("typo");
    object["spec"]["containers"][0]["image"] = json!(1);
    object["spec"]["containers"][0].as_object_mut().unwrap().remove("name");
    assert_eq!(schema.prune(&mut object), ["spec.containers[0].imaeg"]);
    let errors: Vec<String> =
        schema.validate(&object, Previous::Absent).iter().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            "spec.containers[0].name: Required value",
            r#"spec.containers[0].image: Invalid value: "integer": spec.containers[0].image in body must be of type string: "integer""#,
        ]
    );
}

#[test]
fn applied_pods_are_owned_by_key() {
    let schema = schema_of::<core::Pod>();
    let applied =
        managed::apply(None, &pod(), &writer("kubectl"), OnConflict::Fail, &schema, Scope::ExceptStatus)
            .unwrap();
    let entry = &applied.object["metadata"]["managedFields"][0];
    assert_eq!(
        entry["fieldsV1"],
        json!({
            "f:metadata": {"f:labels": {"f:app": {}}},
            "f:spec": {
                "f:containers": {r#"k:{"name":"main"}"#: {
                    ".": {}, "f:name": {}, "f:image": {},
                    "f:env": {r#"k:{"name":"A"}"#: {".": {}, "f:name": {}, "f:value": {}}},
                    "f:ports": {r#"k:{"containerPort":80,"protocol":"TCP"}"#: {".": {}, "f:containerPort": {}}},
                    "f:resources": {"f:limits": {"f:cpu": {}, "f:memory": {}}},
                    "f:volumeMounts": {r#"k:{"mountPath":"/v"}"#: {".": {}, "f:name": {}, "f:mountPath": {}}},
                }},
                "f:volumes": {r#"k:{"name":"v"}"#: {".": {}, "f:name": {}, "f:emptyDir": {}}},
            },
        })
    );
}

#[test]
fn the_documented_patch_adds_a_container_in_front() {
    let schema = schema_of::<k8s_openapi::api::apps::v1::Deployment>();
    let deployment = |containers: Value| {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "spec": {"replicas": 2, "template": {"spec": {
                "containers": containers, "tolerations": [{"key": "dedicated", "effect": "NoSchedule"}],
            }}},
        })
    };
    let nginx = json!({"name": "patch-demo-ctr", "image": "nginx"});
    let redis = json!({"name": "patch-demo-ctr-2", "image": "redis"});
    let live = deployment(json!([nginx]));
    let change = |spec: Value| json!({"spec": {"template": {"spec": spec}}});
    let patched = patch::strategic_merge(&live, &change(json!({"containers": [redis]})), &schema).unwrap();
    assert_eq!(patched, deployment(json!([redis, nginx])));
    // The documentation's counterpart: tolerations have no merge key and are replaced.
    let tolerations = json!([{"key": "disktype", "value": "ssd"}]);
    let patched =
        patch::strategic_merge(&live, &change(json!({"tolerations": tolerations})), &schema).unwrap();
    assert_eq!(patched["spec"]["template"]["spec"]["tolerations"], tolerations);
    let merged = patch::merge_patch(&live, &change(json!({"containers": [redis]}))).unwrap();
    assert_eq!(merged, deployment(json!([redis])));
}

#[test]
fn recursive_definitions_are_served() {
    let schema = schema_of::<apiextensions::CustomResourceDefinition>();
    let mut object = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "x-kubernetes-preserve-unknown-fields": true,
                    "properties": {
                        "spec": {
                            "type": "object",
                            "properties": {
                                "list": {
                                    "type": "array", "default": [1, {"any": "thing"}],
                                    "items": {"x-kubernetes-int-or-string": true, "enum": [1, "a"]},
                                },
                                "map": {"type": "object", "additionalProperties": {"type": "string"}},
                                "open": {"type": "object", "additionalProperties": true},
                            },
                        },
                    },
                }},
            }],
        },
    });
    let before = object.clone();
    assert_eq!(schema.prune(&mut object), [""; 0]);
    schema.default(&mut object);
    assert_eq!(object, before);
    assert_eq!(schema.validate(&object, Previous::Absent), []);
    let spec = &mut object["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    spec["tpye"] = json!("object");
    spec["properties"]["list"]["items"]["mxaLength"] = json!(1);
    assert_eq!(
        schema.prune(&mut object),
        [
            "spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.list.items.mxaLength",
            "spec.versions[0].schema.openAPIV3Schema.properties.spec.tpye",
        ]
    );
}

#[test]
fn finalizers_and_owner_references_merge_without_a_conflict() {
    let schema = schema_of::<core::ConfigMap>();
    let with = |finalizer: &str, uid: &str| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": "c",
                "finalizers": [finalizer],
                "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid}],
            },
        })
    };
    let apply = |live: Option<&Value>, manager: &str, body: &Value| {
        managed::apply(live, body, &writer(manager), OnConflict::Fail, &schema, Scope::Whole).unwrap().object
    };
    let first = apply(None, "a", &with("x/a", "1"));
    let both = apply(Some(&first), "b", &with("x/b", "2"));
    assert_eq!(both["metadata"]["finalizers"], json!(["x/a", "x/b"]));
    assert_eq!(both["metadata"]["ownerReferences"].as_array().unwrap().len(), 2);
}
