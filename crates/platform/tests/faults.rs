//! A platform and what happens to it in life: restarts, kills, deletions by its user.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/fixture.rs"]
mod support;

use std::time::Duration;

use buildplane_api::ClusterBuildPlane;
use buildplane_platform::{Error, purge, state};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::json;

use support::{Home, Life, client, eventually, registry_process};

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_finds_its_objects_and_is_ready_only_when_it_is() {
    let home = Home::new();
    let first = Life::start(&home).await;
    let here: Api<ConfigMap> = Api::default_namespaced(client(&first, "control-plane").await);
    let kept =
        serde_json::from_value(json!({ "metadata": { "name": "kept" }, "data": { "a": "b" } })).unwrap();
    here.create(&PostParams::default(), &kept).await.unwrap();
    first.stop().await;
    assert!(state::holder(&home.layout()).is_none());

    let second = Life::start(&home).await;
    // Both are asked once: ready means that they hold now, not soon.
    let planes: Api<ClusterBuildPlane> = Api::all(client(&second, "control-plane").await);
    let status = planes.get("default").await.unwrap().status.unwrap();
    assert!(status.conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True"), "{status:?}");
    client(&second, "via-gateway").await.apiserver_version().await.unwrap();
    let here: Api<ConfigMap> = Api::default_namespaced(client(&second, "control-plane").await);
    assert_eq!(here.get("kept").await.unwrap().data, kept.data);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_user_deletes_of_the_platform_is_back_after_a_restart() {
    let home = Home::new();
    let first = Life::start(&home).await;
    let planes: Api<ClusterBuildPlane> = Api::all(client(&first, "control-plane").await);
    planes.delete("default", &DeleteParams::default()).await.unwrap();
    eventually("the plane is gone", || async { planes.get_opt("default").await.unwrap().is_none() }).await;
    first.stop().await;
    Life::start(&home).await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_whose_agent_has_no_usable_ca_is_up_to_be_mended() {
    let home = Home::new();
    let first = Life::start(&home).await;
    spoil_agent_ca(&first).await;
    first.stop().await;

    let said = std::sync::Mutex::new(Vec::new());
    let second =
        Life::try_start_telling(&home, |progress| said.lock().unwrap().push(progress)).await.unwrap();
    let said = format!("{:?}", said.lock().unwrap());
    assert!(said.contains("StepsImpossible") && said.contains("cluster-agent-ca"), "{said}");
    // What it said helps.
    let secrets: Api<Secret> = Api::namespaced(client(&second, "build-plane").await, AGENT_NAMESPACE);
    for name in ["cluster-agent-ca", "cluster-agent-tls"] {
        secrets.delete(name, &DeleteParams::default()).await.unwrap();
    }
    second.stop().await;
    let third = Life::start(&home).await;
    client(&third, "via-gateway").await.apiserver_version().await.unwrap();
    third.stop().await;
}

const AGENT_NAMESPACE: &str = "openchoreo-build-plane";

async fn spoil_agent_ca(life: &Life) {
    let secrets: Api<Secret> = Api::namespaced(client(life, "build-plane").await, AGENT_NAMESPACE);
    for name in ["cluster-agent-ca", "cluster-agent-tls"] {
        let mut secret = secrets.get(name).await.unwrap();
        for value in secret.data.as_mut().unwrap().values_mut() {
            value.0 = b"garbage".to_vec();
        }
        secrets.replace(name, &PostParams::default(), &secret).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_platform_bears_neither_a_second_one_nor_a_purge_and_leaves_nothing_after_one() {
    let home = Home::new();
    let running = Life::start(&home).await;
    let Err(Error::InUse { pid, .. }) = Life::try_start(&home).await else { panic!("started twice") };
    assert_eq!(pid, std::process::id());
    assert!(matches!(purge(home.layout().root()).await, Err(Error::InUse { .. })));
    running.stop().await;
    purge(home.layout().root()).await.unwrap();
    assert!(!home.layout().root().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_was_killed_comes_back() {
    let home = Home::new();
    let running = Life::start(&home).await;
    let killed = registry_process(&home).expect("the registry runs");
    support::kill(killed);
    let address = running.platform().endpoints().registry;
    eventually("another registry listens", || async {
        registry_process(&home).is_some_and(|it| it != killed)
            && tokio::net::TcpStream::connect(address).await.is_ok()
    })
    .await;
    running.stop().await;
    assert_eq!(registry_process(&home), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_steps_at_once_and_writes_down_that_it_did() {
    let home = Home::new();
    let first = Life::start(&home).await;
    let pods: Api<Pod> = Api::namespaced(client(&first, "build-plane").await, "default");
    let pod = json!({
        "metadata": { "name": "long" },
        "spec": { "restartPolicy": "Never", "automountServiceAccountToken": false, "containers": [
            { "name": "main", "image": "buildplane/tools", "command": ["sleep", "600"] },
        ] },
    });
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let phase = |pod: &Pod| pod.status.as_ref().and_then(|it| it.phase.clone()).unwrap_or_default();
    eventually("the step runs", || async { phase(&pods.get("long").await.unwrap()) == "Running" }).await;
    let began = std::time::Instant::now();
    first.stop().await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(4), "the stop took {took:?}");

    let second = Life::start(&home).await;
    let pods: Api<Pod> = Api::namespaced(client(&second, "build-plane").await, "default");
    let pod = pods.get("long").await.unwrap();
    assert_eq!(phase(&pod), "Failed");
    let status = pod.status.unwrap();
    assert_eq!(status.reason.as_deref(), Some("Interrupted"), "{status:?}");
    second.stop().await;
}

/// The process that [`support::Child`] starts and kills; by itself it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    support::Child::main().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_nothing_acknowledged() {
    let rounds = if std::env::var_os("BUILDPLANE_SOAK").is_some() { 30 } else { 3 };
    let home = Home::new();
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 0..rounds {
        let child = support::Child::start(&home).await;
        let here: Api<ConfigMap> = Api::default_namespaced(client(&home, "control-plane").await);
        let found: Vec<String> = here
            .list(&ListParams::default())
            .await
            .unwrap()
            .into_iter()
            .filter_map(|it| it.metadata.name)
            .collect();
        let lost: Vec<_> = acknowledged.iter().filter(|name| !found.contains(name)).collect();
        assert!(lost.is_empty(), "round {round} lost {lost:?}");
        // Killed in the middle of writes: the last one may be there or not, the others must be.
        let writing = async {
            for number in 0.. {
                let name = format!("kept-{round}-{number}");
                let object = serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
                if here.create(&PostParams::default(), &object).await.is_err() {
                    break;
                }
                acknowledged.push(name);
            }
        };
        let killing = async {
            tokio::time::sleep(Duration::from_millis(50 + 37 * round)).await;
            child.kill().await;
        };
        tokio::join!(writing, killing);
        assert!(!acknowledged.is_empty());
        eventually("the registry has gone with its platform", || async { registry_process(&home).is_none() })
            .await;
    }
}
