//! Pods this node does not run, and what they are told.

use serde_json::{Value, json};

use crate::cluster::{Cluster, pod};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_understood_is_refused_by_name() {
    let cluster = Cluster::new().await;
    let node = cluster.start();
    let set = |pointer: &'static str, value: Value| (pointer, value);
    let cases = [
        (
            set("/spec/containers/0/image", json!("alpine:3")),
            "ImageRefused",
            "\"alpine:3\" cannot be run here",
        ),
        (
            set("/spec/containers/0/image", json!("evil.example/buildplane/tools")),
            "ImageRefused",
            "only buildplane/tools",
        ),
        (set("/spec/hostNetwork", json!(true)), "Unsupported", "spec.hostNetwork is not supported here"),
        (
            set("/spec/initContainers", json!([{"name": "a", "image": "b"}])),
            "Unsupported",
            "spec.initContainers",
        ),
        (
            set("/spec/containers/0/securityContext", json!({"privileged": true})),
            "Unsupported",
            "spec.containers[0].securityContext.privileged is not supported here",
        ),
        (
            set("/spec/containers/0/securityContext", json!({"capabilities": {"add": ["SYS_PTRACE"]}})),
            "Unsupported",
            "capability \"SYS_PTRACE\" is not one that a step may have",
        ),
        (
            set("/spec/containers/0/securityContext", json!({"runAsUser": 1000})),
            "Unsupported",
            "runAsUser: 1000",
        ),
        (set("/spec/restartPolicy", json!("OnFailure")), "Unsupported", "OnFailure is not supported here"),
        (set("/spec/containers/0/command", json!([])), "Unsupported", "command: is missing"),
        (
            set("/spec/volumes", json!([{"name": "host", "hostPath": {"path": "/"}}])),
            "Unsupported",
            "spec.volumes[0].hostPath is not supported here",
        ),
        (
            set("/spec/containers/0/volumeMounts", json!([{"name": "v", "mountPath": "/etc/passwd"}])),
            "Unsupported",
            "nothing can be mounted on /etc/passwd",
        ),
        (
            set("/spec/containers/0/volumeMounts", json!([{"name": "v", "mountPath": "/a", "subPath": "b"}])),
            "Unsupported",
            "volumeMounts[0].subPath is not supported here",
        ),
    ];
    for (index, ((pointer, value), reason, message)) in cases.into_iter().enumerate() {
        let name = format!("refused-{index}");
        let mut given = pod(&name, "echo it ran");
        given["spec"]["volumes"] = json!([{"name": "v", "emptyDir": {}}]);
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        given.pointer_mut(parent).unwrap()[field] = value;
        cluster.create_pod(given).await;
        let ended = cluster.wait_for_end(&name).await;
        let status = &ended["status"];
        assert_eq!(
            (&status["phase"], &status["reason"]),
            (&json!("Failed"), &json!(reason)),
            "{pointer}: {status}"
        );
        assert!(status["message"].as_str().unwrap().contains(message), "{pointer}: {status}");
        let log = node.logs.open(crate::cluster::uid(&ended), buildplane_node::LogOptions::default()).await;
        if let Ok(log) = log {
            use futures::TryStreamExt as _;
            let bytes: Vec<_> = log.try_collect().await.unwrap();
            assert!(bytes.is_empty(), "{pointer}: it ran");
        }
    }
    node.stop().await;
}
