//! Who may connect, and for whom a connection may speak.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use buildplane_gateway::Limits;
use buildplane_tls::{Authority, ClientIdentity, LeafRequest};
use buildplane_tunnel::{Settings, serve};

use crate::rig::{CLUSTER_PROXY, HOUR, Rig, SHARED, TEAM_PROXY, chunk, ends, json, text};
use crate::speakers::{CLAIM, agent_leaf, leaf, san};

#[tokio::test]
async fn certificates_and_claims_are_judged() {
    let rig = Rig::start().await;
    let ours = Authority::generate("ours", HOUR).unwrap();
    let theirs = Authority::generate("theirs", HOUR).unwrap();
    let mut controller = rig.controller().await;
    controller.register("team/default", ours.cert_pem()).await;

    let plane = LeafRequest::plane(&san("buildplane", "shared"), HOUR);
    let self_signed = buildplane_tls::CertifiedKey::from_pem(theirs.cert_pem(), theirs.key_pem()).unwrap();
    let ca_as_leaf = buildplane_tls::CertifiedKey::from_pem(ours.cert_pem(), ours.key_pem()).unwrap();
    let expired = leaf(&ours, LeafRequest { lifetime: Duration::ZERO, ..plane.clone() });
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let cases = [
        ("right CA", agent_leaf(&ours), 101),
        ("right CA, no SAN", leaf(&ours, LeafRequest::client("shared", HOUR)), 101),
        ("no certificate", ClientIdentity::anonymous(), 401),
        ("another tenant's CA", agent_leaf(&theirs), 401),
        ("self-signed", ClientIdentity::new(&self_signed), 401),
        ("the CA itself", ClientIdentity::new(&ca_as_leaf), 401),
        ("expired", expired, 401),
        ("server certificate", leaf(&ours, LeafRequest::server(&["x"], &[], HOUR)), 401),
        ("another plane's id", leaf(&ours, LeafRequest::plane(&san("buildplane", "other"), HOUR)), 403),
        ("another plane's type", leaf(&ours, LeafRequest::plane(&san("dataplane", "shared"), HOUR)), 403),
        (
            "a malformed plane name",
            leaf(&ours, LeafRequest { uris: vec!["openchoreo:plane:buildplane".into()], ..plane.clone() }),
            403,
        ),
    ];
    for (name, identity, expected) in cases {
        let outcome = rig.dial(&identity, CLAIM, &[]).await;
        let status = outcome.as_ref().err().map_or(101, |(status, _)| status.as_u16());
        assert_eq!(status, expected, "{name}: {:?}", outcome.err());
    }
}

/// Query, headers, status.
type Claim<'a> = (&'a str, &'a [(&'a str, &'a str)], u16);

#[tokio::test]
async fn what_an_agent_says_of_itself_is_read_strictly() {
    let rig = Rig::start().await;
    let ca = Authority::generate("ca", HOUR).unwrap();
    rig.controller().await.register("team/default", ca.cert_pem()).await;
    let identity = agent_leaf(&ca);
    let long = "x".repeat(65);
    let cases: &[Claim] = &[
        (CLAIM, &[], 101),
        (CLAIM, &[("x-openchoreo-agent-instance", "a-1"), ("x-openchoreo-agent-version", "0.1.0")], 101),
        ("planeType=buildplane", &[], 400),
        ("planeID=shared", &[], 400),
        ("", &[], 400),
        ("planeType=buildplane&planeID=", &[], 400),
        ("planeType=starship&planeID=shared", &[], 400),
        ("planeType=buildplane&planeID=Shared", &[], 400),
        ("planeType=buildplane&planeID=a/b", &[], 400),
        ("planeType=buildplane&planeID=..", &[], 400),
        ("planeType=buildplane&planeID=shared&planeID=other", &[], 400),
        ("planeType=buildplane&planeType=dataplane&planeID=shared", &[], 400),
        ("planeType=buildplane&planeID=unknown", &[], 403),
        (CLAIM, &[("origin", "https://evil.example")], 403),
        (CLAIM, &[("x-openchoreo-agent-instance", "a b")], 400),
        (CLAIM, &[("x-openchoreo-agent-instance", &long)], 400),
    ];
    for (query, headers, expected) in cases {
        let outcome = rig.dial(&identity, query, headers).await;
        let status = outcome.as_ref().err().map_or(101, |(status, _)| status.as_u16());
        assert_eq!(status, *expected, "{query} {headers:?}: {:?}", outcome.err());
    }
    // Without a name in the certificate, the plane itself is unknown.
    let unnamed = leaf(&ca, LeafRequest::client("x", HOUR));
    let (status, reason) = rig.dial(&unnamed, "planeType=buildplane&planeID=unknown", &[]).await.unwrap_err();
    assert_eq!(status, 401);
    assert!(reason.contains("no custom resource with this plane id is registered"), "{reason}");
}

#[tokio::test]
async fn a_gateway_that_has_just_started_asks_agents_to_come_again() {
    let rig = Rig::with(Limits::default()).await;
    let ca = Authority::generate("ca", HOUR).unwrap();
    let (status, _) = rig.dial(&agent_leaf(&ca), CLAIM, &[]).await.unwrap_err();
    assert_eq!(status, 503);
}

#[tokio::test]
async fn deleting_one_custom_resource_never_disturbs_another_of_the_same_plane() {
    let (_rig, backend, _agent, mut controller) = Rig::connected().await;
    let watch = "/api/v1/namespaces/openchoreo-ci-team/pods?watch=true";
    let mut team = controller.get(&format!("{TEAM_PROXY}{watch}")).await.into_body();
    let mut cluster = controller.get(&format!("{CLUSTER_PROXY}{watch}")).await.into_body();
    assert!(chunk(&mut team).await.is_some());
    assert!(chunk(&mut cluster).await.is_some());

    controller.unregister("team/default").await;
    assert!(ends(&mut team).await, "the stream of a deleted custom resource ends");
    for _ in 0..20 {
        assert!(chunk(&mut cluster).await.is_some(), "the other's stream goes on");
    }
    let gone = controller.get(&format!("{TEAM_PROXY}/version")).await;
    assert_eq!(gone.status(), 404);
    assert_eq!(controller.get(&format!("{CLUSTER_PROXY}/version")).await.status(), 200);
    crate::rig::eventually("one watch is left at the far end", || backend.seen.n_watches() == 1).await;

    // And it comes back without the agent connecting anew.
    controller.register("team/default", &Rig::agent_ca(&backend).await).await;
    assert_eq!(controller.get(&format!("{TEAM_PROXY}/version")).await.status(), 200);
    assert!(chunk(&mut cluster).await.is_some());
}

#[tokio::test]
async fn a_changed_ca_is_judged_on_open_connections() {
    let (_rig, backend, _agent, mut controller) = Rig::connected().await;
    let ca = Rig::agent_ca(&backend).await;
    let other = Authority::generate("other", HOUR).unwrap();
    let watch = "/api/v1/namespaces/openchoreo-ci-team/pods?watch=true";
    let mut team = controller.get(&format!("{TEAM_PROXY}{watch}")).await.into_body();
    let mut cluster = controller.get(&format!("{CLUSTER_PROXY}{watch}")).await.into_body();

    // Old and new together: nothing is disturbed.
    controller.register("team/default", &format!("{ca}{}", other.cert_pem())).await;
    for _ in 0..10 {
        assert!(chunk(&mut team).await.is_some());
    }
    // A bundle that cannot be read changes nothing, and says what is wrong.
    let refused = controller.put("team/default", "garbage").await;
    assert_eq!(refused.status(), 422);
    let status = json(refused).await;
    assert_eq!(status["kind"], "Status");
    assert!(status["message"].as_str().unwrap().contains("neither PEM nor base64"), "{status}");
    assert!(chunk(&mut team).await.is_some());
    // The old one goes: its streams end, the other custom resource's go on.
    controller.register("team/default", other.cert_pem()).await;
    assert!(ends(&mut team).await);
    assert!(chunk(&mut cluster).await.is_some());
    let refused = controller.get(&format!("{TEAM_PROXY}/version")).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert!(
        text(refused).await.contains("no agent of plane shared may speak for buildplane/team/default now")
    );
}

#[tokio::test]
async fn a_custom_resource_that_moves_to_another_plane_leaves_the_first() {
    let (_rig, backend, _agent, mut controller) = Rig::connected().await;
    let body = serde_json::json!({ "clientCA": Rig::agent_ca(&backend).await }).to_string();
    let moved = "/api/v1/planes/buildplane/elsewhere/team/default";
    assert_eq!(controller.send(http::Method::PUT, moved, &[], body).await.status(), 200);
    assert_eq!(controller.get(&format!("{TEAM_PROXY}/version")).await.status(), 404);
    let there = "/api/proxy/buildplane/elsewhere/team/default/k8s/version";
    assert_eq!(controller.get(there).await.status(), 503);
    // A late deletion under the old plane id does not reach it.
    controller.unregister("team/default").await;
    assert_eq!(controller.get(there).await.status(), 503);
}

#[tokio::test]
async fn a_certificate_that_expires_ends_its_connection() {
    let rig = Rig::with(Limits { sweep: Duration::from_millis(100), ..Limits::default() }).await;
    let ca = Authority::generate("ca", HOUR).unwrap();
    let mut controller = rig.controller().await;
    controller.register("team/default", ca.cert_pem()).await;
    let request = LeafRequest::plane(&san("buildplane", "shared"), Duration::from_secs(4));
    let stream = rig.dial(&leaf(&ca, request), CLAIM, &[]).await.unwrap();
    let service = tower::service_fn(|_request| async {
        Ok::<_, std::convert::Infallible>(http::Response::new(String::from("hello")))
    });
    let settings = Settings::default();
    let served = serve(stream, service, &settings, CancellationToken::new());
    let answered = async {
        controller.until_connected("team/default").await;
        assert_eq!(text(controller.get(&format!("{TEAM_PROXY}/version")).await).await, "hello");
    };
    let (ended, ()) = tokio::join!(tokio::time::timeout(Duration::from_secs(12), served), answered);
    assert!(ended.is_ok(), "the connection outlived its certificate");
    assert_eq!(controller.n_agents("team/default").await, 0);
}

#[tokio::test]
async fn an_agent_with_several_connections_counts_once() {
    let rig = Rig::start().await;
    let ca = Authority::generate("ca", HOUR).unwrap();
    let mut controller = rig.controller().await;
    controller.register("team/default", ca.cert_pem()).await;
    let identity = agent_leaf(&ca);
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    for (instance, answer) in [("one", "first"), ("one", "second"), ("two", "third")] {
        let stream = rig.dial(&identity, CLAIM, &[("x-openchoreo-agent-instance", instance)]).await.unwrap();
        let service = tower::service_fn(move |_request| async move {
            Ok::<_, std::convert::Infallible>(http::Response::new(answer.to_owned()))
        });
        let stop = stop.clone();
        tokio::spawn(async move { serve(stream, service, &Settings::default(), stop).await });
    }
    controller.until_agents("team/default", 2).await;
    // Requests are spread over every connection.
    let mut answers = std::collections::BTreeSet::new();
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while answers.len() < 3 {
        assert!(std::time::Instant::now() < deadline, "only {answers:?} answered");
        answers.insert(text(controller.get(&format!("{TEAM_PROXY}/version")).await).await);
    }
    let all = json(controller.get("/api/v1/planes/status").await).await;
    assert_eq!(all["total"], 1);
    assert_eq!(all["planes"][0]["connectedAgents"], 2);
    let unknown = json(controller.get("/api/v1/planes/buildplane/nobody/status").await).await;
    assert_eq!(unknown["connected"], false);
    assert_eq!(unknown["lastSeen"], "0001-01-01T00:00:00Z");
    assert_eq!(controller.get(&format!("{SHARED}/status?name=Not_a_name")).await.status(), 400);
}

#[tokio::test]
async fn what_an_agent_drops_is_asked_of_another_where_it_only_reads() {
    let rig = Rig::start().await;
    let ca = Authority::generate("ca", HOUR).unwrap();
    let mut controller = rig.controller().await;
    controller.register("team/default", ca.cert_pem()).await;
    let identity = agent_leaf(&ca);
    for _ in 0..4 {
        // One agent that answers, and one that hangs up as soon as it is asked.
        let steady = rig.dial(&identity, CLAIM, &[("x-openchoreo-agent-instance", "steady")]).await.unwrap();
        let answers = tower::service_fn(|_request| async {
            Ok::<_, std::convert::Infallible>(http::Response::new("steady".to_owned()))
        });
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move { serve(steady, answers, &Settings::default(), stopped).await });
        let fickle = rig.dial(&identity, CLAIM, &[("x-openchoreo-agent-instance", "fickle")]).await.unwrap();
        let asked = std::sync::Arc::new(tokio::sync::Notify::new());
        let hangs_up = std::sync::Arc::clone(&asked);
        let hangs = tower::service_fn(move |request: http::Request<hyper::body::Incoming>| {
            // What the gateway tells the agent itself is no request of a caller.
            if request.headers()["x-openchoreo-target"] != "agent" {
                hangs_up.notify_one();
            }
            std::future::pending::<Result<http::Response<String>, std::convert::Infallible>>()
        });
        tokio::spawn(async move {
            let settings = Settings::default();
            tokio::select! {
                _ended = serve(fickle, hangs, &settings, CancellationToken::new()) => {}
                () = asked.notified() => {}
            }
        });
        controller.until_agents("team/default", 2).await;
        for _ in 0..2 {
            let response = controller.get(&format!("{TEAM_PROXY}/version")).await;
            assert_eq!(response.status(), 200);
            assert_eq!(text(response).await, "steady");
        }
        controller.until_agents("team/default", 1).await;
        stop.cancel();
        controller.until_agents("team/default", 0).await;
    }
}
