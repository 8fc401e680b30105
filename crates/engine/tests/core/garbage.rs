//! Manifests out of a hat: whatever stands where, the core answers, comes to rest and says what is wrong.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::world::{Crash, Script, World};

/// Words that mean something somewhere in a manifest, so that nonsense gets deep.
const WORDS: [&str; 40] = [
    "entrypoint",
    "templates",
    "name",
    "container",
    "script",
    "source",
    "steps",
    "dag",
    "tasks",
    "template",
    "templateRef",
    "arguments",
    "parameters",
    "inputs",
    "outputs",
    "value",
    "default",
    "valueFrom",
    "path",
    "when",
    "withItems",
    "withParam",
    "image",
    "command",
    "args",
    "env",
    "volumes",
    "volumeMounts",
    "volumeClaimTemplates",
    "metadata",
    "spec",
    "retryStrategy",
    "limit",
    "continueOn",
    "dependencies",
    "onExit",
    "podGC",
    "strategy",
    "activeDeadlineSeconds",
    "parallelism",
];

const TEXTS: [&str; 14] = [
    "",
    "a",
    "b",
    "main",
    "1",
    "-1",
    "true",
    "{{",
    "{{inputs.parameters.a}}",
    "{{item}}",
    "{{steps.a.outputs.parameters.b}}",
    "a == b",
    "ü\u{0}",
    "/tmp/x",
];

fn nonsense() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f32>().prop_map(Value::from),
        proptest::sample::select(&TEXTS[..]).prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 5, |inner| {
        let field = (proptest::sample::select(&WORDS[..]), inner.clone());
        prop_oneof![
            proptest::collection::vec(inner, 0..4).prop_map(Value::from),
            proptest::collection::vec(field, 0..6).prop_map(|fields| {
                fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>().into()
            }),
        ]
    })
}

/// A workflow that runs, with something put somewhere into it.
fn damaged() -> impl Strategy<Value = Value> {
    (proptest::sample::select(&WORDS[..]), nonsense(), 0..7_usize).prop_map(|(word, value, place)| {
        let mut spec = json!({
            "entrypoint": "main",
            "arguments": {"parameters": [{"name": "a", "value": "x"}]},
            "templates": [
                {"name": "main", "steps": [[{"name": "a", "template": "leaf"}], [{"name": "b", "template": "graph"}]]},
                {"name": "graph", "dag": {"tasks": [{"name": "a", "template": "leaf"}]}},
                {"name": "leaf", "container": {"image": "i", "command": ["c"]}},
            ],
        });
        let places = [
            "", "/arguments", "/templates/0", "/templates/0/steps/0/0", "/templates/1/dag/tasks/0", "/templates/2",
            "/templates/2/container",
        ];
        if let Some(Value::Object(fields)) = spec.pointer_mut(places[place]) {
            fields.insert(word.to_owned(), value);
        }
        spec
    })
}

fn comes_to_rest(workflow: Value) {
    let script = Script { workflow, templates: vec![], events: vec![] };
    let mut world = World::new(&script, Crash::Never);
    world.settle();
    let phase = world.workflow["status"]["phase"].as_str().unwrap_or_default().to_owned();
    assert!(!phase.is_empty());
    assert!(phase != "Error" || world.workflow["status"]["message"].is_string(), "{}", world.log);
}

proptest! {
    #[test]
    fn any_spec_is_answered(spec in nonsense()) {
        comes_to_rest(json!({"metadata": {"name": "wf"}, "spec": spec}));
    }

    #[test]
    fn any_damage_is_answered(spec in damaged()) {
        comes_to_rest(json!({"metadata": {"name": "wf"}, "spec": spec}));
    }

    #[test]
    fn any_status_is_answered(status in nonsense(), spec in damaged()) {
        comes_to_rest(json!({"metadata": {"name": "wf"}, "spec": spec, "status": status}));
    }
}
