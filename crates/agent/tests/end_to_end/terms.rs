//! What a connection is opened under, and what a change of it does to those that are open: whom the agent serves, its
//! cluster, its policy, the gateway's CA.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use buildplane_agent::{Agent, Config, PolicySource, ServerCa};
use buildplane_tls::Authority;

use crate::backend::Backend;
use crate::feed::watch;
use crate::lifecycle::plain;
use crate::rig::{HOUR, Rig, TEAM_PROXY, chunk, ends, text};

const PODS: &str = "/api/v1/namespaces/openchoreo-ci-team/pods";

/// Replaces a file as Kubernetes does: never seen half written.
fn replace(path: &Path, text: &str) {
    let next = path.with_extension("next");
    std::fs::write(&next, text).unwrap();
    std::fs::rename(next, path).unwrap();
}

fn ours(rig: &Rig) -> ServerCa {
    ServerCa::Pem(rig.gateway_ca.cert_pem().to_owned())
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_agent_says_its_cluster_and_whom_it_serves() {
    let rig = Rig::start().await;
    let backend = Backend::start().await;
    let mut lines = watch(&rig).await;
    let _agent = rig
        .agent_configured(&backend, ours(&rig), |config| {
            config.allowed_planes = vec!["buildplane/team/*".parse().unwrap()];
        })
        .await;
    let ca = Rig::agent_ca(&backend).await;
    let mut controller = rig.controller().await;
    controller.register("team/default", &ca).await;
    let status = lines.status_with(true).await;
    assert_eq!(status["clusterID"], "the-usual-cluster");
    assert_eq!(status["agents"][0]["narrowed"], true);
    controller.register("_cluster/default", &ca).await;
    let status = lines.status_where(|line| line["unadmitted"] != json!([])).await;
    assert_eq!(status["namespace"], json!(null));
}

#[tokio::test]
async fn a_cluster_that_cannot_be_read_stays_unsaid_until_it_can() {
    let rig = Rig::start().await;
    let backend = Backend::start().await;
    backend.seen.set_cluster("");
    let mut lines = watch(&rig).await;
    let _agent = rig.agent(&backend).await;
    rig.controller().await.register("team/default", &Rig::agent_ca(&backend).await).await;
    let status = lines.status_with(true).await;
    assert_eq!(status["clusterID"], json!(null));
    backend.seen.set_cluster("blue");
    let status = lines.status_where(|line| line["clusterID"] == "blue").await;
    assert_eq!(status["connected"], true);
}

#[tokio::test]
async fn a_changed_policy_file_takes_effect_and_a_broken_one_does_not() {
    let rig = Rig::start().await;
    let backend = Backend::start().await;
    let directory = tempfile::tempdir().unwrap();
    let policy = directory.path().join("policy.yaml");
    replace(&policy, "allowedPlanes: [buildplane/team/default]\n");
    let health = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = health.local_addr().unwrap();
    let _agent = rig
        .agent_configured(&backend, ours(&rig), |config| {
            config.policy = PolicySource::File(policy.clone());
            config.health = Some(health);
        })
        .await;
    let mut controller = rig.controller().await;
    controller.register("team/default", &Rig::agent_ca(&backend).await).await;
    controller.until_connected("team/default").await;
    let mut log = controller.get(&format!("{TEAM_PROXY}{PODS}?watch=true")).await.into_body();
    assert!(chunk(&mut log).await.is_some());

    for broken in ["allowedPlanes: [buildplane/team", "allowedPlans: []\n", "allowedPlanes: [starship/a/b]\n"]
    {
        replace(&policy, broken);
        until("the broken file is told", async || {
            plain(address, "/readyz").await.contains("the policy before it stays in force")
        })
        .await;
        let ready = plain(address, "/readyz").await;
        assert!(ready.starts_with("HTTP/1.1 200") && ready.contains("policy.yaml"), "{ready}");
        assert!(plain(address, "/metrics").await.contains("reload_failures_total{file=\"policy\"}"));
        assert_eq!(controller.get(&format!("{TEAM_PROXY}{PODS}")).await.status(), 200);
    }
    assert!(chunk(&mut log).await.is_some(), "what is open goes on");

    // No rule allows Pods any more, to nobody, and what is open under the old policy ends.
    replace(&policy, "rules: []\n");
    assert!(ends(&mut log).await, "the stream under the old policy ends");
    let response = controller.get(&format!("{TEAM_PROXY}{PODS}")).await;
    assert_eq!(response.status(), 403, "{}", text(response).await);
    assert!(!plain(address, "/readyz").await.contains("policy"));

    // The agent serves another now: the custom resource is told.
    replace(&policy, "allowedPlanes: [buildplane/other/default]\n");
    controller.until_agents("team/default", 0).await;
    assert_eq!(controller.get(&format!("{TEAM_PROXY}{PODS}")).await.status(), 503);
}

#[tokio::test]
async fn an_agent_begins_with_a_sound_policy_or_not_at_all() {
    let rig = Rig::start().await;
    let backend = Backend::start().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("policy.yaml");
    let url: buildplane_agent::GatewayUrl = format!("wss://{}/ws", rig.agents).parse().unwrap();
    let kube = backend.kube_config().await;
    let begin = || {
        let plane = (buildplane_api::PlaneType::BuildPlane, "shared".parse().unwrap());
        let mut config = Config::new(url.clone(), ours(&rig), plane, kube.clone());
        config.policy = PolicySource::File(path.clone());
        config.allowed_planes = vec!["buildplane/team/default".parse().unwrap()];
        Agent::new(config).err().map(|error| error.to_string())
    };
    assert!(begin().is_some(), "there is no file");
    replace(&path, "nonsense: true\n");
    assert!(begin().is_some(), "it is no policy");
    replace(&path, "allowedPlanes: [buildplane/other/default]\n");
    assert!(begin().is_some(), "two lists of planes");
    replace(&path, "rules: []\n");
    assert_eq!(begin(), None);
}

#[tokio::test]
async fn the_gateways_ca_rotates_without_a_failed_request_and_its_removal_ends_the_connection() {
    let rig = Rig::start().await;
    let backend = Backend::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.crt");
    replace(&file, rig.gateway_ca.cert_pem());
    let health = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = health.local_addr().unwrap();
    let _agent = rig
        .agent_configured(&backend, ServerCa::File(file.clone()), |config| config.health = Some(health))
        .await;
    let mut controller = rig.controller().await;
    controller.register("team/default", &Rig::agent_ca(&backend).await).await;
    controller.until_connected("team/default").await;
    let shows = async |line: &str| plain(address, "/metrics").await.contains(line);
    assert!(shows("buildplane_agent_dials_total{outcome=\"connected\"} 1\n").await);

    let next = Authority::generate("gateway", HOUR).unwrap();
    replace(&file, &format!("{}{}", rig.gateway_ca.cert_pem(), next.cert_pem()));
    let begun = Instant::now();
    while !shows("buildplane_agent_dials_total{outcome=\"connected\"} 2\n").await
        || !shows("buildplane_agent_connections{state=\"draining\"} 0\n").await
    {
        let response = controller.get(&format!("{TEAM_PROXY}/version")).await;
        assert_eq!(response.status(), 200, "{}", text(response).await);
        let waited = begun.elapsed();
        assert!(waited < Duration::from_secs(10), "{}", plain(address, "/metrics").await);
    }
    // A file that says nothing takes nothing away.
    replace(&file, "half a certificate");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut stream = controller.get(&format!("{TEAM_PROXY}{PODS}?watch=true")).await.into_body();
    assert!(chunk(&mut stream).await.is_some());

    // The gateway's own CA is gone: the connection ends, and none is opened.
    replace(&file, next.cert_pem());
    let begun = Instant::now();
    assert!(ends(&mut stream).await);
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
    controller.until_agents("team/default", 0).await;
}
