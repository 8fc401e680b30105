use serde_json::json;

use super::*;

fn labels(project: &str, component: &str) -> BTreeMap<String, String> {
    [(label::PROJECT, project), (label::COMPONENT, component)]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into()
}

fn produced() -> Value {
    json!({
        "apiVersion": API_VERSION,
        "kind": "Workload",
        "metadata": {"name": "greeter", "namespace": "kube-system", "finalizers": ["x"], "labels": {"a": "b"},
            "ownerReferences": [{}]},
        "spec": {
            "owner": {"projectName": "shop", "componentName": "greeter"},
            "container": {"image": "registry/greeter@sha256:0"},
            "endpoints": {"http": {"type": "HTTP", "port": 80}},
        },
        "status": {"conditions": []},
    })
}

#[test]
fn name_labels_and_spec_are_taken_and_nothing_else() {
    let workload = judge_workload(&produced(), &labels("shop", "greeter"), "org").expect("taken");
    assert_eq!(workload.metadata.namespace.as_deref(), Some("org"));
    assert_eq!(workload.metadata.finalizers, None);
    assert_eq!(workload.metadata.owner_references, None);
    assert_eq!(workload.status, None);
    let object = serde_json::to_value(&workload).expect("serializes");
    assert_eq!(object["spec"]["endpoints"]["http"]["port"], 80);
    assert_eq!(object["metadata"]["labels"]["a"], "b");
}

#[test]
fn a_build_stores_its_own_workload_alone() {
    let refused =
        |labels: &BTreeMap<String, String>| judge_workload(&produced(), labels, "org").expect_err("refused");
    assert_eq!(refused(&BTreeMap::new()), WorkloadRefusal::NoComponent);
    for (project, component) in [("shop", "other"), ("other", "greeter"), ("", "")] {
        assert!(matches!(refused(&labels(project, component)), WorkloadRefusal::ForeignComponent { .. }));
    }
}

#[test]
fn what_is_no_workload_is_refused() {
    let change = |pointer: &str, value: Value| {
        let mut object = produced();
        if let Some(place) = object.pointer_mut(pointer) {
            *place = value;
        }
        object
    };
    for object in [
        json!(null),
        json!([]),
        change("/kind", json!("Secret")),
        change("/apiVersion", json!("v1")),
        change("/metadata/name", json!("a/b")),
        change("/metadata/name", json!(1)),
        change("/spec", json!("x")),
        change("/spec/owner", json!({"projectName": "shop"})),
    ] {
        assert!(judge_workload(&object, &labels("shop", "greeter"), "org").is_err(), "{object}");
    }
}
