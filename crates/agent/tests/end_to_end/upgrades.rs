//! Streams into pods through gateway and agent: exec, attach, port-forward.

use std::time::{Duration, Instant};

use futures::{SinkExt as _, StreamExt as _};
use http::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use tokio_util::sync::DropGuard;

use buildplane_agent::policy::{Policy, Rule, Scope};
use buildplane_agent::{Config, Metrics, PolicySource};
use buildplane_gateway::Limits;
use buildplane_testing::{Finished, Kubectl, Tools};
use buildplane_tls::{Alpn, ClientIdentity, LeafRequest, connect};
use buildplane_wire::Verb;

use crate::backend::{Backend, TEAM};
use crate::rig::{Caller, HOUR, Rig, TEAM_PROXY, eventually, full, json, kubeconfig, text};

/// What the owner of a build cluster adds to let people into the pods of builds.
pub(crate) fn allow_streams(config: &mut Config) {
    let mut policy = Policy::builds();
    policy.rules.push(Rule {
        name: "streams".to_owned(),
        scope: Scope::BuildNamespaces,
        groups: vec![String::new()],
        resources: ["pods/exec", "pods/attach", "pods/portforward"].map(str::to_owned).to_vec(),
        verbs: vec![Verb::Create],
    });
    config.policy = PolicySource::Fixed(policy);
}

pub(crate) async fn open() -> (Rig, Backend, DropGuard, Caller) {
    Rig::connected_with(allow_streams).await
}

/// kubectl through the gateway, as the user alice.
pub(crate) struct People {
    directory: tempfile::TempDir,
    tools: Tools,
}

impl People {
    pub(crate) fn new(rig: &Rig, tools: Tools) -> Self {
        let groups = vec!["users".to_owned()];
        let user = LeafRequest { organizations: groups, ..LeafRequest::client("alice", HOUR) };
        let user = rig.callers_ca.issue(user).unwrap();
        let server = format!("https://127.0.0.1:{}{TEAM_PROXY}", rig.internal.port());
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("data")).unwrap();
        let kubeconfig = kubeconfig(&server, &rig.gateway_ca, &user).to_string();
        std::fs::write(directory.path().join("data/kubeconfig"), kubeconfig).unwrap();
        Self { directory, tools }
    }

    pub(crate) async fn kubectl(&self, arguments: &[&str], input: &str) -> Finished {
        let kubectl = Kubectl::new(&self.tools, &self.directory.path().join("data/kubeconfig"), "x");
        let arguments: Vec<String> = ["-n", "openchoreo-ci-team"]
            .iter()
            .chain(arguments)
            .map(|&argument| argument.to_owned())
            .collect();
        let input = input.to_owned();
        tokio::task::spawn_blocking(move || kubectl.run_with(&arguments, &input)).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_execs_and_attaches_through_the_gateway() {
    let (rig, _backend, _agent, _controller) = open().await;
    for tools in Tools::all() {
        let people = People::new(&rig, tools);
        let said = people.kubectl(&["exec", "x", "--", "echo", "hello"], "").await.ok();
        assert_eq!(said, "hello\n");
        let failed = people.kubectl(&["exec", "x", "--", "sh", "-c", "exit 3"], "").await;
        assert_eq!(failed.code, Some(3), "{failed}");
        let failed = people.kubectl(&["exec", "x", "--", "false"], "").await;
        assert_eq!(failed.code, Some(1), "{failed}");
        // kubectl tries SPDY after a WebSocket that was refused, whatever the reason, and shows the second refusal.
        let missing = people.kubectl(&["-v=8", "exec", "x", "--", "missing"], "").await.failed();
        assert!(missing.contains("SPDY is not carried through the gateway"), "{missing}");
        let attached = people.kubectl(&["attach", "-i", "x"], "a line\n").await;
        assert_eq!(attached.stdout, "a line\n", "{attached}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_megabytes_pass_through_kubectl_exec_both_ways() {
    let (rig, backend, _agent, _controller) = open().await;
    let people = People::new(&rig, Tools::newest());
    let line = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\n";
    let input = line.repeat((10 << 20) / line.len());
    let copied = people.kubectl(&["exec", "-i", "x", "--", "cat"], &input).await.ok();
    assert_eq!(copied.len(), input.len());
    assert!(copied == input, "ten megabytes came back, and others");
    eventually("the stream is over at the far end", || backend.seen.n_streams() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_shipped_no_stream_is_opened_and_the_rule_is_named() {
    let (rig, backend, _agent, _controller) = Rig::connected().await;
    let people = People::new(&rig, Tools::newest());
    let refused = people.kubectl(&["exec", "x", "--", "echo", "hello"], "").await.failed();
    assert!(refused.contains("no rule allows to create pods/exec"), "{refused}");
    assert!(backend.seen.requests().iter().all(|(path, _)| !path.contains("exec")), "it never arrived");
}

/// A WebSocket of alice's, over HTTP/1.1 as kubectl opens it.
pub(crate) async fn websocket(
    rig: &Rig,
    path: &str,
    headers: &[(&'static str, &'static str)],
) -> Result<WebSocketStream<TlsStream<TcpStream>>, (StatusCode, String)> {
    let mut request = Request::get(format!("wss://gateway.test{TEAM_PROXY}{TEAM}/pods/x/{path}"))
        .header("host", "gateway.test")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    match client_async(request.body(()).unwrap(), http1(rig).await).await {
        Ok((websocket, _)) => Ok(websocket),
        Err(WsError::Http(answer)) => {
            let body = answer.body().clone().unwrap_or_default();
            Err((answer.status(), String::from_utf8_lossy(&body).into_owned()))
        }
        Err(error) => panic!("{path}: neither accepted nor refused: {error}"),
    }
}

/// A connection of alice's for HTTP/1.1, on which nothing has been said.
pub(crate) async fn http1(rig: &Rig) -> TlsStream<TcpStream> {
    let groups = vec!["users".to_owned()];
    let user = LeafRequest { organizations: groups, ..LeafRequest::client("alice", HOUR) };
    let identity = ClientIdentity::new(&rig.callers_ca.issue(user).unwrap());
    let tls = identity.client_config(&rig.gateway_ca.anchors().unwrap(), &[Alpn::Http1]).unwrap();
    let tcp = TcpStream::connect(rig.internal).await.unwrap();
    connect(tls, "gateway.test", tcp, Duration::from_secs(5)).await.unwrap()
}

pub(crate) const V5: (&str, &str) = ("sec-websocket-protocol", "v5.channel.k8s.io");

#[tokio::test]
async fn an_end_arrives_at_the_far_end_both_ways() {
    let (rig, backend, _agent, _controller) = open().await;
    // The caller vanishes.
    let mut websocket = websocket(&rig, "exec?command=cat", &[V5]).await.unwrap();
    websocket.send(Message::Binary(vec![0, b'x'].into())).await.unwrap();
    assert_eq!(websocket.next().await.unwrap().unwrap().into_data(), vec![1, b'x']);
    assert_eq!(backend.seen.n_streams(), 1);
    let begun = Instant::now();
    drop(websocket);
    eventually("the pod hears of it", || backend.seen.n_streams() == 0).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "after {:?}", begun.elapsed());
    // The pod ends.
    let mut websocket = self::websocket(&rig, "exec?command=true", &[V5]).await.unwrap();
    let begun = Instant::now();
    while let Some(Ok(_)) = websocket.next().await {}
    assert!(begun.elapsed() < Duration::from_secs(2), "after {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_revocation_ends_streams_into_pods() {
    let (rig, backend, _agent, mut controller) = open().await;
    let mut websocket = websocket(&rig, "exec?command=cat", &[V5]).await.unwrap();
    assert_eq!(backend.seen.n_streams(), 1);
    controller.unregister("team/default").await;
    let ended = tokio::time::timeout(Duration::from_secs(5), websocket.next()).await.expect("it ends");
    assert!(ended.is_none_or(|message| message.is_err()));
    eventually("the pod hears of it", || backend.seen.n_streams() == 0).await;
}

#[tokio::test]
async fn a_stream_that_its_pod_holds_up_is_let_go() {
    let mut metrics = None;
    let limits = Limits { stalled: Duration::from_millis(500), settle: Duration::ZERO, ..Limits::default() };
    let (rig, _backend, _agent, _controller) = Rig::connected_within(limits, |config| {
        allow_streams(config);
        metrics = Some(config.metrics.clone());
    })
    .await;
    let metrics = metrics.unwrap();
    let mut websocket = websocket(&rig, "exec?command=never-reads", &[V5]).await.unwrap();
    eventually("it is open", || n_streams(&metrics) == 1).await;
    // Until every buffer on the way is full, and the gateway has waited long enough.
    while websocket.send(Message::Binary(vec![0; 64 * 1024].into())).await.is_ok() {}
    eventually("the agent lets go of it", || n_streams(&metrics) == 0).await;
}

fn n_streams(metrics: &Metrics) -> u64 {
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let line = text.lines().find(|line| line.starts_with("buildplane_agent_upgraded_streams")).unwrap();
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[tokio::test]
async fn only_a_whole_handshake_of_ours_is_an_upgrade() {
    let (rig, backend, _agent, _controller) = open().await;
    let token =
        ("sec-websocket-protocol", "v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.c2VjcmV0");
    for (path, headers, code, message) in [
        ("exec?command=redirect", &[V5][..], 502, "answered 302, which is not relayed"),
        ("exec?command=not-an-upgrade", &[V5], 502, "answered 200 to a WebSocket handshake"),
        ("exec?command=other-protocol", &[V5], 502, "that nobody offered"),
        ("exec?command=wrong-accept", &[V5], 502, "not to our WebSocket handshake"),
        ("exec?command=missing", &[V5], 404, "no such container"),
        ("log", &[V5], 400, "only exec, attach and portforward"),
        ("exec?command=cat", &[V5, ("origin", "https://evil.example")], 403, "without the header Origin"),
        (
            "exec?command=cat",
            &[("sec-websocket-protocol", "chat")],
            400,
            "no WebSocket subprotocol of Kubernetes",
        ),
        ("exec?command=cat", &[token], 400, "must not be sent as a WebSocket subprotocol"),
    ] {
        let (status, body) = websocket(&rig, path, headers).await.err().unwrap();
        assert_eq!(status.as_u16(), code, "{path} {headers:?}: {body}");
        assert!(body.contains(message), "{path} {headers:?}: {body}");
    }
    assert_eq!(backend.seen.n_streams(), 0);
    // The handshake that arrived is the agent's own.
    let (_, arrived) =
        backend.seen.requests().into_iter().find(|(path, _)| path.contains("missing")).unwrap();
    assert_ne!(arrived["sec-websocket-key"], "dGhlIHNhbXBsZSBub25jZQ==");
    assert!(!arrived.contains_key("sec-websocket-extensions"));
}

#[tokio::test]
async fn who_asks_for_spdy_is_told_which_kubectl_to_use() {
    let (rig, _backend, _agent, mut controller) = open().await;
    let exec = format!("{TEAM_PROXY}{TEAM}/pods/x/exec?command=cat");
    let mut stream = http1(&rig).await;
    let request = format!(
        "POST {exec} HTTP/1.1\r\nhost: gateway.test\r\nconnection: Upgrade\r\nupgrade: SPDY/3.1\r\ncontent-length: 0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let n_bytes = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..n_bytes]);
    assert!(answer.starts_with("HTTP/1.1 501"), "{answer}");
    assert!(answer.contains("use kubectl 1.31 or newer"), "{answer}");
    // HTTP/2 has no such header; what looks like half a handshake is refused.
    let half = controller.send(Method::GET, &exec, &[("sec-websocket-key", "x")], "").await;
    assert_eq!(half.status(), 400);
}

#[tokio::test]
async fn an_extended_connect_of_http2_is_carried_too() {
    let (_rig, backend, _agent, mut controller) = open().await;
    // What a port-forward frames inside is nobody's business on the way.
    let forward = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("https://gateway.test{TEAM_PROXY}{TEAM}/pods/x/portforward"))
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "SPDY/3.1+portforward.k8s.io")
        .extension(hyper::ext::Protocol::from_static("websocket"));
    // The first answer shows that both ends know each other's settings.
    assert_eq!(controller.get(&format!("{TEAM_PROXY}/version")).await.status(), 200);
    let mut response = controller.request(forward.body(full("")).unwrap()).await;
    assert_eq!(response.status(), 200, "{}", text(response).await);
    assert_eq!(response.headers()["sec-websocket-protocol"], "SPDY/3.1+portforward.k8s.io");
    let upgraded = hyper::upgrade::on(&mut response).await.unwrap();
    let (mut reads, mut writes) = tokio::io::split(TokioIo::new(upgraded));
    let sent = tokio::spawn(async move {
        writes.write_all(&vec![7; 1 << 20]).await.unwrap();
        // Half-closed: the rest still comes back.
        writes.shutdown().await.unwrap();
    });
    let mut back = Vec::new();
    reads.read_to_end(&mut back).await.unwrap();
    assert_eq!(back, vec![7; 1 << 20]);
    sent.await.unwrap();
    eventually("the far end is closed", || backend.seen.n_streams() == 0).await;

    let refused = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("https://gateway.test{TEAM_PROXY}{TEAM}/pods/x/exec?command=missing"))
        .header("sec-websocket-protocol", "v5.channel.k8s.io")
        .extension(hyper::ext::Protocol::from_static("websocket"));
    let refused = controller.request(refused.body(full("")).unwrap()).await;
    assert_eq!(refused.status(), 404);
    assert_eq!(json(refused).await["message"], "no such container");
}
