//! Callers that open streams only to reset them, and callers that give their requests each other's ids.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use http::Method;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;

use buildplane_tls::{Alpn, ClientIdentity, LeafRequest, connect};

use crate::backend::{PODS, TEAM, event};
use crate::frames::{END_STREAM, Frames, GOAWAY, RST_STREAM, frame, goaway_code, headers};
use crate::rig::{HOUR, Rig, TEAM_PROXY, chunk, eventually, text};
use crate::upgrades::{V5, open, websocket};

const ENHANCE_YOUR_CALM: u32 = 11;
const CANCEL: u32 = 8;

/// Frames of mallory's, who is a user like others.
pub(crate) async fn mallory(rig: &Rig) -> Frames<TlsStream<TcpStream>> {
    let groups = vec!["users".to_owned()];
    let user = LeafRequest { organizations: groups, ..LeafRequest::client("mallory", HOUR) };
    let identity = ClientIdentity::new(&rig.callers_ca.issue(user).unwrap());
    let tls = identity.client_config(&rig.gateway_ca.anchors().unwrap(), &[Alpn::H2]).unwrap();
    let tcp = TcpStream::connect(rig.internal).await.unwrap();
    Frames::client(connect(tls, "gateway.test", tcp, Duration::from_secs(5)).await.unwrap()).await
}

fn opened_and_reset(stream: u32, path: &str) -> Vec<u8> {
    let head: [(&str, &[u8]); 4] = [
        (":method", b"GET"),
        (":scheme", b"https"),
        (":authority", b"gateway.test"),
        (":path", path.as_bytes()),
    ];
    let mut bytes = headers(END_STREAM, stream, &head);
    bytes.extend(frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
    bytes
}

#[tokio::test]
async fn who_opens_and_resets_in_a_loop_loses_his_connection_and_nobody_elses() {
    let (rig, backend, _agent, mut controller) = Rig::connected().await;
    let mut watch = controller.get(&format!("{TEAM_PROXY}{TEAM}/pods?watch=true")).await.into_body();
    assert_eq!(chunk(&mut watch).await.unwrap(), event(0));
    let path = format!("{TEAM_PROXY}{TEAM}/pods?watch=true");
    for _ in 0..3 {
        let mut mallory = mallory(&rig).await;
        let n_streams = 5_000;
        let flood: Vec<u8> = (0..n_streams).flat_map(|n| opened_and_reset(2 * n + 1, &path)).collect();
        // The gateway stops reading when it has seen enough.
        let _closed = mallory.write(&flood).await;
        let goaway = mallory.until(GOAWAY).await;
        assert_eq!(goaway.as_ref().map(goaway_code), Some(ENHANCE_YOUR_CALM), "{goaway:?}");
        assert_eq!(text(controller.get(&format!("{TEAM_PROXY}{TEAM}/pods")).await).await, PODS);
    }
    assert!(chunk(&mut watch).await.is_some(), "the other's watch goes on");
    eventually("no stream of his is left", || backend.seen.n_watches() == 1).await;
    let counted = || rig.counted().lines().any(|line| line == "buildplane_gateway_streams 1");
    eventually("the gateway holds none either", counted).await;
}

#[tokio::test]
async fn callers_that_hang_up_in_a_loop_do_not_cost_the_tunnel() {
    let (rig, backend, _agent, mut controller) = Rig::connected().await;
    let mut watch = controller.get(&format!("{TEAM_PROXY}{TEAM}/pods?watch=true")).await.into_body();
    assert_eq!(chunk(&mut watch).await.unwrap(), event(0));
    let path = format!("{TEAM_PROXY}{TEAM}/pods/p/log?follow=true");
    // More than one connection of the tunnel may hold open at a time, each far enough to have reached the agent.
    let mut mallory = rig.caller("mallory", &["users"]).await;
    for _ in 0..700 {
        let response = mallory.get(&path).await;
        assert!(matches!(response.status().as_u16(), 200 | 429), "{}", response.status());
    }
    assert_eq!(text(controller.get(&format!("{TEAM_PROXY}{TEAM}/pods")).await).await, PODS);
    assert!(chunk(&mut watch).await.is_some(), "the other's watch goes on over the same connection");
    eventually("no log is sent to nobody", || backend.seen.n_logs() == 0).await;
}

#[tokio::test]
async fn two_requests_with_one_id_are_two_requests() {
    let (rig, _backend, _agent, mut controller) = Rig::connected().await;
    let mut bob = rig.caller("bob", &["users"]).await;
    let same = [("x-request-id", "the-same")];
    let path = format!("{TEAM_PROXY}{TEAM}/pods?watch=true");
    let first = controller.send(Method::GET, &path, &same, "").await;
    let second = bob.send(Method::GET, &path, &same, "").await;
    let id = |response: &http::Response<hyper::body::Incoming>| response.headers()["x-request-id"].clone();
    let (first_id, second_id) = (id(&first), id(&second));
    assert!(first_id != second_id && first_id != "the-same" && second_id != "the-same");
    // One that takes the id which the gateway gave the first ends nothing but itself.
    let stolen = [("x-request-id", first_id.to_str().unwrap())];
    let third = bob.send(Method::GET, &path, &stolen, "").await;
    assert_ne!(id(&third), first_id);
    let mut watch = first.into_body();
    assert_eq!(chunk(&mut watch).await.unwrap(), event(0));
    drop((second, third, bob));
    for n in 1..10 {
        assert_eq!(chunk(&mut watch).await.unwrap(), event(n), "each hears what is his, in order");
    }
}

#[tokio::test]
async fn a_stream_into_a_pod_is_not_ended_by_its_id() {
    let (rig, backend, _agent, _controller) = open().await;
    let same = ("x-request-id", "the-same");
    let mut first = websocket(&rig, "exec?command=cat", &[V5, same]).await.unwrap();
    let mut second = websocket(&rig, "exec?command=cat", &[V5, same]).await.unwrap();
    for (session, letter) in [(&mut first, b'1'), (&mut second, b'2')] {
        session.send(Message::Binary(vec![0, letter].into())).await.unwrap();
        assert_eq!(session.next().await.unwrap().unwrap().into_data(), vec![1, letter]);
    }
    drop(second);
    eventually("the second is over", || backend.seen.n_streams() == 1).await;
    first.send(Message::Binary(vec![0, b'3'].into())).await.unwrap();
    assert_eq!(first.next().await.unwrap().unwrap().into_data(), vec![1, b'3']);
}
