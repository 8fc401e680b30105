//! The build that this repository ships, as far as the engine is concerned: nothing in it is refused, nothing missing.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::world::{Crash, Event, Script, World};

fn workflows() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/workflows")
}

fn read(file: &str) -> Value {
    let path = workflows().join(file);
    let text =
        std::fs::read_to_string(&path).unwrap_or_else(|error| unreachable!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).expect("the manifest is YAML")
}

/// The specification with something plain in place of each expression of the control plane.
fn rendered(value: Value) -> Value {
    match value {
        Value::String(text) if text.contains("git-credentials") => {
            json!({"name": "git-credentials", "emptyDir": {}})
        }
        Value::String(text) if text.contains("${") => "rendered".into(),
        Value::Array(items) => items.into_iter().map(rendered).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(key, value)| (key, rendered(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        plain => plain,
    }
}

fn succeeded(at: i64, pod: &str, files: &[(&str, &str)]) -> Event {
    let files = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    Event { at, pod: Some(pod.to_owned()), phase: Some("Succeeded".to_owned()), files, ..Event::default() }
}

#[test]
fn the_docker_build_runs_its_four_steps() {
    let files = ["checkout-source.yaml", "build-docker.yaml", "publish-image.yaml", "generate-workload.yaml"];
    let spec = rendered(read("docker.yaml")["spec"]["runTemplate"]["spec"].clone());
    let script = Script {
        workflow: json!({"metadata": {"name": "build-1"}, "spec": spec}),
        templates: files.map(read).to_vec(),
        events: vec![
            succeeded(1, "checkout-source", &[("git-revision", "abcd1234")]),
            succeeded(2, "build-image", &[]),
            succeeded(3, "publish-image", &[("image", "registry/x@sha256:00")]),
            succeeded(4, "generate-workload-cr", &[("workload-cr", "")]),
        ],
    };
    let world = World::play(&script, Crash::Never);
    assert_eq!(world.workflow["status"]["phase"], "Succeeded", "{}", world.log);
    assert_eq!(world.created.len(), 4, "{}", world.log);
    // Parameters reach scripts through the environment alone.
    for pod in world.pods.values() {
        let args = pod["spec"]["containers"][0]["args"].to_string();
        assert!(!args.contains("rendered") && !args.contains("abcd1234"), "{args}");
    }
}
