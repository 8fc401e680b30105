//! Several replicas without a common store: any of them serves any plane.

use std::time::{Duration, Instant};

use http::Method;
use http_body_util::BodyExt as _;

use buildplane_gateway::Limits;
use buildplane_testing::Tools;
use buildplane_tls::Authority;

use crate::backend::{Backend, TEAM};
use crate::feed::watch;
use crate::fleet::{Balancer, Fleet};
use crate::rig::{Caller, HOUR, Rig, TEAM_PROXY, chunk, ends, eventually, text};
use crate::speakers::Speaker;
use crate::upgrades::People;

const PODS: &str = "/api/v1/namespaces/openchoreo-ci-team/pods";

/// Asks until a request is answered, as a client does that is told to try again.
async fn until_answered(caller: &mut Caller) {
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let response = caller.get(&format!("{TEAM_PROXY}/version")).await;
        let status = response.status();
        if status == 200 {
            return;
        }
        assert_eq!(status, 503, "{}", text(response).await);
        assert!(Instant::now() < deadline, "still refused");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A fleet whose balancer leads the agent to the first replica alone.
async fn behind_a_balancer() -> (Fleet, Balancer, Backend, tokio_util::sync::DropGuard) {
    let fleet = Fleet::start(3, false).await;
    let balancer = Balancer::start(&fleet).await;
    let backend = Backend::start().await;
    let agent = fleet.agent(&backend, balancer.address).await;
    fleet.register("team/default", &Rig::agent_ca(&backend).await).await;
    fleet.replicas[0].controller().await.until_connected("team/default").await;
    for rig in &fleet.replicas {
        until_answered(&mut rig.controller().await).await;
    }
    (fleet, balancer, backend, agent)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_replica_serves_a_plane_whose_agent_reaches_only_one() {
    let (fleet, _balancer, backend, _agent) = behind_a_balancer().await;
    for rig in &fleet.replicas {
        let mut caller = rig.caller("alice", &["users"]).await;
        // Both bodies stream, and arrive whole.
        let body = vec![b'x'; 3_000_000];
        let path = format!("{TEAM_PROXY}{TEAM}/configmaps");
        let response = caller.send(Method::POST, &path, &[("content-type", "text/plain")], body).await;
        assert_eq!(response.status(), 200);
        assert!(response.headers().contains_key("x-request-id"));
        assert_eq!(text(response).await, "3000000");
        // What the agent refuses, it refuses there too; whom nobody knows is nobody anywhere.
        assert_eq!(caller.get(&format!("{TEAM_PROXY}/api/v1/secrets")).await.status(), 403);
        let mut stranger = rig.caller("mallory", &["people"]).await;
        assert_eq!(stranger.get(&format!("{TEAM_PROXY}/version")).await.status(), 403);
    }
    // A watch through a replica without the tunnel streams, and a caller that leaves ends it at the far end.
    let last = &fleet.replicas[2];
    let mut caller = last.controller().await;
    let mut body = caller.get(&format!("{TEAM_PROXY}{PODS}?watch=true")).await.into_body();
    for _ in 0..5 {
        assert!(chunk(&mut body).await.is_some());
    }
    assert_eq!(backend.seen.n_watches(), 1);
    drop(body);
    eventually("the watch ends at the far end", || backend.seen.n_watches() == 0).await;
    // Nothing of the way it took is told to the cluster.
    assert!(backend.seen.requests().iter().all(|(_, headers)| {
        headers.keys().all(|name| !name.as_str().starts_with("x-openchoreo-forwarded"))
    }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_into_pods_pass_through_a_replica_without_the_tunnel() {
    let (fleet, _balancer, backend, _agent) = behind_a_balancer().await;
    let people = People::new(&fleet.replicas[1], Tools::newest());
    let line = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\n";
    let input = line.repeat((1 << 20) / line.len());
    let copied = people.kubectl(&["exec", "-i", "x", "--", "cat"], &input).await.ok();
    assert!(copied == input, "a megabyte came back, and another");
    let failed = people.kubectl(&["exec", "x", "--", "sh", "-c", "exit 3"], "").await;
    assert_eq!(failed.code, Some(3), "{failed}");
    eventually("no stream is left at the far end", || backend.seen.n_streams() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_leaves_says_so_first_and_closes_its_tunnels_last() {
    let limits =
        Limits { notice: Duration::from_secs(1), settle: Duration::from_secs(30), ..Limits::default() };
    let mut fleet = Fleet::with(2, true, limits).await;
    let ca = Authority::generate("ca", HOUR).unwrap();
    fleet.register("team/default", ca.cert_pem()).await;
    let (told, mut tellings) = tokio::sync::mpsc::channel(16);
    let speaker = Speaker::new(&ca, "a-1");
    let spoken = speaker.connect_telling(&fleet.replicas[0], told).await.unwrap();
    let instance = tellings.recv().await.unwrap()["instance"].clone();
    let mut feed = watch(&fleet.replicas[0]).await;
    let mut other = watch(&fleet.replicas[1]).await;
    for lines in [&mut feed, &mut other] {
        lines.next_of("Hello").await;
    }
    let mut caller = fleet.replicas[0].controller().await;
    caller.until_connected("team/default").await;
    assert_eq!(fleet.replicas[0].readiness().await, 200);

    let ended = tokio::spawn(fleet.replicas[0].ask_to_stop());
    // Readiness goes before anything else does: whoever is told to look elsewhere finds it gone.
    let names = |line: &serde_json::Value| {
        let replicas = line["replicas"].as_array().unwrap();
        replicas.iter().any(|replica| replica["instance"] == instance)
    };
    let set = tellings.recv().await.unwrap();
    assert!(!names(&set), "the agent is told that it leaves: {set}");
    assert_eq!(fleet.replicas[0].readiness().await, 503);
    assert!(!names(&feed.next_of("Replicas").await), "and so are watchers");
    // Work is still taken; agents are sent elsewhere.
    assert_eq!(caller.get(&format!("{TEAM_PROXY}/version")).await.status(), 200);
    assert_eq!(speaker.connect(&fleet.replicas[0]).await.err().unwrap().0, 503);
    assert!(!ended.is_finished());
    // What was asked in time is answered, though it takes longer than the notice.
    let asked = tokio::spawn(async move { text(caller.get(&format!("{TEAM_PROXY}/slow")).await).await });
    while feed.body.frame().await.is_some_and(|frame| frame.is_ok()) {}
    assert!(spoken.is_open(), "the tunnel is there for as long as anybody needs it");
    assert!(!asked.is_finished());
    speaker.hurry.notify_one();
    assert_eq!(asked.await.unwrap(), "a-1");
    spoken.until_closed().await;
    ended.await.unwrap();
    assert!(!names(&other.next_of("Replicas").await), "the other replica has lost it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_but_a_replica_speaks_for_others() {
    let (fleet, _balancer, _backend, _agent) = behind_a_balancer().await;
    let claims = [
        ("x-openchoreo-forwarded-by", "gateway"),
        ("x-openchoreo-forwarded-user", r#"{"user":"manager","groups":["controllers"]}"#),
    ];
    let path = format!("{TEAM_PROXY}/version");
    for rig in &fleet.replicas {
        let mut stranger = rig.caller("mallory", &["people"]).await;
        assert_eq!(stranger.send(Method::GET, &path, &claims, "").await.status(), 403);
        // A replica speaks for those whom it names; it may not proxy for itself, nor register anything.
        let mut replica = rig.caller("gateway", &["openchoreo:gateways"]).await;
        assert_eq!(replica.get(&path).await.status(), 403);
        assert_eq!(replica.put("team/default", "x").await.status(), 403);
        assert_eq!(replica.get("/api/v1/planes/watch").await.status(), 200);
    }
    // What was forwarded once is not forwarded again: the replica without the tunnel says so.
    let mut replica = fleet.replicas[1].caller("gateway", &["openchoreo:gateways"]).await;
    assert_eq!(replica.send(Method::GET, &path, &claims, "").await.status(), 503);
    let mut replica = fleet.replicas[0].caller("gateway", &["openchoreo:gateways"]).await;
    assert_eq!(replica.send(Method::GET, &path, &claims, "").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_dies_fails_what_is_in_flight_there_and_nothing_else() {
    let (mut fleet, _balancer, backend, _agent) = behind_a_balancer().await;
    let mut feed = watch(&fleet.replicas[1]).await;
    assert_eq!(feed.next().await["replicas"].as_array().unwrap().len(), 3);
    let mut caller = fleet.replicas[1].controller().await;
    let mut through = caller.get(&format!("{TEAM_PROXY}{PODS}?watch=true")).await.into_body();
    assert!(chunk(&mut through).await.is_some());

    fleet.kill(0);
    let begun = Instant::now();
    assert!(ends(&mut through).await, "the watch breaks");
    assert!(begun.elapsed() < Duration::from_secs(5));
    eventually("the watch ends at the far end", || backend.seen.n_watches() == 0).await;
    // Until the agent has found another replica, callers are told to try again; then all is as before.
    let [second, third] = fleet.replicas.as_slice() else { panic!("two are left") };
    for rig in [second, third] {
        until_answered(&mut rig.controller().await).await;
    }
    let changed = feed.next_of("Replicas").await;
    assert_eq!(changed["replicas"].as_array().unwrap().len(), 2, "{changed}");
    let mut again = caller.get(&format!("{TEAM_PROXY}{PODS}?watch=true")).await.into_body();
    assert!(chunk(&mut again).await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_comes_back_is_found_and_must_be_told_everything() {
    let (mut fleet, _balancer, backend, _agent) = behind_a_balancer().await;
    let mut feed = watch(&fleet.replicas[1]).await;
    let mut before = watch(&fleet.replicas[2]).await;
    let old = before.next().await["instance"].clone();
    let mut rig = fleet.kill(2);
    assert_eq!(feed.next_of("Replicas").await["replicas"].as_array().unwrap().len(), 2);
    rig.start_gateway();
    let back = feed.next_of("Replicas").await;
    assert_eq!(back["replicas"].as_array().unwrap().len(), 3, "{back}");
    let mut lines = watch(&rig).await;
    assert_ne!(
        lines.next().await["instance"],
        old,
        "whoever registers planes sees that it is another process"
    );
    // It knows of no plane itself, and of the others' connections all the same.
    let mut caller = rig.controller().await;
    until_404_ends(&mut caller).await;
    rig.controller().await.register("team/default", &Rig::agent_ca(&backend).await).await;
    assert_eq!(caller.get(&format!("{TEAM_PROXY}/version")).await.status(), 200);
}

async fn until_404_ends(caller: &mut Caller) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while caller.get(&format!("{TEAM_PROXY}/version")).await.status() == 404 {
        assert!(Instant::now() < deadline, "it does not hear of the others' connections");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_custom_resource_is_forgotten_by_all() {
    let (fleet, _balancer, _backend, _agent) = behind_a_balancer().await;
    for rig in &fleet.replicas {
        rig.controller().await.unregister("team/default").await;
    }
    for rig in &fleet.replicas {
        let mut caller = rig.controller().await;
        let deadline = Instant::now() + Duration::from_secs(5);
        while caller.get(&format!("{TEAM_PROXY}/version")).await.status() != 404 {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_come_to_the_same_cluster() {
    let fleet = Fleet::start(2, false).await;
    let ca = Authority::generate("ca", HOUR).unwrap();
    let [first, second] = fleet.replicas.as_slice() else { panic!("two replicas") };
    fleet.register("team/default", ca.cert_pem()).await;
    let blue = Speaker::new(&ca, "blue-1").of_cluster("blue");
    let _blue = blue.connect(first).await.unwrap();
    first.controller().await.until_connected("team/default").await;
    let mut lines = watch(second).await;
    let bound = lines.status_where(|line| line["clusterID"] == "blue").await;
    assert_eq!(bound["connected"], false, "its agent is elsewhere");
    let green = Speaker::new(&ca, "green-1").of_cluster("green");
    assert_eq!(green.connect(second).await.err().unwrap().0, 409);
    // A CA that shares nothing with the one before frees the plane, whatever the other replica still says of the old one.
    let other = Authority::generate("other", HOUR).unwrap();
    second.controller().await.register("team/default", other.cert_pem()).await;
    let green = Speaker::new(&other, "green-2").of_cluster("green");
    let _green = green.connect(second).await.unwrap();
    assert_eq!(lines.status_where(|line| line["connected"] == true).await["clusterID"], "green");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_are_told_which_replicas_there_are() {
    let mut fleet = Fleet::start(2, true).await;
    let ca = Authority::generate("ca", HOUR).unwrap();
    fleet.register("team/default", ca.cert_pem()).await;
    let (told, mut tellings) = tokio::sync::mpsc::channel(16);
    let speaker = Speaker::new(&ca, "a-1");
    let _spoken = speaker.connect_telling(&fleet.replicas[0], told).await.unwrap();
    let set = tellings.recv().await.unwrap();
    let hello = watch(&fleet.replicas[0]).await.next().await;
    assert_eq!(set["instance"], hello["instance"]);
    let addresses = |set: &serde_json::Value| {
        let mut all: Vec<String> = set["replicas"]
            .as_array()
            .unwrap()
            .iter()
            .map(|replica| replica["address"].as_str().unwrap().to_owned())
            .collect();
        all.sort();
        all
    };
    let mut both: Vec<String> = fleet.replicas.iter().map(|rig| format!("wss://{}/ws", rig.agents)).collect();
    let own = both[0].clone();
    both.sort();
    assert_eq!(addresses(&set), both);
    fleet.kill(1);
    let set = tellings.recv().await.unwrap();
    assert_eq!(addresses(&set), [own]);
}
