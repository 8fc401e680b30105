//! The context `via-gateway`: the build plane's API as people use it, through gateway and agent, with the real kubectl.

use std::fs;
use std::time::Duration;

use buildplane_testing::{Kubectl, LocalPlatform, Tools, eventually};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_buildplane");
const PATIENCE: Duration = Duration::from_mins(2);

#[test]
fn kubectl_gets_watches_and_follows_logs_through_the_tunnel() {
    let platform = LocalPlatform::builder(BINARY).start();
    platform.run(&["base-image"]).ok();
    let source = TempDir::new().expect("a temporary directory");
    let dockerfile = "FROM registry.buildplane.local/library/busybox:latest\n\
                      RUN busybox sh -c 'echo line-1; busybox sleep 600'\n";
    fs::write(source.path().join("Dockerfile"), dockerfile).expect("a file");
    let path = source.path().display().to_string();
    platform.run(&["build", &path, "--name", "app", "--detach"]).ok();

    let kubectl = platform.kubectl(&Tools::newest(), "via-gateway");
    let pod = || {
        let pods = kubectl.ok("get pods -n openchoreo-ci-default -o name");
        pods.lines().find(|name| name.contains("build-image")).map(str::to_owned)
    };
    let watch = kubectl.start(&[
        "get",
        "workflows.argoproj.io",
        "-n",
        "openchoreo-ci-default",
        "-w",
        "-o",
        "jsonpath={.metadata.name} {.status.phase}{\"\\n\"}",
    ]);
    eventually("the build's pod is there", PATIENCE, || pod().is_some());
    let pod = pod().expect("a pod");
    eventually("it runs", PATIENCE, || {
        let phase = kubectl.value(&format!("{pod} -n openchoreo-ci-default"), ".status.phase");
        phase != "Pending" && !phase.is_empty()
    });
    let log = kubectl.start(&["logs", "-f", &pod, "-n", "openchoreo-ci-default"]);
    // The step goes on for long: what is seen has streamed.
    eventually("the first line", PATIENCE, || log.stdout().contains("line-1"));
    eventually("the watch shows that it runs", PATIENCE, || watch.stdout().contains("Running"));
    let run = platform.run(&["get", "-o", "name"]).ok();
    platform.run(&["cancel", run.trim()]).ok();
    log.wait(PATIENCE).ok();
    eventually("the watch shows the end", PATIENCE, || watch.stdout().contains("Failed"));
    drop(watch);

    // The agent's policy stands in between: this user may do everything, and yet not read a Secret.
    let refused = kubectl.run(&["get", "secrets", "-n", "openchoreo-ci-default"]).failed();
    assert!(refused.contains("agent's policy"), "{refused}");
    assert!(platform.stop().success());
}

/// People with a token of their own reach a plane as far as RBAC on `clusterbuildplanes/proxy` lets them, and no further.
#[test]
fn a_token_reaches_a_plane_as_far_as_rbac_lets_it() {
    let platform = LocalPlatform::builder(BINARY).start();
    let control_plane = platform.kubectl(&Tools::newest(), "control-plane");
    control_plane.apply(RIGHTS);
    let token = |account: &str| {
        let token = format!("create token {account} -n default --audience openchoreo-gateway");
        control_plane.ok(&token).trim().to_owned()
    };
    let kubeconfig = control_plane
        .ok("config view --raw -o jsonpath={.clusters[?(@.name==\"via-gateway\")].cluster.server}");
    let server = kubeconfig.trim().to_owned();
    assert!(server.ends_with("/api/proxy/buildplane/default/_cluster/default/k8s"), "{server}");
    let ca = control_plane.ok(
        "config view --raw -o jsonpath={.clusters[?(@.name==\"via-gateway\")].cluster.certificate-authority-data}",
    );
    let home = TempDir::new().expect("a temporary directory");
    // Nothing in it: what counts is the token alone.
    fs::create_dir(home.path().join("data")).expect("a directory");
    let empty = home.path().join("data/kubeconfig");
    let cluster = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server, "certificate-authority-data": ca.trim()}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": ""}}],
    });
    fs::write(&empty, cluster.to_string()).expect("a file");
    let kubectl = Kubectl::new(&Tools::newest(), &empty, "c");
    let ask = |token: &str, words: &[&str]| {
        kubectl.run(&[&["--server", &server, "--token", token], words].concat())
    };
    let (reader, stranger) = (token("reader"), token("stranger"));
    let pods = ["get", "pods", "-n", "openchoreo-ci-default"];
    ask(&reader, &pods).ok();
    let refused =
        ask(&reader, &["delete", "workflows.argoproj.io", "x", "-n", "openchoreo-ci-default"]).failed();
    assert!(refused.contains("Forbidden") || refused.contains("forbidden"), "{refused}");
    ask(&stranger, &pods).failed();
    // A token for the API server is none for the gateway.
    let other = control_plane.ok("create token reader -n default");
    ask(other.trim(), &pods).failed();
    ask("made-up", &pods).failed();
    assert!(platform.stop().success());
}

const RIGHTS: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, namespace: default}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: stranger, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reads-the-plane}
rules:
  - apiGroups: [openchoreo.dev]
    resources: [clusterbuildplanes/proxy]
    resourceNames: [default]
    verbs: [get, list, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reads-the-plane}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reads-the-plane}
subjects:
  - {kind: ServiceAccount, name: reader, namespace: default}
";
