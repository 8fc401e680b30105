//! Reading and writing manifests: nothing is lost, and what is wrong is named by its path.

use buildplane_argo::{AnyString, ClusterWorkflowTemplate, Workflow};
use serde_json::{Value, json};

fn workflow(spec: &Value) -> Workflow {
    serde_json::from_value(json!({"metadata": {"name": "wf"}, "spec": spec})).expect("a workflow")
}

#[test]
fn objects_round_trip_with_fields_nobody_knows() {
    let manifest = json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": "wf", "namespace": "ns"},
        "spec": {"entrypoint": "main", "future": {"x": [1, 2]}},
        "status": {"phase": "Running", "later": true},
        "aside": "kept",
    });
    let object: Workflow = serde_json::from_value(manifest.clone()).unwrap();
    assert_eq!(serde_json::to_value(&object).unwrap(), manifest);
}

#[test]
fn typed_forms_round_trip_with_fields_nobody_knows() {
    let spec = json!({
        "entrypoint": "main",
        "arguments": {"parameters": [{"name": "p", "value": "1", "mystery": 1}]},
        "templates": [{
            "name": "main",
            "container": {"image": "i", "command": ["sh"], "livenessProbe": {}},
            "outputs": {"parameters": [{"name": "o", "valueFrom": {"path": "/tmp/o", "odd": 1}}]},
            "sidecars": [],
        }],
        "hostNetwork": true,
    });
    let typed = workflow(&spec).spec().unwrap();
    assert_eq!(serde_json::to_value(&typed).unwrap(), spec);
    let names: Vec<_> = typed.other.keys().chain(typed.templates[0].other.keys()).collect();
    assert_eq!(names, ["hostNetwork", "sidecars"]);
}

#[test]
fn malformed_fields_are_named_by_path() {
    for (spec, path) in [
        (json!({"entrypoint": 5}), "spec.entrypoint"),
        (json!({"templates": {}}), "spec.templates"),
        (json!({"templates": [{"name": "a"}, {"name": {"x": 1}}]}), "spec.templates[1].name"),
        (json!({"templates": [{"steps": [[{"name": []}]]}]}), "spec.templates[0].steps[0][0].name"),
        (json!({"templates": [{"script": {"source": [], "image": "x"}}]}), "spec.templates[0].script.source"),
        (
            json!({"arguments": {"parameters": [{"name": "p", "value": {}}]}}),
            "spec.arguments.parameters[0].value",
        ),
        (json!([]), "spec"),
        (Value::Null, "spec"),
    ] {
        let error = workflow(&spec).spec().unwrap_err();
        assert_eq!(error.path(), path, "{spec}: {error}");
    }
}

#[test]
fn values_become_the_text_that_argo_makes_of_them() {
    for (value, text) in [
        (json!("a b"), "a b"),
        (json!(8080), "8080"),
        (json!(1.0), "1"),
        (json!(1.5), "1.5"),
        (json!(9_007_199_254_740_993_i64), "9007199254740993"),
        (json!(true), "true"),
    ] {
        assert_eq!(serde_json::from_value::<AnyString>(value).unwrap().as_str(), text);
    }
}

#[test]
fn templates_of_clusters_are_read_the_same_way() {
    let object: ClusterWorkflowTemplate = serde_json::from_value(json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "ClusterWorkflowTemplate",
        "metadata": {"name": "t"}, "spec": {"templates": [{"name": "a", "inputs": null}]},
    }))
    .unwrap();
    assert_eq!(object.spec().unwrap().templates[0].name, "a");
}
