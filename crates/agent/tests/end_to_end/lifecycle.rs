//! Beginnings and ends: the agent's Secrets, restarts of the gateway, what watchers of planes see.

use std::time::{Duration, SystemTime};

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;

use buildplane_agent::ServerCa;
use buildplane_gateway::Limits;
use buildplane_tls::{
    Authority, CertifiedKey, ClientIdentity, LeafRequest, PeerCertificates, PlaneSan, TrustAnchors,
    verify_client,
};

use crate::backend::Backend;
use crate::feed::watch;
use crate::rig::{HOUR, Rig, TEAM_PROXY, chunk, ends, eventually, secret_value, text};

#[tokio::test]
async fn watchers_see_who_is_connected_as_it_happens() {
    let rig = Rig::start().await;
    let backend = Backend::start().await;
    let mut lines = watch(&rig).await;
    let hello = lines.next().await;
    assert_eq!(hello["type"], "Hello");
    assert_eq!(hello["instance"].as_str().unwrap().len(), 36);

    let agent = rig.agent(&backend).await;
    let refused = lines.next_of("Refused").await;
    assert_eq!(refused["planeType"], "buildplane");
    assert_eq!(refused["planeID"], "shared");
    assert_eq!(refused["reason"], "NotRegistered");
    assert!(refused["at"].as_str().unwrap().ends_with('Z'), "{refused}");

    let ca = Rig::agent_ca(&backend).await;
    rig.controller().await.register("team/default", &ca).await;
    let registered = lines.next_of("Status").await;
    assert_eq!(registered["connected"], false);
    assert_eq!(registered["namespace"], "team");
    assert_eq!(registered["name"], "default");

    let connected = lines.status_with(true).await;
    assert_eq!(connected["connectedAgents"], 1);
    assert!(connected["lastSeen"].as_str().unwrap().ends_with('Z'), "{connected}");
    let shown = &connected["agents"][0];
    assert_eq!(shown["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(shown["instance"].as_str().unwrap().len(), 36);
    assert!(shown["certificateNotAfter"].as_str().unwrap().ends_with('Z'), "{shown}");

    // A later watcher begins with what is known.
    let mut later = watch(&rig).await;
    assert_eq!(later.next().await["instance"], hello["instance"]);
    assert_eq!(later.next().await["connectedAgents"], 1);

    drop(agent);
    let gone = lines.status_with(false).await;
    assert_eq!(gone["connectedAgents"], 0);
    assert!(gone["lastSeen"].is_string(), "{gone}");
}

#[tokio::test]
async fn watchers_are_told_when_connected_agents_were_last_heard_of() {
    let limits =
        Limits { settle: Duration::ZERO, heartbeat: Duration::from_millis(200), ..Limits::default() };
    let rig = Rig::with(limits).await;
    let backend = Backend::start().await;
    let _agent = rig.agent(&backend).await;
    let ca = Rig::agent_ca(&backend).await;
    let mut controller = rig.controller().await;
    controller.register("team/default", &ca).await;
    controller.until_connected("team/default").await;
    let mut lines = watch(&rig).await;
    let seen = |line: &Value| line["lastSeen"].as_str().unwrap().to_owned();
    let first = lines.status_with(true).await;
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        let line = lines.status_with(true).await;
        assert_eq!(line["connectedAgents"], 1);
        if seen(&line) > seen(&first) {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{line} is no newer than {first}");
        // Whatever goes through the tunnel is a sign of life.
        controller.get(&format!("{TEAM_PROXY}/version")).await;
    }
}

#[tokio::test]
async fn a_refused_certificate_is_reported_with_its_reason() {
    let rig = Rig::start().await;
    let (ours, theirs) = (Authority::generate("a", HOUR).unwrap(), Authority::generate("b", HOUR).unwrap());
    rig.controller().await.register("team/default", ours.cert_pem()).await;
    let mut lines = watch(&rig).await;
    let leaf = ClientIdentity::new(&theirs.issue(LeafRequest::client("x", HOUR)).unwrap());
    assert!(rig.dial(&leaf, "planeType=buildplane&planeID=shared", &[]).await.is_err());
    let refused = lines.next_of("Refused").await;
    assert_eq!(refused["reason"], "CertificateNotAccepted");
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("the certificate is not signed by a trusted CA"), "{message}");
}

#[tokio::test]
async fn the_agent_makes_its_secrets_and_keeps_them() {
    let rig = Rig::start().await;
    let backend = Backend::start().await;
    let agent = rig.agent(&backend).await;
    let ca = Rig::agent_ca(&backend).await;
    let secret = backend.seen.secret("cluster-agent-tls").unwrap();
    let chain = TrustAnchors::parse(&ca).unwrap();
    let leaf = CertifiedKey::from_pem(&secret_value(&secret, "tls.crt"), &secret_value(&secret, "tls.key"));
    let peer = PeerCertificates::new(vec![leaf.unwrap().cert_der().to_vec().into()]).unwrap();
    assert!(verify_client(&chain, &peer, SystemTime::now()).is_ok());
    assert_eq!(peer.uris(), ["openchoreo:plane:buildplane:shared"]);
    assert_eq!(secret_value(&backend.seen.secret("cluster-agent-ca").unwrap(), "tls.crt"), ca);
    let days = |end: SystemTime| end.duration_since(SystemTime::now()).unwrap().as_secs() / 86_400;
    assert!((88..=90).contains(&days(peer.not_after())), "leaf");
    assert!((3600..=3660).contains(&days(chain.not_after())), "authority");
    drop(agent);

    // A second one, and several at once, use what is there.
    rig.controller().await.register("team/default", &ca).await;
    let _agents = (rig.agent(&backend).await, rig.agent(&backend).await, rig.agent(&backend).await);
    rig.controller().await.until_agents("team/default", 3).await;
    assert_eq!(backend.seen.secret("cluster-agent-tls").unwrap(), secret);
}

/// What somebody does to the Secrets.
type Harm = fn(&Backend);

#[tokio::test]
async fn secrets_that_are_deleted_or_changed_are_put_right_while_the_agent_stays_connected() {
    let (rig, backend, _agent, mut controller) = Rig::connected().await;
    let data = |name: &str| backend.seen.secret(name).map(|secret| secret["data"].clone());
    let (ca, tls) = (data("cluster-agent-ca"), data("cluster-agent-tls"));
    let path = format!("{TEAM_PROXY}/api/v1/namespaces/openchoreo-ci-team/pods?watch=true");
    let mut stream = controller.get(&path).await.into_body();
    let mut lines = watch(&rig).await;
    assert_eq!(lines.next_of("Status").await["connectedAgents"], 1);

    let harms: [(&str, Harm); 4] = [
        ("the leaf's Secret is deleted", |backend| backend.seen.delete_secret("cluster-agent-tls")),
        ("the leaf's Secret is changed", |backend| {
            backend.seen.change_secret("cluster-agent-tls", "ca.crt", "garbage");
        }),
        ("the authority's Secret is deleted", |backend| backend.seen.delete_secret("cluster-agent-ca")),
        ("both are deleted", |backend| {
            backend.seen.delete_secret("cluster-agent-tls");
            backend.seen.delete_secret("cluster-agent-ca");
        }),
    ];
    for (name, harm) in harms {
        harm(&backend);
        let begun = std::time::Instant::now();
        eventually(name, || {
            (data("cluster-agent-ca"), data("cluster-agent-tls")) == (ca.clone(), tls.clone())
        })
        .await;
        assert!(begun.elapsed() < Duration::from_secs(4), "{name}: it took {:?}", begun.elapsed());
    }
    // The same connection still stands, with what streams through it.
    for _ in 0..100 {
        assert!(chunk(&mut stream).await.is_some(), "the connection was dropped");
    }
    assert_eq!(controller.n_agents("team/default").await, 1);
}

#[tokio::test]
async fn agents_that_start_together_agree_on_one_authority() {
    let rig = Rig::start().await;
    let backend = Backend::start().await;
    let _agents = tokio::join!(rig.agent(&backend), rig.agent(&backend), rig.agent(&backend));
    let ca = Rig::agent_ca(&backend).await;
    rig.controller().await.register("team/default", &ca).await;
    rig.controller().await.until_agents("team/default", 3).await;
    assert_eq!(secret_value(&backend.seen.secret("cluster-agent-ca").unwrap(), "tls.crt"), ca);
}

/// The leaf that the Secret holds after an agent found `leaf` there, beside its authority.
async fn leaf_after_start(authority: &Authority, leaf: &CertifiedKey, ours: bool) -> CertifiedKey {
    let rig = Rig::start().await;
    let backend = Backend::start().await;
    let label = if ours {
        serde_json::json!({ "app.kubernetes.io/managed-by": "buildplane-agent" })
    } else {
        Value::Null
    };
    let ca = [("tls.crt", authority.cert_pem()), ("tls.key", authority.key_pem())];
    backend.seen.seed_secret("cluster-agent-ca", &label, &ca);
    let tls = [("ca.crt", authority.cert_pem()), ("tls.crt", leaf.cert_pem()), ("tls.key", leaf.key_pem())];
    backend.seen.seed_secret("cluster-agent-tls", &label, &tls);
    rig.controller().await.register("team/default", authority.cert_pem()).await;
    let _agent = rig.agent(&backend).await;
    rig.controller().await.until_connected("team/default").await;
    let secret = backend.seen.secret("cluster-agent-tls").unwrap();
    assert_eq!(
        secret_value(&secret, "ca.crt"),
        authority.cert_pem(),
        "the authority never changes by itself"
    );
    CertifiedKey::from_pem(&secret_value(&secret, "tls.crt"), &secret_value(&secret, "tls.key")).unwrap()
}

#[tokio::test]
async fn a_leaf_is_renewed_in_place_when_it_is_due() {
    let authority = Authority::generate("ca", HOUR * 10_000).unwrap();
    let plane = |id: &str| PlaneSan { plane_type: "buildplane".into(), plane_id: id.into() };
    let issue = |id: &str, lifetime| authority.issue(LeafRequest::plane(&plane(id), lifetime)).unwrap();
    // Certificates begin five minutes before they are made: of seven minutes, more than two thirds are over.
    let due = issue("shared", Duration::from_mins(2));
    let fresh = issue("shared", HOUR);
    let anothers = issue("other", HOUR);
    let server = authority.issue(LeafRequest::server(&["x"], &[], HOUR)).unwrap();
    let foreign =
        Authority::generate("x", HOUR).unwrap().issue(LeafRequest::plane(&plane("shared"), HOUR)).unwrap();
    for (name, leaf, kept) in [
        ("fresh", &fresh, true),
        ("due", &due, false),
        ("another plane's", &anothers, false),
        ("a server's", &server, false),
        ("another authority's", &foreign, false),
    ] {
        let after = leaf_after_start(&authority, leaf, true).await;
        assert_eq!(after.cert_der() == leaf.cert_der(), kept, "{name}");
    }
    // One that somebody else issues is used as it is.
    let after = leaf_after_start(&authority, &due, false).await;
    assert_eq!(after.cert_der(), due.cert_der());
}

#[tokio::test]
async fn an_authority_that_cannot_be_read_is_never_overwritten() {
    let rig = Rig::start().await;
    let backend = Backend::start().await;
    let label = serde_json::json!({ "app.kubernetes.io/managed-by": "buildplane-agent" });
    backend.seen.seed_secret("cluster-agent-ca", &label, &[("tls.crt", "garbage"), ("tls.key", "garbage")]);
    let before = backend.seen.secret("cluster-agent-ca");
    let health = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = health.local_addr().unwrap();
    let server_ca = ServerCa::Pem(rig.gateway_ca.cert_pem().to_owned());
    let _agent = rig.agent_configured(&backend, server_ca, |config| config.health = Some(health)).await;
    // Long enough for several attempts.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(backend.seen.secret("cluster-agent-ca"), before);
    assert_eq!(backend.seen.secret("cluster-agent-tls"), None);
    assert!(plain(address, "/readyz").await.starts_with("HTTP/1.1 503"));
    assert!(plain(address, "/healthz").await.starts_with("HTTP/1.1 200"));
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert!(plain_by(address, "evil.example", path).await.starts_with("HTTP/1.1 421"), "{path}");
    }
}

#[tokio::test]
async fn an_agent_returns_after_the_gateway_restarts() {
    let (mut rig, backend, _agent, mut controller) = Rig::connected().await;
    let ca = Rig::agent_ca(&backend).await;
    let mut lines = watch(&rig).await;
    let before = lines.next().await["instance"].clone();
    let path = format!("{TEAM_PROXY}/api/v1/namespaces/openchoreo-ci-team/pods?watch=true");
    let mut stream = controller.get(&path).await.into_body();
    assert!(chunk(&mut stream).await.is_some());

    rig.stop_gateway().await;
    assert!(ends(&mut stream).await);
    eventually("the far end is let go", || backend.seen.n_watches() == 0).await;
    while lines.body.frame().await.is_some_and(|frame| frame.is_ok()) {}

    rig.start_gateway();
    let mut lines = watch(&rig).await;
    assert_ne!(lines.next().await["instance"], before, "a watcher sees that it must register anew");
    let mut controller = rig.controller().await;
    controller.register("team/default", &ca).await;
    controller.until_connected("team/default").await;
    assert_eq!(text(controller.get(&format!("{TEAM_PROXY}/version")).await).await, "found");
}

/// Reads a body to its end, and tells whether it ended with an error.
async fn breaks(body: &mut Incoming) -> bool {
    while let Some(frame) = body.frame().await {
        if frame.is_err() {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn a_gateway_that_stops_answers_what_is_in_flight_and_waits_for_no_watch() {
    let (mut rig, backend, _agent, mut controller) = Rig::connected().await;
    let pods = format!("{TEAM_PROXY}/api/v1/namespaces/openchoreo-ci-team/pods");
    let mut watched = controller.get(&format!("{pods}?watch=true")).await.into_body();
    assert!(chunk(&mut watched).await.is_some());
    let mut log = controller.get(&format!("{pods}/x/log?follow=true")).await.into_body();
    assert!(chunk(&mut log).await.is_some());
    let mut other = rig.controller().await;
    let slow = tokio::spawn(async move {
        let slow = format!("{TEAM_PROXY}/api/v1/namespaces/openchoreo-ci-team/configmaps/slow");
        text(other.get(&slow).await).await
    });
    eventually("the slow request is there", || {
        backend.seen.requests().iter().any(|(path, _)| path.ends_with("/slow"))
    })
    .await;
    let begun = std::time::Instant::now();
    let (read, ()) = tokio::join!(
        async {
            // A watch ends, so that its reader takes it up elsewhere; a log breaks, so that nobody takes it for whole.
            let log_broke = breaks(&mut log).await;
            let watch_broke = breaks(&mut watched).await;
            (watch_broke, log_broke)
        },
        rig.stop_gateway()
    );
    assert_eq!(read, (false, true));
    assert_eq!(slow.await.unwrap(), "at last");
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
}

#[tokio::test]
async fn an_agent_that_leaves_waits_for_no_watch() {
    let (_rig, _backend, agent, mut controller) = Rig::connected().await;
    let pods = format!("{TEAM_PROXY}/api/v1/namespaces/openchoreo-ci-team/pods?watch=true");
    let mut watched = controller.get(&pods).await.into_body();
    assert!(chunk(&mut watched).await.is_some());
    drop(agent);
    let begun = std::time::Instant::now();
    assert!(!breaks(&mut watched).await);
    assert!(begun.elapsed() < Duration::from_secs(3), "it took {:?}", begun.elapsed());
}

#[tokio::test]
async fn an_agent_that_leaves_is_gone_at_once_and_a_second_takes_over() {
    let (rig, backend, first, mut controller) = Rig::connected().await;
    let _second = rig.agent(&backend).await;
    controller.until_agents("team/default", 2).await;
    drop(first);
    // Requests go on without a failure while it leaves.
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_millis(600) {
        let response = controller.get(&format!("{TEAM_PROXY}/version")).await;
        assert_eq!(response.status(), 200, "{}", text(response).await);
    }
    controller.until_agents("team/default", 1).await;
}

#[tokio::test]
async fn an_agent_believes_its_own_gateway_only() {
    let rig = Rig::start().await;
    let backend = Backend::start().await;
    let other = Authority::generate("gateway", HOUR).unwrap();
    let missing = std::env::temp_dir().join("buildplane-no-such-ca.crt");
    let ours = || ServerCa::Pem(rig.gateway_ca.cert_pem().to_owned());
    let unverified = "identity could not be verified";
    for (name, server_ca, server_name, said) in [
        ("another CA of the same name", ServerCa::Pem(other.cert_pem().to_owned()), None, unverified),
        ("no CA at all", ServerCa::Pem(String::new()), None, "the certificate bundle is empty"),
        ("an unreadable CA", ServerCa::Pem("garbage".to_owned()), None, "no BEGIN CERTIFICATE line"),
        ("a missing file", ServerCa::File(missing.clone()), None, "failed to read"),
        ("another server name", ours(), Some("elsewhere.test".to_owned()), unverified),
    ] {
        let health = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = health.local_addr().unwrap();
        let agent = rig
            .agent_configured(&backend, server_ca, |config| {
                config.server_name = server_name;
                config.health = Some(health);
            })
            .await;
        let ca = Rig::agent_ca(&backend).await;
        rig.controller().await.register("team/default", &ca).await;
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        loop {
            let metrics = plain(address, "/metrics").await;
            assert!(!metrics.contains("outcome=\"connected\""), "{name}: {metrics}");
            let ready = plain(address, "/readyz").await;
            assert!(ready.starts_with("HTTP/1.1 503"), "{name}: {ready}");
            if ready.contains(said) {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "{name}: {ready} {metrics}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(rig.controller().await.n_agents("team/default").await, 0, "{name}");
        drop(agent);
    }
}

/// A request without TLS, as a kubelet's probe sends it.
pub(crate) async fn plain(address: std::net::SocketAddr, path: &str) -> String {
    plain_by(address, &address.to_string(), path).await
}

async fn plain_by(address: std::net::SocketAddr, host: &str, path: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
