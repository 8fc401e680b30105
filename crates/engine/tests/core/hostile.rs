//! Manifests nobody should write: each ends in an Error that says why, at once.

use serde_json::{Value, json};

use crate::world::{Crash, Script, World};

/// Runs a workflow with this spec and answers phase and message.
fn end(spec: &Value) -> (String, String) {
    end_of(&json!({"metadata": {"name": "wf"}, "spec": spec}))
}

fn end_of(workflow: &Value) -> (String, String) {
    let script = Script { workflow: workflow.clone(), templates: vec![], events: vec![] };
    let world = World::play(&script, Crash::Never);
    assert!(world.pods.is_empty() || world.workflow["status"]["phase"] != "Error", "{}", world.log);
    let text = |field: &str| world.workflow["status"][field].as_str().unwrap_or_default().to_owned();
    (text("phase"), text("message"))
}

fn leaf() -> Value {
    json!({"name": "leaf", "container": {"image": "buildplane/tools"}})
}

fn with(template: &Value) -> Value {
    json!({"entrypoint": "main", "templates": [template, leaf()]})
}

fn steps(step: &Value) -> Value {
    with(&json!({"name": "main", "steps": [[step]]}))
}

fn container(fields: &Value) -> Value {
    let mut container = json!({"image": "buildplane/tools"});
    for (field, value) in fields.as_object().into_iter().flatten() {
        container[field] = value.clone();
    }
    with(&json!({"name": "main", "container": container}))
}

/// Each specification ends in an Error whose message contains the text.
fn check(cases: &[(Value, &str)]) {
    for (spec, expected) in cases {
        let (phase, message) = end(spec);
        assert_eq!(phase, "Error", "{spec}");
        assert!(message.contains(expected), "{spec}\nsays {message}\nwanted {expected}");
        assert!(message.len() < 500, "{} bytes: {message}", message.len());
    }
}

fn whole(field: &str, value: &Value) -> Value {
    let mut spec = json!({"entrypoint": "leaf", "templates": [leaf()]});
    spec[field] = value.clone();
    spec
}

#[test]
fn workflows_that_cannot_run_say_why() {
    check(&[
        (json!(null), "spec: is missing"),
        (json!([]), "spec"),
        (json!({}), "spec.entrypoint"),
        (json!({"entrypoint": 7}), "spec.entrypoint"),
        (json!({"entrypoint": "gone"}), "template \"gone\" not found in workflow: there are no templates"),
        (whole("entrypoint", &json!("gone")), "there is leaf"),
        (whole("templates", &json!([leaf(), leaf()])), "\"leaf\" is there twice"),
        (whole("hostNetwork", &json!(true)), "spec.hostNetwork is not supported"),
        (whole("shutdown", &json!("Now")), "spec.shutdown: \"Now\" is none of"),
        (json!({"workflowTemplateRef": {"name": "gone"}}), "WorkflowTemplate \"gone\" not found"),
        (whole("arguments", &json!({"parameters": [{"name": "p"}]})), "p: was not supplied"),
        (
            whole("arguments", &json!({"parameters": [{"name": "p", "value": "x".repeat(300_000)}]})),
            "longer than 262144 bytes",
        ),
        (
            whole("arguments", &json!({"parameters": [{"name": "p", "value": "z", "enum": ["x", "y"]}]})),
            "none of the allowed values (x, y)",
        ),
        (
            with(
                &json!({"name": "main", "inputs": {"parameters": [{"name": "p"}]}, "container": {"image": "i"}}),
            ),
            "needs the parameter \"p\"",
        ),
    ]);
}

#[test]
fn templates_that_cannot_run_say_why() {
    let suspended = json!({"name": "main", "suspend": {}, "container": {"image": "i"}, "steps": []});
    let volumes = json!({"name": "main", "volumes": [{"name": "h", "hostPath": {"path": "/"}}], "container": {"image": "i"}});
    let circle = json!({"name": "main", "dag": {"tasks": [
        {"name": "a", "template": "leaf", "dependencies": ["b"]},
        {"name": "b", "template": "leaf", "dependencies": ["a"]},
    ]}});
    check(&[
        (with(&json!({"name": "main"})), "templates.main: has nothing to run"),
        (with(&suspended), "templates.main.suspend is not supported"),
        (with(&json!({"name": "main", "container": {"image": "i"}, "steps": []})), "container and steps"),
        (
            with(&json!({"name": "main", "resource": {"action": "create"}})),
            "templates.main.resource is not supported",
        ),
        (with(&json!({"name": "../main", "container": {}})), "spec.entrypoint"),
        (with(&volumes), "volumes[0].hostPath is not supported"),
        (with(&circle), "wait for each other (a, b)"),
        (container(&json!({"image": ""})), "templates.main.container.image: is missing"),
        (
            container(&json!({"args": ["{{inputs.parameters.x}}"]})),
            "templates.main.container.args[0]: {{inputs.parameters.x}}",
        ),
        (
            container(&json!({"args": ["{{workflow.parameters.x}}"]})),
            "{{workflow.parameters.x}} cannot be resolved",
        ),
        (container(&json!({"args": ["{{=1+1}}"]})), "is an expression"),
        (container(&json!({"args": [1]})), "templates[0].container.args[0]"),
        (container(&json!({"env": [{"name": "A", "value": 1}]})), "env[0].value: must be a string"),
        (container(&json!({"lifecycle": {"preStop": {}}})), "container.lifecycle is not supported"),
        (
            container(&json!({"volumeMounts": [{"name": "gone", "mountPath": "/x"}]})),
            "there is no volume \"gone\"",
        ),
    ]);
}

#[test]
fn steps_that_cannot_run_say_why() {
    let result = json!({"parameters": [{"name": "p", "value": "{{steps.b.outputs.result}}"}]});
    let gone = json!({"name": "gone", "template": "t", "clusterScope": true});
    check(&[
        (steps(&json!({"name": "a"})), "neither template nor templateRef"),
        (steps(&json!({"name": "a", "template": "gone"})), "\"gone\" not found"),
        (steps(&json!({"name": "a", "templateRef": gone})), "ClusterWorkflowTemplate \"gone\" not found"),
        (steps(&json!({"name": "a/b", "template": "leaf"})), "\"a/b\" is no name"),
        (steps(&json!({"name": "a", "template": "leaf", "when": "a = b"})), "condition `a = b` is not valid"),
        (
            steps(&json!({"name": "a", "template": "leaf", "hooks": {"exit": {"template": "leaf"}}})),
            "hooks is not supported",
        ),
        (steps(&json!({"name": "a", "template": "leaf", "arguments": result})), "only output parameters"),
        (steps(&json!({"name": "a", "template": "leaf", "withItems": vec![0; 1001]})), "1001 members"),
        (
            with(&json!({"name": "main", "steps": [[{"name": "again", "template": "main"}]]})),
            "more than 32 deep",
        ),
    ]);
}

#[test]
fn growth_is_bounded() {
    // Eight levels of ten are a hundred million.
    let mut templates = vec![leaf()];
    for level in 0..8 {
        let next = if level == 7 { "leaf".to_owned() } else { format!("level{}", level + 1) };
        let step = json!({"name": "s", "template": next, "withItems": vec![0; 10]});
        templates.push(json!({"name": format!("level{level}"), "steps": [[step]]}));
    }
    let (phase, message) = end(&json!({"entrypoint": "level0", "templates": templates}));
    assert_eq!(phase, "Error");
    assert!(message.contains("more than the 2000 nodes"), "{message}");

    let parameter = "x".repeat(200_000);
    let (phase, message) = end(&json!({
        "entrypoint": "main",
        "arguments": {"parameters": [{"name": "p", "value": parameter}]},
        "templates": [{"name": "main", "container": {"image": "i", "args": vec!["{{workflow.parameters.p}}"; 6]}}],
    }));
    assert_eq!(phase, "Error");
    assert!(message.contains("makes more than 1048576 bytes"), "{message}");

    let step = json!({"name": "s", "template": "t", "withItems": (0..50).collect::<Vec<_>>(),
        "arguments": {"parameters": [{"name": "p", "value": "{{workflow.parameters.p}}"}]}});
    let (phase, message) = end(&json!({
        "entrypoint": "main",
        "arguments": {"parameters": [{"name": "p", "value": parameter}]},
        "templates": [
            {"name": "main", "steps": [[step]]},
            {"name": "t", "inputs": {"parameters": [{"name": "p"}]}, "container": {"image": "i"}},
        ],
    }));
    assert_eq!(phase, "Error");
    assert!(message.contains("status would be larger"), "{message}");
}

#[test]
fn a_status_somebody_broke_ends_the_workflow() {
    for status in
        [json!({"phase": 5}), json!({"nodes": []}), json!([]), json!({"phase": "Running", "nodes": {"x": 1}})]
    {
        let (phase, message) = end_of(&json!({
            "metadata": {"name": "wf"},
            "spec": {"entrypoint": "leaf", "templates": [leaf()]},
            "status": status,
        }));
        assert_eq!(phase, "Error", "{status}");
        assert!(message.contains("status is unreadable"), "{message}");
    }
}

#[test]
fn names_that_are_too_long_for_labels_are_refused() {
    let name = "w".repeat(64);
    let (phase, message) = end_of(&json!({
        "metadata": {"name": name},
        "spec": {"entrypoint": "leaf", "templates": [leaf()]},
    }));
    assert_eq!(phase, "Error");
    assert!(message.contains("metadata.name"), "{message}");
}

#[test]
fn a_refused_pod_ends_its_node_and_nothing_else() {
    let script = Script {
        workflow: json!({"metadata": {"name": "wf"}, "spec": steps(&json!({"name": "a", "template": "leaf"}))}),
        templates: vec![],
        events: vec![],
    };
    let mut world = World::new(&script, Crash::Never);
    world
        .refused
        .insert(buildplane_argo::names::pod_name("wf", "wf[0].a", "leaf"), "pods is forbidden".to_owned());
    world.settle();
    assert_eq!(world.workflow["status"]["phase"], "Failed");
    assert!(world.log.contains("the pod was refused: pods is forbidden"), "{}", world.log);
}
