//! Which cluster serves a plane, and whom its owner lets in.

use serde_json::json;

use buildplane_tls::{Authority, LeafRequest};

use crate::feed::watch;
use crate::rig::{CLUSTER_PROXY, HOUR, Rig, SHARED, TEAM_PROXY, text};
use crate::speakers::{CLAIM, Speaker, leaf, san};

const TEAM: &str = "buildplane/team/default";

#[tokio::test]
async fn an_agent_that_leaves_a_custom_resource_out_is_shown_and_not_used() {
    let rig = Rig::start().await;
    let ca = Authority::generate("ca", HOUR).unwrap();
    let mut controller = rig.controller().await;
    let mut lines = watch(&rig).await;
    controller.register("team/default", ca.cert_pem()).await;

    // It may speak for nobody yet, and stays.
    let narrow = Speaker::new(&ca, "narrow").of_cluster("blue").serving(&["*/_cluster/*"]);
    let narrow = narrow.connect(&rig).await.unwrap();
    let status = lines.status_where(|line| line["unadmitted"] != json!([])).await;
    assert_eq!(status["connected"], false);
    assert_eq!(status["connectedAgents"], 0);
    assert_eq!(status["agents"], json!([]));
    assert_eq!(status["unadmitted"][0]["instance"], "narrow");
    let message = status["unadmitted"][0]["message"].as_str().unwrap();
    assert!(message.contains("allowedPlanes leave buildplane/team/default out"), "{message}");
    // Who serves nobody here does not bind the plane to its cluster.
    assert_eq!(status["clusterID"], json!(null));
    assert_eq!(controller.get(&format!("{TEAM_PROXY}/version")).await.status(), 503);
    assert!(narrow.is_open());

    // A custom resource that it does serve finds it without a new connection.
    controller.register("_cluster/default", ca.cert_pem()).await;
    let status = lines.status_where(|line| line["connected"] == true).await;
    assert_eq!(status["namespace"], json!(null));
    assert_eq!(status["clusterID"], "blue");
    assert_eq!(status["unadmitted"], json!([]));
    let agent = &status["agents"][0];
    assert_eq!(
        (&agent["instance"], &agent["cluster"], &agent["narrowed"]),
        (&json!("narrow"), &json!("blue"), &json!(true))
    );
    assert!(agent["connectedAt"].as_str().unwrap().ends_with('Z'), "{agent}");
    assert_eq!(text(controller.get(&format!("{CLUSTER_PROXY}/version")).await).await, "narrow");
    assert_eq!(controller.get(&format!("{TEAM_PROXY}/version")).await.status(), 503);

    // Another that serves both takes the first's place for the team alone.
    let wide = Speaker::new(&ca, "wide").of_cluster("blue").connect(&rig).await.unwrap();
    let status = lines.status_where(|line| line["namespace"] == "team" && line["connected"] == true).await;
    assert_eq!(status["agents"][0]["instance"], "wide");
    assert_eq!(status["agents"][0]["narrowed"], false);
    assert_eq!(status["unadmitted"][0]["instance"], "narrow");
    for _ in 0..4 {
        assert_eq!(text(controller.get(&format!("{TEAM_PROXY}/version")).await).await, "wide");
    }
    drop(wide);
    lines.status_where(|line| line["namespace"] == "team" && line["connected"] == false).await;
    drop(narrow);
    lines.status_where(|line| line["namespace"] == "team" && line["unadmitted"] == json!([])).await;
}

#[tokio::test]
async fn a_plane_is_served_by_one_cluster() {
    let rig = Rig::start().await;
    let ca = Authority::generate("ca", HOUR).unwrap();
    let mut controller = rig.controller().await;
    let mut lines = watch(&rig).await;
    controller.register("team/default", ca.cert_pem()).await;
    let blue = Speaker::new(&ca, "blue-1").of_cluster("blue");
    let green = Speaker::new(&ca, "green-1").of_cluster("green");

    let first = blue.connect(&rig).await.unwrap();
    let status = lines.status_with(true).await;
    assert_eq!(status["clusterID"], "blue");
    assert_eq!(status["refusal"], json!(null));
    let (code, reason) = green.connect(&rig).await.err().unwrap();
    assert_eq!(code, 409);
    assert!(reason.contains("served by cluster blue, and this agent runs in cluster green"), "{reason}");
    let refused = lines.next_of("Refused").await;
    assert_eq!(refused["reason"], "ClusterConflict");
    let status = lines.status_where(|line| line["refusal"] != json!(null)).await;
    assert_eq!(status["connected"], true);
    assert_eq!(status["refusal"]["reason"], "ClusterConflict");
    assert!(
        status["refusal"]["message"].as_str().unwrap().starts_with(&format!("{TEAM} is served")),
        "{status}"
    );

    // It is bound even while nobody is connected; another agent of the same cluster clears the refusal.
    drop(first);
    lines.status_with(false).await;
    assert_eq!(green.connect(&rig).await.err().unwrap().0, 409);
    // One that says nothing of its cluster is compared with nothing.
    let silent = Speaker::new(&ca, "silent").connect(&rig).await.unwrap();
    let status = lines.status_with(true).await;
    assert_eq!(status["clusterID"], "blue");
    assert_eq!(status["refusal"], json!(null));
    drop(silent);
    lines.status_with(false).await;

    // The owner says where the plane has moved to: the old cluster's connections close, and it is refused from then on.
    let second = blue.connect(&rig).await.unwrap();
    lines.status_with(true).await;
    let body = json!({ "clientCA": ca.cert_pem(), "clusterID": "green" }).to_string();
    let put = controller.send(http::Method::PUT, &format!("{SHARED}/team/default"), &[], body).await;
    assert_eq!(put.status(), 200);
    let status = lines.status_with(false).await;
    assert_eq!(status["clusterID"], "green");
    assert_eq!(status["refusal"]["reason"], "ClusterConflict");
    second.until_closed().await;
    assert_eq!(blue.connect(&rig).await.err().unwrap().0, 409);
    let third = green.connect(&rig).await.unwrap();
    assert_eq!(lines.status_with(true).await["refusal"], json!(null));
    // The pin goes: what serves it now stays bound.
    controller.register("team/default", ca.cert_pem()).await;
    assert_eq!(lines.status_with(true).await["clusterID"], "green");
    assert!(third.is_open());
    assert_eq!(blue.connect(&rig).await.err().unwrap().0, 409);
}

#[tokio::test]
async fn a_rotated_ca_keeps_the_cluster_and_another_ca_frees_it() {
    let rig = Rig::start().await;
    let old = Authority::generate("old", HOUR).unwrap();
    let new = Authority::generate("new", HOUR).unwrap();
    let mut controller = rig.controller().await;
    controller.register("team/default", old.cert_pem()).await;
    let first = Speaker::new(&old, "blue-1").of_cluster("blue").connect(&rig).await.unwrap();
    controller.until_connected("team/default").await;

    controller.register("team/default", &format!("{}{}", old.cert_pem(), new.cert_pem())).await;
    let green = Speaker::new(&new, "green-1").of_cluster("green");
    assert_eq!(green.connect(&rig).await.err().unwrap().0, 409);
    controller.register("team/default", new.cert_pem()).await;
    first.until_closed().await;
    assert_eq!(green.connect(&rig).await.err().unwrap().0, 409);

    // A CA that has nothing to do with the one before is a new plane.
    let other = Authority::generate("other", HOUR).unwrap();
    controller.register("team/default", other.cert_pem()).await;
    let _moved = Speaker::new(&other, "green-2").of_cluster("green").connect(&rig).await.unwrap();
    controller.until_connected("team/default").await;
}

#[tokio::test]
async fn two_tenants_of_one_plane_id_may_have_two_clusters() {
    let rig = Rig::start().await;
    let blue_ca = Authority::generate("blue", HOUR).unwrap();
    let green_ca = Authority::generate("green", HOUR).unwrap();
    let mut controller = rig.controller().await;
    controller.register("team/default", blue_ca.cert_pem()).await;
    controller.register("_cluster/default", green_ca.cert_pem()).await;
    let _blue = Speaker::new(&blue_ca, "blue-1").of_cluster("blue").connect(&rig).await.unwrap();
    let _green = Speaker::new(&green_ca, "green-1").of_cluster("green").connect(&rig).await.unwrap();
    controller.until_connected("team/default").await;
    controller.until_connected("_cluster/default").await;
    for _ in 0..4 {
        assert_eq!(text(controller.get(&format!("{TEAM_PROXY}/version")).await).await, "blue-1");
        assert_eq!(text(controller.get(&format!("{CLUSTER_PROXY}/version")).await).await, "green-1");
    }
}

#[tokio::test]
async fn a_certificate_for_another_plane_is_told_to_those_whose_it_is() {
    let rig = Rig::start().await;
    let ours = Authority::generate("ours", HOUR).unwrap();
    let theirs = Authority::generate("theirs", HOUR).unwrap();
    let mut controller = rig.controller().await;
    let mut lines = watch(&rig).await;
    controller.register("team/default", ours.cert_pem()).await;
    controller.register("other/default", theirs.cert_pem()).await;
    let elsewhere = "/api/v1/planes/buildplane/elsewhere/team/away";
    let body = json!({ "clientCA": ours.cert_pem() }).to_string();
    assert_eq!(controller.send(http::Method::PUT, elsewhere, &[], body).await.status(), 200);

    let stray = leaf(&ours, LeafRequest::plane(&san("buildplane", "elsewhere"), HOUR));
    let (code, reason) = rig.dial(&stray, CLAIM, &[]).await.err().unwrap();
    assert_eq!(code, 403);
    assert!(
        reason.contains("openchoreo:plane:buildplane:elsewhere, not for openchoreo:plane:buildplane:shared"),
        "{reason}"
    );
    assert_eq!(lines.next_of("Refused").await["reason"], "PlaneMismatch");
    let mut told = std::collections::BTreeSet::new();
    for _ in 0..2 {
        let status = lines.status_where(|line| line["refusal"]["reason"] == "PlaneMismatch").await;
        told.insert(format!(
            "{}/{}",
            status["namespace"].as_str().unwrap(),
            status["name"].as_str().unwrap()
        ));
    }
    assert_eq!(told.into_iter().collect::<Vec<_>>(), ["team/away", "team/default"]);
    let now = watch(&rig).await.status_where(|line| line["namespace"] == "other").await;
    assert_eq!(now["refusal"], json!(null), "who has nothing to do with it is told nothing");
}

#[tokio::test]
async fn a_certificate_that_nobody_accepts_is_told_only_where_no_agent_is_connected() {
    let rig = Rig::start().await;
    let ours = Authority::generate("ours", HOUR).unwrap();
    let theirs = Authority::generate("theirs", HOUR).unwrap();
    let mut controller = rig.controller().await;
    let mut lines = watch(&rig).await;
    controller.register("team/default", ours.cert_pem()).await;
    controller.register("_cluster/default", theirs.cert_pem()).await;
    let _agent = Speaker::new(&theirs, "a-1").connect(&rig).await.unwrap();
    lines.status_with(true).await;

    let stranger = Authority::generate("stranger", HOUR).unwrap();
    assert_eq!(Speaker::new(&stranger, "x").connect(&rig).await.err().unwrap().0, 401);
    let status = lines.status_where(|line| line["refusal"] != json!(null)).await;
    assert_eq!(status["namespace"], "team");
    assert_eq!(status["refusal"]["reason"], "CertificateNotAccepted");
    let message = status["refusal"]["message"].as_str().unwrap();
    assert!(
        message.contains("not accepted by clientCA: the certificate is not signed by a trusted CA"),
        "{message}"
    );
    let now = watch(&rig).await.status_where(|line| line["namespace"] == json!(null)).await;
    assert_eq!(now["refusal"], json!(null));
}

#[tokio::test]
async fn a_cluster_is_named_by_a_short_name() {
    let rig = Rig::start().await;
    let ca = Authority::generate("ca", HOUR).unwrap();
    let mut controller = rig.controller().await;
    for (cluster, code) in
        [("6f1c2a9e-7d1b-4b0e-9a55-0c8d8a1f2b3c", 200), ("", 422), ("a b", 422), ("<script>", 422)]
    {
        let body = json!({ "clientCA": ca.cert_pem(), "clusterID": cluster }).to_string();
        let put = controller.send(http::Method::PUT, &format!("{SHARED}/team/default"), &[], body).await;
        assert_eq!(put.status(), code, "{cluster:?}");
    }
}
