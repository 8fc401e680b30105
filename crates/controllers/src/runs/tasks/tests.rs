use serde_json::{Value, json};

use super::*;

fn node(name: &str, phase: &str, more: &Value) -> (String, Value) {
    let mut node = json!({"id": name, "name": name, "type": "Pod", "phase": phase});
    node.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    (name.to_owned(), node)
}

fn workflow(phase: &str, nodes: impl IntoIterator<Item = (String, Value)>) -> Workflow {
    serde_json::from_value(json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": "wf"},
        "spec": {},
        "status": {
            "phase": phase,
            "startedAt": "2026-01-01T00:00:00Z",
            "finishedAt": "2026-01-01T00:01:00Z",
            "nodes": Value::Object(nodes.into_iter().collect()),
        },
    }))
    .expect("a Workflow")
}

#[test]
fn tasks_come_in_the_order_of_their_steps() {
    let seen = read(&workflow(
        "Running",
        [
            node("wf[2].publish", "Pending", &json!({})),
            node("wf[10].last", "Omitted", &json!({})),
            node("wf[0].checkout", "Succeeded", &json!({"displayName": "checkout-source"})),
            node("wf[1].build", "Running", &json!({"message": "pulling"})),
            node("wf[1]", "Running", &json!({"type": "StepGroup"})),
        ],
    ));
    let tasks: Vec<_> = seen.tasks.iter().map(|task| (task.name.as_str(), task.phase)).collect();
    assert_eq!(
        tasks,
        [
            ("checkout-source", Some(TaskPhase::Succeeded)),
            ("build", Some(TaskPhase::Running)),
            ("publish", Some(TaskPhase::Pending)),
            ("last", Some(TaskPhase::Omitted)),
        ]
    );
    assert_eq!(seen.phase, RunPhase::Running);
    assert_eq!(seen.completed_at, None, "a run that is not over has no end");
}

#[test]
fn short_outputs_are_shown_and_the_workload_is_kept_for_itself() {
    let outputs =
        |name: &str, value: &str| json!({"outputs": {"parameters": [{"name": name, "value": value}]}});
    let seen = read(&workflow(
        "Succeeded",
        [
            node("wf[0].publish", "Succeeded", &outputs("image", "registry/x@sha256:0\n")),
            node("wf[1].long", "Succeeded", &outputs("log", &"x".repeat(MAX_OUTPUT + 1))),
            node("wf[2].generate-workload-cr", "Succeeded", &outputs("workload-cr", "kind: Workload")),
        ],
    ));
    let image = TaskOutput { name: "image".into(), value: "registry/x@sha256:0".into() };
    assert_eq!(seen.tasks[0].outputs, [image]);
    assert_eq!(seen.tasks[1].outputs, []);
    assert_eq!(seen.tasks[2].outputs, []);
    assert_eq!(seen.workload, Produced::Manifest("kind: Workload".into()));
    assert!(seen.completed_at.is_some());
}

#[test]
fn what_became_of_the_workload_task() {
    let produced = |nodes: Vec<(String, Value)>| read(&workflow("Succeeded", nodes)).workload;
    assert_eq!(produced(vec![node("wf[0].build", "Succeeded", &json!({}))]), Produced::NotAsked);
    let task = |phase: &str| node("wf[0].generate-workload-cr", phase, &json!({}));
    assert_eq!(produced(vec![task("Succeeded")]), Produced::Nothing);
    assert_eq!(produced(vec![task("Failed")]), Produced::Nothing);
}

#[test]
fn phases_of_the_engine_in_our_words() {
    for (argo, ours) in [
        ("", RunPhase::Pending),
        ("Pending", RunPhase::Pending),
        ("Running", RunPhase::Running),
        ("Succeeded", RunPhase::Succeeded),
        ("Failed", RunPhase::Failed),
        ("Error", RunPhase::Failed),
        ("Unheard-of", RunPhase::Running),
    ] {
        assert_eq!(read(&workflow(argo, [])).phase, ours, "{argo}");
    }
}

#[test]
fn the_first_failed_task_is_the_reason() {
    let seen = read(&workflow(
        "Failed",
        [
            node("wf[0].checkout", "Succeeded", &json!({})),
            node("wf[1].build", "Failed", &json!({"message": "exit code 1"})),
            node("wf[2].publish", "Omitted", &json!({})),
        ],
    ));
    assert_eq!(failure(&seen), "task build failed: exit code 1");
}

#[test]
fn a_status_that_cannot_be_read_is_told() {
    let mut odd = workflow("Running", []);
    odd.raw_status = json!({"nodes": "none"});
    assert!(read(&odd).message.is_some_and(|message| message.contains("cannot be read")));
}
