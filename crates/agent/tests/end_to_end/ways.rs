//! The ways to the gateway: through proxies, and through networks that lose a connection without a word.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use buildplane_agent::{Config, Lifetimes, Proxied, ServerCa};
use buildplane_tls::{Alpn, Authority, ClientAuth, LeafRequest, ServerConfig, ServerIdentity, TrustAnchors};

use crate::backend::Backend;
use crate::feed::watch;
use crate::lifecycle::plain;
use crate::rig::{HOUR, Rig, TEAM_PROXY, secret_value, text};

/// What a proxy does with the connections that it is asked for.
#[derive(Clone)]
enum Doing {
    /// Connects to the gateway.
    Carries(SocketAddr),
    /// Answers with a status.
    Refuses(&'static str),
    /// Poses as the gateway under the authority that the proxy itself is trusted under.
    Breaks(Arc<ServerConfig>),
}

/// A proxy, and the heads of what it was asked.
async fn proxy(tls: Option<Arc<ServerConfig>>, doing: Doing) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heads = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let (tls, doing, heads) = (tls.clone(), doing.clone(), Arc::clone(&heads));
            tokio::spawn(async move {
                let Some(tls) = tls else { return carry(tcp, doing, &heads).await };
                if let Ok(stream) = TlsAcceptor::from(tls).accept(tcp).await {
                    carry(stream, doing, &heads).await;
                }
            });
        }
    });
    (address, asked)
}

async fn carry(mut io: impl AsyncRead + AsyncWrite + Unpin, doing: Doing, heads: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match io.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    heads.lock().unwrap().push(String::from_utf8(head).unwrap());
    match doing {
        Doing::Carries(gateway) => {
            let mut gateway = TcpStream::connect(gateway).await.unwrap();
            io.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
            let _ended = copy_bidirectional(&mut io, &mut gateway).await;
        }
        Doing::Refuses(status) => {
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nno");
            let _gone = io.write_all(answer.as_bytes()).await;
        }
        Doing::Breaks(tls) => {
            io.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            let _refused = TlsAcceptor::from(tls).accept(io).await;
        }
    }
}

fn server(authority: &Authority, name: &str) -> Arc<ServerConfig> {
    let request = LeafRequest::server(&[name], &["127.0.0.1".parse().unwrap()], HOUR);
    let identity = ServerIdentity::new(&authority.issue(request).unwrap());
    identity.server_config(ClientAuth::None, &[Alpn::Http1]).unwrap()
}

/// Goes to `gateway.test` through the proxy.
fn through(config: &mut Config, rig: &Rig, proxy: &str, extra: Option<TrustAnchors>) {
    config.gateway = format!("wss://gateway.test:{}/ws", rig.agents.port()).parse().unwrap();
    let variable = |name: &str| (name == "HTTPS_PROXY").then(|| proxy.to_owned());
    config.connect = Arc::new(Proxied::from_variables(variable, extra).unwrap().unwrap());
}

#[tokio::test]
async fn an_agent_goes_through_a_proxy_plain_or_over_tls() {
    let rig = Rig::start().await;
    let corporate = Authority::generate("corporate", HOUR).unwrap();
    let (open, asked_openly) = proxy(None, Doing::Carries(rig.agents)).await;
    let over_tls = Some(server(&corporate, "proxy.test"));
    let (closed, asked_over_tls) = proxy(over_tls, Doing::Carries(rig.agents)).await;
    for (url, extra, asked) in [
        (format!("http://user:pass%20word@{open}"), None, asked_openly),
        (format!("https://{closed}"), Some(corporate.anchors().unwrap()), asked_over_tls),
    ] {
        let backend = Backend::start().await;
        let server_ca = ServerCa::Pem(rig.gateway_ca.cert_pem().to_owned());
        let _agent =
            rig.agent_configured(&backend, server_ca, |config| through(config, &rig, &url, extra)).await;
        let mut controller = rig.controller().await;
        controller.register("team/default", &Rig::agent_ca(&backend).await).await;
        controller.until_connected("team/default").await;
        assert_eq!(text(controller.get(&format!("{TEAM_PROXY}/version")).await).await, "found");
        let head = asked.lock().unwrap()[0].to_ascii_lowercase();
        let port = rig.agents.port();
        assert!(head.starts_with(&format!("connect gateway.test:{port} http/1.1\r\n")), "{head}");
        assert!(head.contains(&format!("\r\nhost: gateway.test:{port}\r\n")), "{head}");
        assert_eq!(head.contains("\r\nproxy-authorization: basic "), url.contains('@'), "{head}");
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_what_it_should_be_is_refused_and_named_without_its_login() {
    let rig = Rig::start().await;
    let (corporate, other) =
        (Authority::generate("corporate", HOUR).unwrap(), Authority::generate("corporate", HOUR).unwrap());
    let (refuses, _) = proxy(None, Doing::Refuses("407 Proxy Authentication Required")).await;
    let (endless, _) = proxy(None, Doing::Refuses(Box::leak("200 x".repeat(9000).into_boxed_str()))).await;
    let (breaks, _) = proxy(None, Doing::Breaks(server(&corporate, "gateway.test"))).await;
    let unverified = proxy(Some(server(&other, "proxy.test")), Doing::Carries(rig.agents)).await.0;
    for (url, said) in [
        (format!("http://user:secret@{refuses}"), "refused the connection with 407"),
        (format!("http://user:secret@{endless}"), "did not answer"),
        (format!("https://user:secret@{unverified}"), "could not be verified"),
        // An extra CA is for proxies: a gateway under it is no gateway.
        (format!("http://user:secret@{breaks}"), "the gateway's identity could not be verified"),
    ] {
        let backend = Backend::start().await;
        let health = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = health.local_addr().unwrap();
        let server_ca = ServerCa::Pem(rig.gateway_ca.cert_pem().to_owned());
        let extra = Some(corporate.anchors().unwrap());
        let _agent = rig
            .agent_configured(&backend, server_ca, |config| {
                through(config, &rig, &url, extra);
                config.health = Some(health);
            })
            .await;
        let deadline = Instant::now() + Duration::from_secs(10);
        let ready = loop {
            let ready = plain(address, "/readyz").await;
            if ready.contains(said) {
                break ready;
            }
            assert!(Instant::now() < deadline, "{url}: {ready}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
        assert!(!ready.contains("secret"), "{ready}");
    }
}

/// Forwards to the gateway, until what is open then freezes: nothing passes, and nothing is closed.
async fn forwarder(to: SocketAddr) -> (SocketAddr, CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let freeze = CancellationToken::new();
    let frozen = freeze.clone();
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut far = TcpStream::connect(to).await.unwrap();
            // Who comes later finds the network whole again.
            let frozen = if frozen.is_cancelled() { CancellationToken::new() } else { frozen.clone() };
            tokio::spawn(async move {
                if frozen.run_until_cancelled(copy_bidirectional(&mut near, &mut far)).await.is_none() {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    (address, freeze)
}

#[tokio::test]
async fn a_half_open_connection_is_found_by_the_agent_within_two_heartbeats() {
    let rig = Rig::start().await;
    let backend = Backend::start().await;
    let (address, freeze) = forwarder(rig.agents).await;
    let heartbeat = Duration::from_millis(700);
    let health = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let probed = health.local_addr().unwrap();
    let server_ca = ServerCa::Pem(rig.gateway_ca.cert_pem().to_owned());
    let _agent = rig
        .agent_configured(&backend, server_ca, |config| {
            config.gateway = format!("wss://{address}/ws").parse().unwrap();
            config.tunnel.heartbeat = heartbeat;
            config.health = Some(health);
        })
        .await;
    let mut controller = rig.controller().await;
    controller.register("team/default", &Rig::agent_ca(&backend).await).await;
    controller.until_connected("team/default").await;
    // Heartbeats are answered: a connection that is only idle stays.
    tokio::time::sleep(3 * heartbeat).await;
    let connected = async |n_times: u32| {
        let metrics = plain(probed, "/metrics").await;
        metrics.contains(&format!("buildplane_agent_dials_total{{outcome=\"connected\"}} {n_times}\n"))
    };
    assert!(connected(1).await);

    // The gateway's own heartbeat is far longer, so that what follows is the agent's doing.
    freeze.cancel();
    let begun = Instant::now();
    while !connected(2).await {
        assert!(begun.elapsed() < Duration::from_secs(8), "the agent does not notice");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_leaf_is_renewed_under_an_open_connection_and_no_request_fails() {
    let rig = Rig::start().await;
    let backend = Backend::start().await;
    let server_ca = ServerCa::Pem(rig.gateway_ca.cert_pem().to_owned());
    // A leaf begins five minutes before it is made: of this one, two thirds are over after a few seconds.
    let leaf = Duration::from_secs(160);
    let _agent = rig
        .agent_configured(&backend, server_ca, |config| {
            config.lifetimes = Lifetimes { leaf, ..Lifetimes::default() };
        })
        .await;
    let ca = Rig::agent_ca(&backend).await;
    let mut controller = rig.controller().await;
    controller.register("team/default", &ca).await;
    controller.until_connected("team/default").await;
    let presented =
        async || watch(&rig).await.status_with(true).await["agents"][0]["certificateNotAfter"].clone();
    let first = presented().await;
    let deadline = Instant::now() + Duration::from_secs(30);
    while presented().await == first {
        let response = controller.get(&format!("{TEAM_PROXY}/version")).await;
        assert_eq!(response.status(), 200, "{}", text(response).await);
        assert!(Instant::now() < deadline, "it is not renewed");
    }
    let secret = backend.seen.secret("cluster-agent-tls").unwrap();
    assert_eq!(secret_value(&secret, "ca.crt"), ca, "the authority stays");
    assert_eq!(controller.n_agents("team/default").await, 1);
}
