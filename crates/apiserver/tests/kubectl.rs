//! The real kubectl, in the two versions we promise, against a server with TLS on a loopback port.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

#[path = "support/fixture.rs"]
mod support;

#[path = "kubectl/session.rs"]
mod session;

use serde_json::{Value, json};

use session::each_version;
use support::widget_definition;

fn widget(spec: &str) -> String {
    format!(
        "apiVersion: example.dev/v1\nkind: Widget\nmetadata: {{name: w, labels: {{a: b}}}}\nspec: {spec}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_is_told_what_there_is() {
    each_version(async |session| {
        session.run(&["version"]).await.says("Server Version: v1.36");
        let resources = session.run(&["api-resources", "-o", "name"]).await;
        resources
            .says("customresourcedefinitions.apiextensions.k8s.io")
            .says("pods")
            .says("leases.coordination.k8s.io");
        session.run(&["api-versions"]).await.says("rbac.authorization.k8s.io/v1");
        session.run(&["explain", "pod.spec.containers.env"]).await.says("FIELD: env <[]EnvVar>");
        session.run(&["explain", "secret.data"]).await.says("map[string]string");
        session.run(&["explain", "crd.spec.versions"]).await.says("storage");
        session.run(&["get", "namespaces"]).await.says("kube-system").says("Active").says("AGE");
        session.run(&["auth", "whoami"]).await.says("admin").says("system:masters");
        session.run(&["auth", "can-i", "delete", "pods"]).await.says("yes");
        session.run(&["auth", "can-i", "get", "pods", "--as", "eve"]).await.fails().says("no");
        session.run(&["auth", "can-i", "--list"]).await.says("selfsubjectaccessreviews.authorization.k8s.io");
        session.run(&["get", "--raw", "/readyz"]).await.says("ok");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_given_a_token_and_used_by_it() {
    each_version(async |session| {
        session
            .run(&["cluster-info"])
            .await
            .succeeds()
            .says("Kubernetes control plane")
            .says("is running at");
        session.run(&["create", "serviceaccount", "robot"]).await.succeeds();
        let made = session.run(&["create", "token", "robot", "--duration=20m"]).await;
        made.succeeds();
        let token = format!("--token={}", made.out.trim());
        session.run(&["auth", "whoami", &token]).await.says("system:serviceaccount:default:robot");
        session.run(&["get", "pods", &token]).await.fails().says("cannot list resource \"pods\"");
        let role = ["create", "role", "r", "--verb=create", "--resource=widgets.example.dev/proxy"];
        session.file("crd.yaml", &widget_definition().to_string());
        session.run(&["apply", "-f", &session.path("crd.yaml")]).await.succeeds();
        session.run(&["wait", "--for=condition=Established", "crd/widgets.example.dev"]).await.succeeds();
        session.run(&role).await.succeeds();
        session
            .run(&["create", "rolebinding", "r", "--role=r", "--serviceaccount=default:robot"])
            .await
            .succeeds();
        let can = async |verb: &str, what: &str, more: &str| {
            session.run(&["auth", "can-i", verb, what, "--subresource=proxy", &token, more]).await
        };
        can("create", "widgets.example.dev", "-ndefault").await.succeeds().says("yes");
        can("create", "widgets.example.dev/w", "-ndefault").await.succeeds().says("yes");
        can("get", "widgets.example.dev", "-ndefault").await.fails().says("no");
        can("create", "widgets.example.dev", "-nkube-system").await.fails().says("no");
        session.run(&["auth", "can-i", "create", "widgets.example.dev", &token]).await.fails().says("no");
        let bound = ["--bound-object-kind=Secret", "--bound-object-name=s", "--audience=gateway"];
        session.run(&["create", "secret", "generic", "s"]).await.succeeds();
        let made = session.run(&[&["create", "token", "robot"], &bound[..]].concat()).await;
        made.succeeds();
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "spec": {"token": made.out.trim(), "audiences": ["gateway"]},
        });
        let reviewed = session.feed(&review.to_string(), &["create", "-f", "-", "-o", "json"]).await;
        let reviewed: Value = serde_json::from_str(&reviewed.out).unwrap();
        assert_eq!(reviewed["status"]["user"]["username"], "system:serviceaccount:default:robot");
        session.run(&["get", "pods", "--token=x"]).await.fails().says("Unauthorized");
        session.run(&["delete", "serviceaccount", "robot"]).await.succeeds();
        session.run(&["get", "pods", &token]).await.fails().says("Unauthorized");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_told_so_over_http_2() {
    each_version(async |session| {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "big"},
            "data": {"k": "x".repeat(10 << 20)},
        });
        let refused = session.feed(&map.to_string(), &["create", "--validate=false", "-f", "-"]).await;
        refused.fails().says("Request entity too large: limit is 3145728");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_in_protobuf_are_taken() {
    each_version(async |session| {
        session.run(&["create", "namespace", "n"]).await.says("namespace/n created");
        session.file("key.txt", "secret bytes");
        let path = session.path("key.txt");
        let from = format!("--from-file=key={path}");
        session.run(&["create", "secret", "generic", "s", "-n", "n", &from]).await.says("secret/s created");
        let data = session.run(&["get", "secret", "s", "-n", "n", "-o", "jsonpath={.data.key}"]).await;
        assert_eq!(data.out, "c2VjcmV0IGJ5dGVz");
        session
            .run(&["create", "secret", "generic", "s", "-n", "n"])
            .await
            .fails()
            .says("secrets \"s\" already exists");
        session
            .run(&["create", "configmap", "c", "-n", "n", "--from-literal=k=v"])
            .await
            .says("configmap/c created");
        session.run(&["create", "serviceaccount", "a", "-n", "n"]).await.says("serviceaccount/a created");
        session
            .run(&["create", "role", "r", "-n", "n", "--verb=get", "--resource=pods"])
            .await
            .says("created");
        session
            .run(&["create", "rolebinding", "b", "-n", "n", "--role=r", "--serviceaccount=n:a"])
            .await
            .says("created");
        let who = "--as=system:serviceaccount:n:a";
        session.run(&["auth", "can-i", "get", "pods", "-n", "n", who]).await.says("yes");
        session.run(&["auth", "can-i", "list", "pods", "-n", "n", who]).await.fails().says("no");
        session.run(&["delete", "namespace", "n"]).await.says("namespace \"n\" deleted");
        session.run(&["get", "namespace", "n"]).await.fails().says("namespaces \"n\" not found");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_applied_from_the_client_then_by_the_server() {
    each_version(async |session| {
        session.file("crd.yaml", &widget_definition().to_string());
        let crd = session.path("crd.yaml");
        session.run(&["apply", "-f", &crd]).await.says("widgets.example.dev created");
        session
            .run(&["wait", "--for=condition=Established", "crd/widgets.example.dev"])
            .await
            .says("condition met");
        let apply = async |spec: &str, more: &[&str]| {
            let arguments = [&["apply", "-f", "-"], more].concat();
            session.feed(&widget(spec), &arguments).await
        };
        apply("{size: 1, parts: [{name: x, count: 1}]}", &[]).await.says("widget.example.dev/w created");
        apply("{size: 1, parts: [{name: x, count: 1}]}", &[]).await.says("unchanged");
        apply("{size: 2}", &[]).await.says("configured");
        let parts = session.run(&["get", "widget", "w", "-o", "jsonpath={.spec}"]).await;
        assert_eq!(serde_json::from_str::<Value>(&parts.out).unwrap(), json!({"size": 2, "color": "red"}));
        apply("{size: 3}", &["--server-side"]).await.says("serverside-applied");
        // What was applied by the client is the server's to take back now.
        apply("{size: 3, color: blue}", &["--server-side"]).await.says("serverside-applied");
        apply("{size: 3}", &["--server-side"]).await.says("serverside-applied");
        let color = session.run(&["get", "wd", "w", "-o", "jsonpath={.spec.color}"]).await;
        assert_eq!(color.out, "red", "the default is back");
        let managers = "jsonpath={.metadata.managedFields[*].manager}";
        let managers = session.run(&["get", "wd", "w", "--show-managed-fields", "-o", managers]).await;
        // The client-side manager is gone; the other is how kubectl keeps its annotation up to date.
        let mut managers: Vec<_> = managers.out.split(' ').collect();
        managers.sort_unstable();
        assert_eq!(managers, ["kubectl", "kubectl-last-applied"]);
        let rival = ["--server-side", "--field-manager=rival"];
        apply("{size: 4}", &rival).await.fails().says("conflict with \"kubectl\": .spec.size");
        apply("{size: 4}", &[&rival[..], &["--force-conflicts"]].concat()).await.says("serverside-applied");
        apply("{size: 11}", &[]).await.fails().says("spec.size: Invalid value: 11");
        apply("{size: 1, sise: 2}", &[]).await.fails().says("unknown field \"spec.sise\"");
        apply("{size: 1, sise: 2}", &["--validate=warn"]).await.says("Warning: unknown field \"spec.sise\"");
        apply("{size: 5}", &["--dry-run=server"]).await.says("(server dry run)");
        session.feed(&widget("{size: 6}"), &["diff", "-f", "-"]).await.fails().says("+  size: 6");
        session.run(&["replace", "--force", "-f", &crd]).await.says("replaced");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_objects_is_applied_with_validation() {
    each_version(async |session| {
        let map = |name: &str, field: &str| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, field: {"k": "v"}})
        };
        let list = |items: Value| json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
        session.file("list.yaml", &list(json!([map("a", "data"), map("b", "data")])));
        let path = session.path("list.yaml");
        session
            .run(&["apply", "-f", &path])
            .await
            .says("configmap/a created")
            .says("configmap/b created");
        session.run(&["apply", "-f", &path]).await.says("configmap/b unchanged");
        session.file("list.yaml", &list(json!([map("c", "dta")])));
        session.run(&["create", "-f", &path]).await.fails().says("unknown field \"dta\"");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_shown_changed_waited_for_and_deleted() {
    each_version(async |session| {
        session.feed(&widget_definition().to_string(), &["create", "-f", "-"]).await.says("created");
        session.feed(&widget("{size: 1}"), &["create", "-f", "-"]).await.says("created");
        session.run(&["get", "wd"]).await.says("NAME").says("SIZE").says("w      1");
        session.run(&["get", "wd", "-o", "wide", "--show-labels"]).await.says("a=b");
        session.run(&["get", "wd", "-A"]).await.says("NAMESPACE").says("default");
        session.run(&["get", "wd", "w", "-o", "yaml"]).await.says("kind: Widget").says("size: 1");
        session.run(&["get", "wd", "-o", "json"]).await.says("\"kind\": \"List\"");
        session.run(&["get", "wd", "-l", "a=c"]).await.says("No resources found");
        session
            .run(&["get", "wd", "--field-selector", "metadata.name=w", "-o", "name"])
            .await
            .says("widget.example.dev/w");
        session.run(&["explain", "widget.spec.size"]).await.says("FIELD: size <integer>");
        session.run(&["describe", "wd", "w"]).await.says("Size:").says("Events:");
        session
            .run(&["patch", "wd", "w", "--type=merge", "-p", r#"{"spec":{"size":2}}"#])
            .await
            .says("patched");
        let patch = r#"[{"op":"replace","path":"/spec/size","value":3}]"#;
        session.run(&["patch", "wd", "w", "--type=json", "-p", patch]).await.says("patched");
        session.run(&["label", "wd", "w", "c=d"]).await.says("labeled");
        session.run(&["label", "wd", "w", "a-"]).await.says("unlabeled");
        session.run(&["annotate", "wd", "w", "note=x"]).await.says("annotated");
        let status = r#"{"status":{"seen":1}}"#;
        session
            .run(&["patch", "wd", "w", "--subresource=status", "--type=merge", "-p", status])
            .await
            .says("patched");
        session.run(&["wait", "--for=jsonpath={.status.seen}=1", "wd/w"]).await.says("condition met");
        session
            .run(&["wait", "--for=jsonpath={.status.seen}=2", "wd/w", "--timeout=1s"])
            .await
            .fails()
            .says("timed out");
        let mut watching = session.start(&["get", "wd", "-w", "--output-watch-events"]);
        watching.line("ADDED").await;
        session
            .run(&["patch", "wd", "w", "--type=merge", "-p", r#"{"spec":{"size":7}}"#])
            .await
            .says("patched");
        let modified = watching.line("MODIFIED").await;
        assert!(modified.ends_with(" 7"), "{modified}");
        let waiting = session.start(&["wait", "--for=delete", "wd/w", "--timeout=20s"]);
        session.run(&["delete", "wd", "w", "--cascade=foreground"]).await.says("deleted");
        watching.line("DELETED").await;
        waiting.end().await.succeeds();
        watching.stop().await;
        session.run(&["delete", "wd", "--all"]).await.says("No resources found");
        session.run(&["delete", "crd", "widgets.example.dev"]).await.says("deleted");
        session.run(&["get", "wd"]).await.fails().says("the server");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_run_described_logged_and_waited_for() {
    each_version(async |session| {
        session.run(&["run", "p", "--image=busybox", "--restart=Never", "--", "true"]).await.says("pod/p created");
        session.run(&["get", "pods"]).await.says("0/1").says("Pending");
        session.run(&["describe", "pod", "p"]).await.says("Image:").says("QoS Class:");
        let ready = r#"{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}],"containerStatuses":[{"name":"p","ready":true,"restartCount":0,"image":"busybox","imageID":"","state":{"running":{"startedAt":"2026-01-01T00:00:00Z"}}}]}}"#;
        session.run(&["patch", "pod", "p", "--subresource=status", "--type=merge", "-p", ready]).await.says("patched");
        session.run(&["wait", "--for=condition=Ready", "pod/p"]).await.says("condition met");
        session.run(&["get", "pods"]).await.says("1/1").says("Running");
        session.run(&["logs", "p"]).await.says("line 1").says("line 3");
        session.run(&["logs", "-f", "p", "--tail=1", "--timestamps"]).await.says("tail Some(1) follow true timestamps true");
        session.run(&["logs", "p", "-c", "nosuch"]).await.fails().says("container nosuch is not valid for pod p");
        session.run(&["set", "image", "pod/p", "p=busybox:2"]).await.says("image updated");
        session.run(&["delete", "pod", "p", "--wait=true"]).await.says("deleted");
        session.run(&["get", "events"]).await.says("No resources found");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn helm_installs_upgrades_and_uninstalls() {
    each_version(async |session| {
        session.file("chart/Chart.yaml", "apiVersion: v2\nname: c\nversion: 1.0.0\n");
        session.file(
            "chart/templates/all.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}-c'}\ndata: {v: '{{ .Values.v }}'}\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: '{{ .Release.Name }}-a'}\n",
        );
        session.file("chart/crds/widgets.yaml", &widget_definition().to_string());
        session.file("chart/values.yaml", "v: one\n");
        let chart = session.path("chart");
        session.helm(&["install", "r", &chart, "-n", "h", "--create-namespace", "--wait"]).await.says("STATUS: deployed");
        session.run(&["get", "cm", "r-c", "-n", "h", "-o", "jsonpath={.data.v}"]).await.says("one");
        session.helm(&["upgrade", "r", &chart, "-n", "h", "--set", "v=two"]).await.says("REVISION: 2");
        session.run(&["get", "cm", "r-c", "-n", "h", "-o", "jsonpath={.data.v}"]).await.says("two");
        session.helm(&["list", "-n", "h"]).await.says("deployed");
        session.helm(&["rollback", "r", "1", "-n", "h"]).await.succeeds();
        session.run(&["get", "cm", "r-c", "-n", "h", "-o", "jsonpath={.data.v}"]).await.says("one");
        session.helm(&["uninstall", "r", "-n", "h"]).await.says("uninstalled");
        session.run(&["get", "cm", "r-c", "-n", "h"]).await.fails().says("not found");
    })
    .await;
}
