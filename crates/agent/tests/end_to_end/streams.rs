//! Streaming through gateway and agent: watches, cancellation, flow control.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, WatchEvent, WatchParams};

use buildplane_gateway::{Fairness, Limits};
use buildplane_tls::LeafRequest;

use crate::backend::{PODS, TEAM, event};
use crate::rig::{CLUSTER_PROXY, HOUR, Rig, TEAM_PROXY, chunk, eventually, kube_config, text};

#[tokio::test]
async fn a_watch_streams_and_its_end_arrives_at_the_far_end() {
    let (_rig, backend, _agent, mut controller) = Rig::connected().await;
    let response = controller.get(&format!("{TEAM_PROXY}{TEAM}/pods?watch=true")).await;
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    assert_eq!(chunk(&mut body).await.unwrap(), event(0));
    let begun = Instant::now();
    for _ in 0..5 {
        assert!(chunk(&mut body).await.is_some());
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "events are not held back");
    assert_eq!(backend.seen.n_watches(), 1);
    drop(body);
    let begun = Instant::now();
    eventually("the API hears that nobody watches", || backend.seen.n_watches() == 0).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "cancelled after {:?}", begun.elapsed());
}

#[tokio::test]
async fn the_kubernetes_client_lists_and_watches_through_the_tunnel() {
    let (rig, backend, _agent, _controller) = Rig::connected().await;
    let groups = vec!["users".to_owned()];
    let user =
        rig.callers_ca.issue(LeafRequest { organizations: groups, ..LeafRequest::client("alice", HOUR) });
    let server = format!("https://127.0.0.1:{}{TEAM_PROXY}", rig.internal.port());
    let client = kube::Client::try_from(kube_config(&server, &rig.gateway_ca, &user.unwrap()).await).unwrap();

    let pods: Api<Pod> = Api::namespaced(client.clone(), "openchoreo-ci-team");
    assert!(pods.list(&ListParams::default()).await.unwrap().items.is_empty());
    let mut events = Box::pin(pods.watch(&WatchParams::default(), "1").await.unwrap());
    for n in 0..3 {
        let Some(Ok(WatchEvent::Added(pod))) = events.next().await else { panic!("an event comes") };
        assert_eq!(pod.metadata.name, Some(format!("p{n}")));
    }
    // This client speaks HTTP/1.1: its end is a closed connection, and arrives all the same.
    drop(events);
    eventually("the API hears that nobody watches", || backend.seen.n_watches() == 0).await;

    // A refusal is an API error like any other, and names the rule.
    let refused = Api::<Pod>::namespaced(client, "kube-system").get("x").await.unwrap_err();
    let kube::Error::Api(status) = refused else { panic!("{refused:?}") };
    assert_eq!((status.code, status.reason.as_str()), (403, "Forbidden"));
    assert!(
        status.message.contains("rule pods holds in namespace openchoreo-ci-team only"),
        "{}",
        status.message
    );
}

#[tokio::test]
async fn streams_that_nobody_reads_stall_no_other() {
    let (_rig, backend, _agent, mut controller) = Rig::connected().await;
    let mut unread = Vec::new();
    for n in 0..20 {
        let response = controller.get(&format!("{TEAM_PROXY}{TEAM}/pods/p{n}/log?follow=true")).await;
        assert_eq!(response.status(), 200);
        unread.push(response.into_body());
    }
    assert_eq!(backend.seen.requests().iter().filter(|(path, _)| path.contains("/log")).count(), 20);
    let pods = format!("{TEAM_PROXY}{TEAM}/pods");
    // The unread bodies fill their windows while these go through.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        let answer =
            tokio::time::timeout(Duration::from_secs(2), controller.get(&pods)).await.expect("no stall");
        assert_eq!(text(answer).await, PODS);
    }
    // And one that is read after all arrives whole.
    let whole = unread.pop().unwrap().collect().await.unwrap().to_bytes();
    assert_eq!(whole.len(), 64 * 1024 * 1024);
}

/// Bodies of callers that never read, up to what one of them may hold.
#[tokio::test]
async fn a_caller_holds_no_more_than_his_share_and_hears_when_to_come_again() {
    let fairness =
        Fairness { streams_per_resource: 8, streams_per_caller: 4, requests_per_second: Some(1), burst: 6 };
    let limits = Limits { fairness, settle: Duration::ZERO, ..Limits::default() };
    let (rig, _backend, _agent, mut controller) = Rig::connected_within(limits, |_config| {}).await;
    let (mut alice, mut bob) = (rig.caller("alice", &["users"]).await, rig.caller("bob", &["users"]).await);
    let log = format!("{TEAM_PROXY}{TEAM}/pods/p/log?follow=true");
    let mut held = Vec::new();
    for _ in 0..4 {
        let response = alice.get(&log).await;
        assert_eq!(response.status(), 200);
        held.push(response.into_body());
    }
    let refused = alice.get(&log).await;
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert!(text(refused).await.contains("4 requests of \\\"alice\\\" are in flight"));
    // Others have theirs; parts of the control plane go on.
    assert_eq!(bob.get(&log).await.status(), 200, "the sixth of the burst");
    let refused = bob.get(&log).await;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    assert!(text(refused).await.contains("too many requests in a short time"));
    assert_eq!(text(controller.get(&format!("{TEAM_PROXY}{TEAM}/pods")).await).await, PODS);
    // The other tenant of the same plane is not slowed.
    assert_eq!(bob.get(&format!("{CLUSTER_PROXY}{TEAM}/pods")).await.status(), 200);
}

#[tokio::test]
async fn a_revocation_releases_streams_whose_callers_do_not_read() {
    let (_rig, backend, _agent, mut controller) = Rig::connected().await;
    // Its window fills at once, and nobody asks for more of it.
    let unread = controller.get(&format!("{TEAM_PROXY}{TEAM}/pods/p/log?follow=true")).await;
    assert_eq!(unread.status(), 200);
    eventually("the log is being sent", || backend.seen.n_logs() == 1).await;
    controller.unregister("team/default").await;
    eventually("the far end lets go of it", || backend.seen.n_logs() == 0).await;
    drop(unread);
}

#[tokio::test]
async fn a_response_that_stands_still_is_let_go() {
    let limits = Limits { stalled: Duration::from_millis(200), settle: Duration::ZERO, ..Limits::default() };
    let (_rig, backend, _agent, mut controller) = Rig::connected_within(limits, |_config| {}).await;
    // A watch that only waits goes on.
    let mut watch = controller
        .get(&format!("{TEAM_PROXY}{TEAM}/pods?watch=true&resourceVersion=quiet"))
        .await
        .into_body();
    assert_eq!(chunk(&mut watch).await.unwrap(), event(0));
    let unread = controller.get(&format!("{TEAM_PROXY}{TEAM}/pods/p/log")).await;
    assert_eq!(unread.status(), 200);
    eventually("the log is being sent", || backend.seen.n_logs() == 1).await;
    eventually("the far end lets go of it", || backend.seen.n_logs() == 0).await;
    assert_eq!(backend.seen.n_watches(), 1, "waiting is not standing still");
    drop((unread, watch));
}
