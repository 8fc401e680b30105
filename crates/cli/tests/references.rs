//! Every step of the two API references, with the real kubectl of both ends of the supported range, against a running
//! platform; and the conditions that each of `examples/planes` ends with.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use buildplane_testing::{Kubectl, LocalPlatform, Manifest, Running, Tools, eventually_ok, finish};
use buildplane_tls::Authority;
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_buildplane");
const PATIENCE: Duration = Duration::from_secs(20);

/// A platform with the namespaces of the examples, and kubectl on its control plane.
struct Walk {
    platform: LocalPlatform,
    kubectl: Kubectl,
    tools: Tools,
}

impl Walk {
    fn start(tools: &Tools) -> Self {
        let platform = LocalPlatform::builder(BINARY).start();
        let kubectl = platform.kubectl(tools, "control-plane");
        for namespace in ["my-org", "org1", "org2", "openchoreo-system"] {
            kubectl.ok(&format!("create namespace {namespace}"));
        }
        Self { platform, kubectl, tools: tools.clone() }
    }

    /// Runs the reference's own shell lines.
    #[track_caller]
    fn shell(&self, script: &str) -> String {
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", script]);
        let bin = self.tools.kubectl.parent().expect("a directory");
        let path = std::env::var("PATH").expect("a PATH");
        command.env("PATH", format!("{}:{path}", bin.display()));
        command
            .env("KUBECONFIG", self.platform.kubeconfig())
            .env("HOME", self.platform.data_dir().with_file_name("home"));
        finish(command, "", Duration::from_mins(1)).ok()
    }

    /// The agent's CA, extracted as the reference does.
    #[track_caller]
    fn agent_ca(&self) -> String {
        self.shell(
            r"kubectl --context build-plane get secret cluster-agent-tls \
                -n openchoreo-build-plane \
                -o jsonpath='{.data.ca\.crt}' | base64 -d",
        )
    }

    #[track_caller]
    fn apply_example(&self, file: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/planes").join(file);
        self.kubectl.ok(&format!("apply -f {}", path.display()));
    }

    /// Waits until an object's conditions are these; `""` stands for a condition that is not there.
    #[track_caller]
    fn expect(&self, object: &str, conditions: &[(&str, &str)]) {
        eventually_ok(&format!("{object} has {conditions:?}"), PATIENCE, || {
            let wanted: Vec<_> = conditions.iter().map(|&(type_, value)| (type_, value.to_owned())).collect();
            let found: Vec<_> =
                conditions.iter().map(|&(type_, _)| (type_, self.kubectl.condition(object, type_))).collect();
            if found == wanted { Ok(()) } else { Err(found) }
        });
    }

    #[track_caller]
    fn secret(&self, namespace: &str, name: &str, ca: &str) {
        let manifest = Manifest::new("v1", "Secret", name)
            .namespace(namespace)
            .set("/stringData", json!({"ca.crt": ca}));
        self.kubectl.apply(&manifest.to_string());
    }
}

const CONNECTED: [(&str, &str); 3] = [
    ("ClientCAValid", "True/CertificatesValid"),
    ("AgentConnected", "True/AgentConnected"),
    ("Ready", "True/Ready"),
];

fn options_of_the_reference(tools: &Tools) {
    let walk = Walk::start(tools);
    let ca = walk.agent_ca();
    assert!(ca.starts_with("-----BEGIN CERTIFICATE-----\n"), "{ca}");

    // Option 1: inline value.
    walk.shell(
        r#"BP_CA_CERT=$(kubectl --context build-plane get secret cluster-agent-tls \
  -n openchoreo-build-plane \
  -o jsonpath='{.data.ca\.crt}' | base64 -d)
kubectl --context control-plane apply -f - <<EOF
apiVersion: openchoreo.dev/v1alpha1
kind: BuildPlane
metadata:
  name: my-buildplane
  namespace: my-org
spec:
  planeID: "default"
  clusterAgent:
    clientCA:
      value: |
$(echo "$BP_CA_CERT" | sed 's/^/        /')
EOF"#,
    );
    let plane = "buildplane my-buildplane -n my-org";
    walk.kubectl.ok("wait --for=condition=Ready buildplane/my-buildplane -n my-org --timeout=20s");
    walk.expect(plane, &CONNECTED);
    for (path, value) in [
        (".status.agentConnection.connected", "true"),
        (".status.agentConnection.connectedAgents", "1"),
        (".status.planeID", "default"),
        (".status.observedGeneration", "1"),
    ] {
        assert_eq!(walk.kubectl.value(plane, path), value, "{path}");
    }
    for path in ["lastConnectedTime", "lastHeartbeatTime"] {
        let time = walk.kubectl.value(plane, &format!(".status.agentConnection.{path}"));
        assert!(time.ends_with('Z'), "{path}: {time:?}");
    }

    option_two(&walk);
    cluster_scoped(&walk, &ca);
    // A plane that is deleted is gone: nothing holds it back.
    walk.kubectl.ok("delete buildplane my-buildplane -n my-org --timeout=20s");
    walk.kubectl.ok("delete clusterbuildplane nameless --timeout=20s");
    assert!(walk.platform.stop().success());
}

/// Secret reference, for the plane that had the value inline before.
fn option_two(walk: &Walk) {
    let plane = "buildplane my-buildplane -n my-org";
    walk.shell(
        r#"CA_FILE=$(mktemp)
trap 'rm -f "$CA_FILE"' EXIT
kubectl --context build-plane get secret cluster-agent-tls \
  -n openchoreo-build-plane \
  -o jsonpath='{.data.ca\.crt}' | base64 -d > "$CA_FILE"
kubectl --context control-plane create secret generic buildplane-agent-ca \
  --from-file=ca.crt="$CA_FILE" \
  -n my-org
kubectl --context control-plane apply -f - <<EOF
apiVersion: openchoreo.dev/v1alpha1
kind: BuildPlane
metadata:
  name: my-buildplane
  namespace: my-org
spec:
  planeID: "default"
  clusterAgent:
    clientCA:
      secretRef:
        name: buildplane-agent-ca
        namespace: my-org
        key: ca.crt
EOF"#,
    );
    assert_eq!(
        walk.kubectl.value(plane, ".spec.clusterAgent.clientCA.value"),
        "",
        "apply removes what is gone"
    );
    eventually_ok("the new generation is observed", PATIENCE, || {
        let observed = walk.kubectl.value(plane, ".status.observedGeneration");
        if observed == "2" { Ok(()) } else { Err(observed) }
    });
    walk.expect(plane, &CONNECTED);
}

/// The same for a cluster-scoped plane; without a plane id its name stands in.
fn cluster_scoped(walk: &Walk, ca: &str) {
    walk.secret("openchoreo-system", "buildplane-agent-ca", ca);
    let reference = json!({"name": "buildplane-agent-ca", "namespace": "openchoreo-system", "key": "ca.crt"});
    let manifest = Manifest::new("openchoreo.dev/v1alpha1", "ClusterBuildPlane", "nameless")
        .set("/spec/clusterAgent/clientCA/secretRef", reference);
    walk.kubectl.apply(&manifest.to_string());
    walk.expect(
        "clusterbuildplane nameless",
        &[("ClientCAValid", "True/CertificatesValid"), ("AgentConnected", "False/NoAgentConnected")],
    );
    assert_eq!(walk.kubectl.value("clusterbuildplane nameless", ".status.planeID"), "nameless");
    walk.kubectl.apply(&manifest.set("/spec/planeID", json!("default")).to_string());
    walk.expect("clusterbuildplane nameless", &CONNECTED);
}

#[test]
fn options_of_the_reference_with_the_oldest_kubectl() {
    let [oldest, _] = Tools::all();
    options_of_the_reference(&oldest);
}

#[test]
fn options_of_the_reference_with_the_newest_kubectl() {
    options_of_the_reference(&Tools::newest());
}

/// What each example ends with: while what it refers to is missing, and once it is there. No agent connects for the
/// plane ids of the examples, so none becomes Ready.
#[test]
fn every_example_ends_with_the_conditions_of_the_table() {
    let walk = Walk::start(&Tools::newest());
    for file in [
        "production-buildplane.yaml",
        "secure-buildplane.yaml",
        "monitored-buildplane.yaml",
        "multi-tenant-buildplanes.yaml",
        "shared-buildplane.yaml",
        "secure-clusterbuildplane.yaml",
        "monitored-clusterbuildplane.yaml",
    ] {
        walk.apply_example(file);
    }
    let objects = [
        "buildplane production-buildplane -n my-org",
        "buildplane secure-buildplane -n my-org",
        "buildplane monitored-buildplane -n my-org",
        "buildplane org1-buildplane -n org1",
        "buildplane org2-buildplane -n org2",
        "clusterbuildplane shared-buildplane",
        "clusterbuildplane secure-buildplane",
        "clusterbuildplane monitored-buildplane",
    ];
    let [_, _, monitored, .., monitored_cluster] = objects;
    for object in objects {
        let (ca, resolved) = match object {
            _ if object == monitored => ("False/InvalidCertificate", "False/ObservabilityPlaneNotFound"),
            _ if object == monitored_cluster => ("False/SecretNotFound", "False/ObservabilityPlaneNotFound"),
            _ => ("False/SecretNotFound", "True/NotConfigured"),
        };
        walk.expect(
            object,
            &[
                ("ClientCAValid", ca),
                ("AgentConnected", "False/NoAgentConnected"),
                ("ObservabilityPlaneResolved", resolved),
            ],
        );
        assert!(walk.kubectl.condition(object, "Ready").starts_with("False/"), "{object}");
        let store = walk.kubectl.condition(object, "SecretStoreReady");
        let names_store = !object.contains("production") && !object.contains(" shared");
        assert_eq!(store, if names_store { "Unknown/PlaneUnreachable" } else { "" }, "{object}");
    }

    let ca = walk.agent_ca();
    for (namespace, name) in [
        ("my-org", "buildplane-agent-ca"),
        ("openchoreo-system", "buildplane-agent-ca"),
        ("openchoreo-system", "agent-ca-cert"),
        ("org1", "shared-cluster-ca"),
        ("org2", "shared-cluster-ca"),
    ] {
        walk.secret(namespace, name, &ca);
    }
    let observability = |kind: &str| {
        Manifest::new("openchoreo.dev/v1alpha1", kind, "production-observability")
            .set("/spec/clusterAgent/clientCA/value", json!(ca))
            .set("/spec/observerURL", json!("https://observer.example"))
    };
    walk.kubectl.apply(&observability("ObservabilityPlane").namespace("my-org").to_string());
    walk.kubectl.apply(&observability("ClusterObservabilityPlane").to_string());
    for object in objects {
        let ca = if object == monitored { "False/InvalidCertificate" } else { "True/CertificatesValid" };
        let resolved = if object.contains("monitored") { "True/Resolved" } else { "True/NotConfigured" };
        walk.expect(
            object,
            &[
                ("ClientCAValid", ca),
                ("AgentConnected", "False/NoAgentConnected"),
                ("ObservabilityPlaneResolved", resolved),
            ],
        );
    }
    assert!(walk.platform.stop().success());
}

/// Two organizations share one cluster. Each is verified against its own CA alone.
#[test]
fn tenants_of_one_plane_stay_apart() {
    let walk = Walk::start(&Tools::newest());
    let ca = walk.agent_ca();
    let stranger = Authority::generate("a stranger", Duration::from_hours(365 * 24)).expect("a CA");
    walk.secret("org1", "shared-cluster-ca", &ca);
    walk.secret("org2", "shared-cluster-ca", stranger.cert_pem());
    for organization in ["org1", "org2"] {
        let plane = Manifest::build_plane(organization, &format!("{organization}-buildplane"))
            .set("/spec/planeID", json!("default"))
            .set("/spec/clusterAgent/clientCA/secretRef/name", json!("shared-cluster-ca"));
        walk.kubectl.apply(&plane.to_string());
    }
    walk.expect("buildplane org1-buildplane -n org1", &CONNECTED);
    let refused = "buildplane org2-buildplane -n org2";
    walk.expect(
        refused,
        &[
            ("ClientCAValid", "True/CertificatesValid"),
            ("AgentConnected", "False/AgentNotVerified"),
            ("Ready", "False/AgentNotVerified"),
        ],
    );
    assert_eq!(walk.kubectl.value(refused, ".status.agentConnection.connected"), "false");

    // The right CA, then a bundle of both, and the second tenant is connected; the first never noticed.
    walk.secret("org2", "shared-cluster-ca", &format!("{}{ca}", stranger.cert_pem()));
    walk.expect(refused, &CONNECTED);
    walk.expect("buildplane org1-buildplane -n org1", &CONNECTED);
    // Deleting one does not touch the other.
    walk.kubectl.ok("delete buildplane org1-buildplane -n org1 --timeout=20s");
    walk.expect(refused, &CONNECTED);
    assert!(walk.platform.stop().success());
}

/// Two organizations on one cluster as the reference has it: a plane id of its own, an agent that carries it, and the
/// same CA Secret in each namespace. The agent runs alone, as it does on a build cluster.
#[test]
fn the_shared_builder_connects_both_organizations() {
    let walk = Walk::start(&Tools::newest());
    let build_plane = walk.kubectl.with_context("build-plane");
    build_plane.ok("create namespace shared-agent");
    let gateway_ca =
        build_plane.value("configmap cluster-gateway-ca -n openchoreo-build-plane", r".data.ca\.crt");
    let ca_file = walk.platform.data_dir().with_file_name("gateway-ca.crt");
    std::fs::write(&ca_file, gateway_ca).expect("a file");
    let gateway =
        format!("wss://{}/ws", walk.platform.state()["endpoints"]["agents"].as_str().expect("an address"));
    let (kubeconfig, ca_file) =
        (walk.platform.kubeconfig().display().to_string(), ca_file.display().to_string());
    let arguments =
        ["agent", "--plane-id", "shared-builder", "--namespace", "shared-agent", "--context", "build-plane"];
    let options = ["--gateway", &gateway, "--server-ca", &ca_file, "--kubeconfig", &kubeconfig];
    let agent = Running::start(walk.platform.command(&[&arguments[..], &options].concat()));
    let ca = eventually_ok("the agent has an identity", PATIENCE, || {
        let found = build_plane.run(&[
            "get",
            "secret",
            "cluster-agent-tls",
            "-n",
            "shared-agent",
            "-o",
            r#"go-template={{index .data "ca.crt" | base64decode}}"#,
        ]);
        if found.success() { Ok(found.stdout) } else { Err(found.stderr) }
    });
    walk.apply_example("multi-tenant-buildplanes.yaml");
    for organization in ["org1", "org2"] {
        walk.secret(organization, "shared-cluster-ca", &ca);
    }
    for plane in ["buildplane org1-buildplane -n org1", "buildplane org2-buildplane -n org2"] {
        // Connected, and not ready for one reason alone: the plane has no store of that name.
        walk.expect(
            plane,
            &[
                ("ClientCAValid", "True/CertificatesValid"),
                ("AgentConnected", "True/AgentConnected"),
                ("SecretStoreReady", "False/SecretStoreNotFound"),
                ("Ready", "False/SecretStoreNotFound"),
            ],
        );
        assert_eq!(walk.kubectl.value(plane, ".status.agentConnection.connectedAgents"), "1");
    }
    agent.signal("TERM");
    assert!(agent.wait(PATIENCE).success());
    for plane in ["buildplane org1-buildplane -n org1", "buildplane org2-buildplane -n org2"] {
        walk.expect(
            plane,
            &[("AgentConnected", "False/NoAgentConnected"), ("SecretStoreReady", "Unknown/PlaneUnreachable")],
        );
        let time = walk.kubectl.value(plane, ".status.agentConnection.lastDisconnectedTime");
        assert!(time.ends_with('Z'), "{time:?}");
    }
    assert!(walk.platform.stop().success());
}

/// `plane register` is the references' exchange in one command.
#[test]
fn register_does_the_exchange_in_one_command() {
    let walk = Walk::start(&Tools::newest());
    let register = [
        "plane",
        "register",
        "registered",
        "-n",
        "fresh",
        "--from-context",
        "build-plane",
        "--to-context",
        "control-plane",
    ];
    let printed = walk.platform.run(&[&register[..], &["--dry-run", "-o", "yaml"]].concat()).ok();
    assert_eq!(walk.kubectl.ok("get bp -A -o name"), "", "nothing is changed");
    walk.kubectl.ok("create namespace fresh");
    walk.kubectl.run_with(&["apply", "--dry-run=server", "-f", "-"], &printed).ok();
    walk.kubectl.ok("delete namespace fresh --timeout=20s");

    let done = walk.platform.run(&register).ok();
    assert!(done.contains("namespace/fresh created") && done.contains("registered is ready"), "{done}");
    walk.expect("buildplane registered -n fresh", &CONNECTED);
    assert_eq!(
        walk.kubectl.value("buildplane registered -n fresh", ".spec.planeID"),
        "default",
        "from the certificate"
    );
    assert!(
        done.contains("allowedPlanes of the agent's policy: buildplane/fresh/registered added"),
        "{done}"
    );
    assert!(done.contains("clusterbuildplane/_cluster/default added, which it served before"), "{done}");
    let again = walk.platform.run(&register).ok();
    for said in [
        "the agent serves buildplane/fresh/registered already",
        "buildplane/registered unchanged",
        "is ready",
    ] {
        assert!(again.contains(said), "{said}: {again}");
    }
    others_keep_their_place(&walk);
    planes_are_listed(&walk);
    refusals_name_the_context(&walk);
    assert!(walk.platform.stop().success());
}

fn others_keep_their_place(walk: &Walk) {
    let build_plane = walk.platform.kubectl(&walk.tools, "build-plane");
    let policy = || {
        build_plane.value("configmap cluster-agent-policy -n openchoreo-build-plane", ".data.policy\\.yaml")
    };
    let before = policy();
    assert_eq!(before.matches("- ").count(), 2, "{before}");
    let cluster = ["plane", "register", "everybody", "--cluster", "--from-context", "build-plane"];
    walk.platform.run(&cluster).ok();
    walk.expect("clusterbuildplane everybody", &CONNECTED);
    let after = policy();
    assert!(before.lines().all(|line| after.contains(line)), "others' entries stay: {after}");
    assert!(after.contains("clusterbuildplane/_cluster/everybody"), "{after}");
    // Whom nobody registered is not served any more, though its CA vouches for the agent.
    let uninvited = Manifest::cluster_build_plane("uninvited", "default")
        .set("/spec/planeID", json!("default"))
        .set("/spec/clusterAgent/clientCA", json!({"value": walk.agent_ca()}));
    walk.kubectl.apply(&uninvited.to_string());
    walk.expect("clusterbuildplane uninvited", &[("AgentConnected", "False/NotAdmittedByPlane")]);
    let described = walk.platform.run(&["plane", "describe", "uninvited"]).ok();
    assert!(described.contains("Admission:     not admitted"), "{described}");
    walk.kubectl.ok("delete clusterbuildplane uninvited --timeout=20s");
    for plane in ["buildplane registered -n fresh", "clusterbuildplane default"] {
        walk.expect(plane, &CONNECTED);
    }
}

fn planes_are_listed(walk: &Walk) {
    let listed = walk.platform.run(&["plane", "list", "-A"]).ok();
    assert!(listed.contains("registered") && listed.contains("everybody"), "{listed}");
    let names = walk.platform.run(&["plane", "list", "-n", "fresh", "-o", "name"]).ok();
    let expected = "buildplane.openchoreo.dev/registered\nclusterbuildplane.openchoreo.dev/default\n\
                    clusterbuildplane.openchoreo.dev/everybody\n";
    assert_eq!(names, expected);
    let documents = walk.platform.run(&["plane", "list", "-A", "-o", "json"]).ok();
    let documents: serde_json::Value = serde_json::from_str(&documents).expect("JSON");
    assert_eq!(documents["items"].as_array().map(Vec::len), Some(3), "{documents}");
    let watch = Running::start(walk.platform.command(&["plane", "list", "-A", "-w"]));
    eventually_ok("the watch began", PATIENCE, || {
        if watch.stdout().contains("registered") { Ok(()) } else { Err(watch.stdout()) }
    });
    walk.kubectl.ok("annotate buildplane registered -n fresh openchoreo.dev/display-name=Changed");
    eventually_ok("the watch shows a change", PATIENCE, || {
        if watch.stdout().matches("registered").count() > 1 { Ok(()) } else { Err(watch.stdout()) }
    });
    drop(watch);
    let described = walk.platform.run(&["plane", "describe", "registered", "-n", "fresh"]).ok();
    assert!(described.contains("Secret fresh/registered-agent-ca, key ca.crt"), "{described}");
}

fn refusals_name_the_context(walk: &Walk) {
    let wrong =
        walk.platform.run(&["plane", "register", "x", "--from-context", "control-plane", "--timeout", "1"]);
    assert_eq!(wrong.code, Some(4), "{wrong}");
    assert!(
        wrong.stderr.contains(
            "build plane (context control-plane): there is no Secret openchoreo-build-plane/cluster-agent-tls"
        ),
        "{wrong}"
    );
    let other = [
        "plane",
        "register",
        "other",
        "--from-context",
        "build-plane",
        "--plane-id",
        "nobody",
        "--timeout",
        "1",
    ];
    let late = walk.platform.run(&other);
    assert_eq!(late.code, Some(7), "{late}");
    assert!(late.stderr.contains("AgentConnected"), "the reason is named: {late}");
    assert!(late.stderr.contains("is for plane id default, not nobody"), "{late}");
}

/// What the references forbid is refused when it is written, with the field's name.
#[test]
fn what_the_references_forbid_is_refused() {
    let walk = Walk::start(&Tools::newest());
    let plane = Manifest::build_plane("my-org", "refused");
    let cluster = Manifest::cluster_build_plane("refused", "x");
    let long = "a".repeat(64);
    for (manifest, field) in [
        (plane.clone().set("/spec/planeID", json!("Upper")), "spec.planeID"),
        (plane.clone().set("/spec/planeID", json!(long)), "spec.planeID"),
        (plane.clone().set("/spec/planeID", json!("a/b")), "spec.planeID"),
        (plane.clone().set("/spec/clusterAgent", json!(null)), "clusterAgent"),
        (plane.clone().set("/spec/clusterAgent/clientCA", json!({})), "clientCA"),
        (plane.clone().set("/spec/clusterAgent/clientCA/secretRef/key", json!(null)), "key"),
        (plane.clone().set("/spec/planeId", json!("typo")), "planeId"),
        (
            cluster
                .clone()
                .set("/spec/observabilityPlaneRef", json!({"kind": "ObservabilityPlane", "name": "x"})),
            "observabilityPlaneRef",
        ),
    ] {
        let refused = walk.kubectl.run_with(&["apply", "-f", "-"], &manifest.to_string()).failed();
        assert!(refused.contains(field), "{field}: {refused}");
    }
    // A cluster-scoped plane has no namespace to look for a Secret in.
    let nowhere = json!({"secretRef": {"name": "buildplane-agent-ca", "key": "ca.crt"}});
    let applied = walk
        .kubectl
        .run_with(&["apply", "-f", "-"], &cluster.set("/spec/clusterAgent/clientCA", nowhere).to_string());
    if applied.success() {
        walk.expect("clusterbuildplane refused", &[("ClientCAValid", "False/SecretNamespaceMissing")]);
    } else {
        assert!(applied.stderr.contains("namespace"), "{applied}");
    }
    assert!(walk.platform.stop().success());
}

/// The habits of kubectl users.
#[test]
fn planes_look_well_in_kubectl() {
    for tools in Tools::all() {
        let walk = Walk::start(&tools);
        let kubectl = &walk.kubectl;
        walk.secret("my-org", "buildplane-agent-ca", &walk.agent_ca());
        walk.apply_example("production-buildplane.yaml");
        walk.expect("buildplane production-buildplane -n my-org", &[("Ready", "False/NoAgentConnected")]);
        let table = kubectl.ok("get bp -n my-org");
        let header: Vec<&str> =
            table.lines().next().expect("a header").split("  ").filter(|cell| !cell.is_empty()).collect();
        let header: Vec<&str> = header.iter().map(|cell| cell.trim()).collect();
        assert_eq!(header, ["NAME", "PLANE ID", "READY", "AGENTS", "AGE"], "{table}");
        assert!(table.contains("production-buildplane") && table.contains("prod-builder"), "{table}");
        for list in ["get cbp", "get cbps", "get clusterbuildplanes.openchoreo.dev default -o name"] {
            assert!(kubectl.ok(list).contains("default"), "{list}");
        }
        let described = kubectl.ok("describe buildplane production-buildplane -n my-org");
        assert!(
            described.contains("Production builds") && described.contains("NoAgentConnected"),
            "{described}"
        );
        let explained = kubectl.ok("explain buildplane.spec.clusterAgent.clientCA");
        assert!(explained.contains("secretRef") && explained.contains("CA certificates"), "{explained}");

        // From client-side to server-side apply and a patch, without a conflict with oneself.
        let manifest = Manifest::build_plane("my-org", "moved").set("/spec/planeID", json!("moved"));
        kubectl.apply(&manifest.to_string());
        let moved = kubectl.run_with(&["apply", "--server-side", "-f", "-"], &manifest.to_string());
        assert!(moved.success(), "{moved}");
        kubectl.ok("label buildplane moved -n my-org team=builds");
        kubectl
            .run(&[
                "patch",
                "buildplane",
                "moved",
                "-n",
                "my-org",
                "--type=merge",
                "-p",
                r#"{"spec":{"planeID":"other"}}"#,
            ])
            .ok();
        assert_eq!(kubectl.value("buildplane moved -n my-org", ".spec.planeID"), "other");
        assert_eq!(kubectl.ok("get bp -A -l team=builds -o name").trim(), "buildplane.openchoreo.dev/moved");
        assert!(walk.platform.stop().success());
    }
}
