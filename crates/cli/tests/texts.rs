//! What users read: help and errors that need no platform.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use buildplane_testing::{Finished, finish};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_buildplane");

fn run(home: &Path, arguments: &[&str]) -> Finished {
    let mut command = Command::new(BINARY);
    command
        .args(arguments)
        .env_clear()
        .env("HOME", home)
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    finish(command, "", Duration::from_secs(30))
}

#[test]
fn help_says_what_there_is() {
    let home = TempDir::new().expect("a temporary directory");
    for words in [
        &[][..],
        &["up"],
        &["down"],
        &["status"],
        &["build"],
        &["run"],
        &["get"],
        &["describe"],
        &["logs"],
        &["cancel"],
        &["retry"],
        &["plane"],
        &["plane", "list"],
        &["plane", "describe"],
        &["plane", "register"],
        &["demo"],
        &["controller"],
        &["gateway"],
        &["agent"],
        &["engine"],
        &["apiserver"],
        &["crds"],
        &["completion"],
        &["version"],
    ] {
        let help = run(home.path(), &[words, &["--help"]].concat()).ok();
        let name = if words.is_empty() { "buildplane".to_owned() } else { words.join("-") };
        insta::assert_snapshot!(name, help);
    }
}

#[test]
fn the_shipped_policy_is_printed_without_an_agent() {
    let home = TempDir::new().expect("a temporary directory");
    let printed = run(home.path(), &["agent", "--print-policy"]).ok();
    assert_eq!(printed, buildplane_agent::Policy::shipped_yaml());
}

#[test]
fn errors_are_one_line_a_cause_and_a_hint() {
    let home = TempDir::new().expect("a temporary directory");
    let broken = home.path().join("broken");
    std::fs::write(&broken, "{").expect("a file");
    let broken = broken.display().to_string();
    let mut texts = String::new();
    for words in [
        &["get"][..],
        &["get", "pods"],
        &["get", "--kubeconfig", "/does/not/exist"],
        &["get", "--kubeconfig", &broken],
        &["get", "wfr", "a", "-A"],
        &["build", "/does/not/exist"],
        &["logs"],
        &["up", "--ports", "registry=many"],
        &["run", "docker", "-p", "x"],
        &["no-such-command"],
    ] {
        let refused = run(home.path(), words);
        let text = format!(
            "$ buildplane {}
{}[exit {:?}]

",
            words.join(" "),
            refused.stderr,
            refused.code
        );
        texts.push_str(&text.replace(&home.path().display().to_string(), "[HOME]"));
    }
    insta::assert_snapshot!(texts);
}

#[test]
fn the_shipped_definitions_are_complete() {
    let home = TempDir::new().expect("a temporary directory");
    let crds = run(home.path(), &["crds"]).ok();
    let documents = buildplane_testing::documents(&crds);
    let names: Vec<_> = documents.iter().filter_map(|crd| crd["metadata"]["name"].as_str()).collect();
    assert_eq!(names.len(), buildplane_api::crds().len());
    assert!(names.contains(&"buildplanes.openchoreo.dev"), "{names:?}");
    for shell in ["bash", "zsh", "fish"] {
        assert!(run(home.path(), &["completion", shell]).ok().contains("workflow"), "{shell}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let home = TempDir::new().expect("a temporary directory");
    let mut command = Command::new("bash");
    command.args(["-c", &format!("set -o pipefail; {BINARY} crds | head -n 1")]).env("HOME", home.path());
    let ended = finish(command, "", Duration::from_secs(30));
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str(), ended.code), ("---\n", "", Some(0)), "{ended}");
}
