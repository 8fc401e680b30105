//! Pods from their creation to their end, and across lives of the node.

use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::cluster::{Cluster, eventually, pod};

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_gets_what_it_names_and_hands_back_what_was_asked_for() {
    let cluster = Cluster::new().await;
    cluster.create_secret("token", &json!({"value": "s3cret", "other": "x"})).await;
    cluster.create_config_map("settings", &json!({"color": "green", "size": "9"})).await;
    cluster.create_claim("work").await;
    let node = cluster.start();
    let script = "test \"$TOKEN\" = s3cret && test \"$COLOR-$GREETING\" = 'green-hi green' && test \"$0\" = 'zero $(NONE)' \
        && test \"$(cat /token/value)$(stat -c %a /token/value)\" = s3cret400 && test \"$(ls /settings)\" = tint \
        && echo one >>/work/kept && printf '%s' \"$size\" >/tmp/out && touch /scratch/x && hostname";
    let mut given = pod("first", script);
    given["metadata"]["annotations"] = json!({
        "openchoreo.dev/collect-files": r#"[{"name":"out","path":"/tmp/out"},{"name":"none","path":"/none"}]"#,
    });
    let container = &mut given["spec"]["containers"][0];
    container["args"] = json!(["zero $(NONE)"]);
    container["envFrom"] = json!([{"configMapRef": {"name": "settings"}}]);
    container["env"] = json!([
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "token", "key": "value"}}},
        {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}}},
        {"name": "GREETING", "value": "hi $(COLOR)"},
    ]);
    container["volumeMounts"] = json!([
        {"name": "work", "mountPath": "/work"},
        {"name": "token", "mountPath": "/token", "readOnly": true},
        {"name": "settings", "mountPath": "/settings"},
        {"name": "scratch", "mountPath": "/scratch"},
    ]);
    given["spec"]["volumes"] = json!([
        {"name": "work", "persistentVolumeClaim": {"claimName": "work"}},
        {"name": "token", "secret": {"secretName": "token"}},
        {"name": "settings", "configMap": {"name": "settings", "items": [{"key": "color", "path": "tint"}]}},
        {"name": "scratch", "emptyDir": {}},
    ]);
    let mut second = pod("second", "cat /work/kept; exit 7");
    second["spec"]["volumes"] = json!([{"name": "work", "persistentVolumeClaim": {"claimName": "work"}}]);
    second["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "work", "mountPath": "/work"}]);
    second["spec"]["containers"][0]["terminationMessagePolicy"] = json!("FallbackToLogsOnError");

    cluster.create_pod(given).await;
    let ended = cluster.wait_for_end("first").await;
    let log = node.log(&ended, buildplane_node::LogOptions::default()).await;
    let terminated = &ended["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!(
        (&ended["status"]["phase"], &terminated["reason"]),
        (&json!("Succeeded"), &json!("Completed")),
        "{log}"
    );
    assert_eq!(log, "first\n");
    assert!(terminated["startedAt"].as_str() <= terminated["finishedAt"].as_str());
    assert_eq!(ended["metadata"]["annotations"]["openchoreo.dev/collected-files"], r#"{"out":"9"}"#);

    cluster.create_pod(second).await;
    let ended = cluster.wait_for_end("second").await;
    let terminated = &ended["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!(ended["status"]["phase"], "Failed");
    assert_eq!((&terminated["exitCode"], &terminated["message"]), (&json!(7), &json!("one\n")));

    eventually("the claim is bound", || async {
        let claim = cluster.claims().get("work").await.unwrap();
        claim.status.and_then(|status| status.phase).as_deref() == Some("Bound")
    })
    .await;
    assert_eq!(volumes(&cluster).len(), 1, "scratch directories go with their step: {:?}", volumes(&cluster));
    cluster.claims().delete("work", &DeleteParams::default()).await.unwrap();
    eventually("the claim's directory is removed", || async { volumes(&cluster).is_empty() }).await;
    node.stop().await;
}

fn volumes(cluster: &Cluster) -> Vec<String> {
    let entries = std::fs::read_dir(cluster.data_dir().join("volumes")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_wait_for_a_place_and_say_so() {
    let cluster = Cluster::new().await;
    cluster.create_claim("gate").await;
    let node = cluster.start_with(|config| config.max_parallel = 1);
    let with_gate = |name: &str, script: &str| {
        let mut given = pod(name, script);
        given["spec"]["volumes"] = json!([{"name": "gate", "persistentVolumeClaim": {"claimName": "gate"}}]);
        given["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "gate", "mountPath": "/gate"}]);
        given
    };
    cluster
        .create_pod(with_gate(
            "first",
            "until [ -e /gate/open ]; do sleep 0.05; done; echo first >>/gate/order",
        ))
        .await;
    cluster.wait_for_phase("first", "Running").await;
    cluster.create_pod(with_gate("second", "echo second >>/gate/order; cat /gate/order")).await;
    let queued = cluster.wait_for("second", "queued", |status| status["reason"] == "Queued").await;
    assert_eq!(queued["status"]["phase"], "Pending");
    let directory = volumes(&cluster).pop().unwrap();
    let opener = std::fs::File::create(cluster.data_dir().join("volumes").join(directory).join("open"));
    if opener.is_err() {
        // An ordinary user cannot write there: the directory is the sandbox's.
        cluster.delete_pod("first").await;
    }
    let ended = cluster.wait_for_end("second").await;
    assert_eq!(ended["status"]["phase"], "Succeeded");
    assert_eq!(ended["status"]["reason"], Value::Null, "the reason for waiting is gone");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_pod_is_killed_and_its_log_removed() {
    let cluster = Cluster::new().await;
    let node = cluster.start();
    cluster.create_pod(pod("victim", "echo started; exec sleep 7331")).await;
    let running = cluster.wait_for_phase("victim", "Running").await;
    eventually("it says so", || async {
        node.log(&running, buildplane_node::LogOptions::default()).await == "started\n"
    })
    .await;
    cluster.delete_pod("victim").await;
    eventually("its log is removed", || async {
        node.logs.open(crate::cluster::uid(&running), buildplane_node::LogOptions::default()).await.is_err()
    })
    .await;
    assert_eq!(processes("sleep\x007331\0"), 0);
    assert!(cluster.pods().get_opt("victim").await.unwrap().is_none());
    node.stop().await;
}

fn processes(command_line: &str) -> usize {
    let running = std::fs::read_dir("/proc").unwrap();
    let found = running.filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok());
    found.filter(|found| found.as_slice() == command_line.as_bytes()).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_lost_its_node_ends_as_interrupted_and_is_not_run_again() {
    let cluster = Cluster::new().await;
    cluster.create_claim("work").await;
    for stopped in [false, true] {
        let name = if stopped { "stopped" } else { "killed" };
        let node = cluster.start();
        let mut given = pod(name, &format!("echo x >>/work/{name}; exec sleep 7332"));
        given["spec"]["volumes"] = json!([{"name": "work", "persistentVolumeClaim": {"claimName": "work"}}]);
        given["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "work", "mountPath": "/work"}]);
        cluster.create_pod(given).await;
        cluster.wait_for_phase(name, "Running").await;
        eventually("it runs", || async { processes("sleep\x007332\0") == 1 }).await;
        if stopped {
            node.stop().await;
        } else {
            drop(node);
            eventually("it is gone", || async { processes("sleep\x007332\0") == 0 }).await;
            let left = cluster.wait_for_phase(name, "Running").await;
            assert_eq!(left["status"]["phase"], "Running", "nobody was there to write its end");
        }
        let node = cluster.start();
        let ended = cluster.wait_for_end(name).await;
        assert_eq!(ended["status"]["phase"], "Failed");
        assert_eq!(ended["status"]["reason"], "Interrupted");
        assert!(ended["status"]["message"].as_str().unwrap().contains("restarted"), "{ended}");
        assert_eq!(ended["status"]["containerStatuses"][0]["state"]["terminated"]["reason"], "Interrupted");

        // The claim's directory is as the step left it, and nothing runs.
        let count = format!("check-{name}");
        let mut check = pod(&count, &format!("wc -l </work/{name}"));
        check["spec"]["volumes"] = json!([{"name": "work", "persistentVolumeClaim": {"claimName": "work"}}]);
        check["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "work", "mountPath": "/work"}]);
        cluster.create_pod(check).await;
        let ended = cluster.wait_for_end(&count).await;
        assert_eq!(node.log(&ended, buildplane_node::LogOptions::default()).await, "1\n");
        assert_eq!(processes("sleep\x007332\0"), 0);
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_former_life_left_is_removed_and_what_is_wanted_kept() {
    let cluster = Cluster::new().await;
    let claim = cluster.create_claim("kept").await;
    let node = cluster.start();
    let kept = format!("pvc-{}", claim.metadata.uid.unwrap());
    eventually("the claim has its directory", || async { volumes(&cluster) == [kept.clone()] }).await;
    cluster.create_pod(pod("ended", "echo hi")).await;
    let ended = cluster.wait_for_end("ended").await;
    node.stop().await;
    for name in ["pvc-gone", "some-pod.scratch"] {
        std::fs::create_dir(cluster.data_dir().join("volumes").join(name)).unwrap();
    }
    let stray = cluster.data_dir().join("logs").join("stray.log");
    std::fs::write(&stray, "").unwrap();
    let node = cluster.start();
    eventually("leftovers are removed", || async { volumes(&cluster) == [kept.clone()] && !stray.exists() })
        .await;
    assert_eq!(
        node.log(&ended, buildplane_node::LogOptions::default()).await,
        "hi\n",
        "logs outlive the node"
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_comes_late_is_waited_for() {
    let cluster = Cluster::new().await;
    let node = cluster.start();
    let mut given = pod("waits", "echo $VALUE");
    given["spec"]["containers"][0]["env"] =
        json!([{"name": "VALUE", "valueFrom": {"secretKeyRef": {"name": "late", "key": "value"}}}]);
    cluster.create_pod(given).await;
    let waiting =
        cluster.wait_for("waits", "waiting", |status| status["reason"] == "CreateContainerConfigError").await;
    assert_eq!(waiting["status"]["message"], "secret \"late\" does not exist");
    cluster.create_secret("late", &json!({"value": "here"})).await;
    let ended = cluster.wait_for_end("waits").await;
    assert_eq!(node.log(&ended, buildplane_node::LogOptions::default()).await, "here\n");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_a_pod_with_a_reason() {
    let cluster = Cluster::new().await;
    let node = cluster.start();
    let mut given = pod("slow", "sleep 60");
    given["spec"]["activeDeadlineSeconds"] = json!(1);
    cluster.create_pod(given).await;
    let ended = cluster.wait_for_end("slow").await;
    assert_eq!(ended["status"]["reason"], "DeadlineExceeded");
    // Its object can still be changed by others.
    let label = json!({"metadata": {"labels": {"workflows.argoproj.io/completed": "true"}}});
    cluster.pods().patch("slow", &PatchParams::default(), &Patch::Merge(&label)).await.unwrap();
    node.stop().await;
}
