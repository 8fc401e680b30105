//! A listener over real sockets: who the service sees, what a slow or greedy peer gets, how shutdown ends.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use buildplane_serve::{Limits, serve};
use buildplane_tls::{
    Alpn, AnchorStore, Authority, ClientAuth, ClientIdentity, LeafRequest, PeerCertificates, ServerIdentity,
};

const HOUR: Duration = Duration::from_hours(1);

struct Listener {
    address: std::net::SocketAddr,
    server_ca: Authority,
    shutdown: CancellationToken,
    served: tokio::task::JoinHandle<std::io::Result<()>>,
    /// Notified when `/slow` is being answered.
    slow_begun: Arc<Notify>,
}

async fn who(request: axum::extract::Request) -> String {
    let peer = request.extensions().get::<Arc<PeerCertificates>>();
    peer.and_then(|peer| peer.common_name()).unwrap_or("nobody").to_owned()
}

async fn listen(auth: ClientAuth, limits: Limits) -> Listener {
    buildplane_tls::install_crypto();
    let server_ca = Authority::generate("server", HOUR).unwrap();
    let leaf = server_ca.issue(LeafRequest::server(&["localhost"], &[], HOUR)).unwrap();
    let tls = ServerIdentity::new(&leaf).server_config(auth, &[Alpn::H2, Alpn::Http1]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let slow_begun = Arc::new(Notify::new());
    let begun = Arc::clone(&slow_begun);
    let slow = move || async move {
        begun.notify_one();
        tokio::time::sleep(Duration::from_millis(300)).await;
        "done"
    };
    let router = Router::new().route("/who", get(who)).route("/slow", get(slow));
    let served = tokio::spawn(serve(listener, tls, router, limits, shutdown.clone()));
    Listener { address, server_ca, shutdown, served, slow_begun }
}

impl Listener {
    async fn get(
        &self,
        identity: &ClientIdentity,
        alpn: Alpn,
        path: &str,
    ) -> Result<(Version, String), String> {
        let tls = identity.client_config(&self.server_ca.anchors().unwrap(), &[alpn]).unwrap();
        let stream = TcpStream::connect(self.address).await.map_err(|e| e.to_string())?;
        let name = "localhost".try_into().unwrap();
        let stream = TlsConnector::from(tls).connect(name, stream).await.map_err(|e| e.to_string())?;
        let io = TokioIo::new(stream);
        let request = Request::get(path).header("host", "localhost").body(Empty::<Bytes>::new()).unwrap();
        let response = if alpn == Alpn::H2 {
            let request =
                Request::get(format!("https://localhost{path}")).body(Empty::<Bytes>::new()).unwrap();
            let (mut send, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
                .await
                .map_err(|e| e.to_string())?;
            tokio::spawn(connection);
            send.send_request(request).await
        } else {
            let (mut send, connection) =
                hyper::client::conn::http1::handshake(io).await.map_err(|e| e.to_string())?;
            tokio::spawn(connection);
            send.send_request(request).await
        }
        .map_err(|e| format!("{e:?}"))?;
        let version = response.version();
        let body = response.into_body().collect().await.map_err(|e| e.to_string())?.to_bytes();
        Ok((version, String::from_utf8(body.to_vec()).unwrap()))
    }
}

#[tokio::test]
async fn the_service_sees_the_certificate_on_both_versions_of_http() {
    let ca = Authority::generate("clients", HOUR).unwrap();
    let leaf = ca.issue(LeafRequest::client("alice", HOUR)).unwrap();
    let alice = ClientIdentity::new(&leaf);
    let listener = listen(ClientAuth::AnyCertificate, Limits::default()).await;
    let http1 = listener.get(&alice, Alpn::Http1, "/who").await.unwrap();
    assert_eq!(http1, (Version::HTTP_11, "alice".into()));
    let http2 = listener.get(&alice, Alpn::H2, "/who").await.unwrap();
    assert_eq!(http2, (Version::HTTP_2, "alice".into()));
    let nobody = listener.get(&ClientIdentity::anonymous(), Alpn::H2, "/who").await.unwrap();
    assert_eq!(nobody.1, "nobody");
}

#[tokio::test]
async fn an_anchored_listener_admits_its_own_clients_and_follows_a_change_of_its_anchors() {
    let ours = Authority::generate("ours", HOUR).unwrap();
    let theirs = Authority::generate("theirs", HOUR).unwrap();
    let store = AnchorStore::new(ours.anchors().unwrap());
    let listener = listen(ClientAuth::Anchored(Arc::clone(&store)), Limits::default()).await;
    let alice = ClientIdentity::new(&ours.issue(LeafRequest::client("alice", HOUR)).unwrap());
    let mallory = ClientIdentity::new(&theirs.issue(LeafRequest::client("alice", HOUR)).unwrap());
    assert_eq!(listener.get(&alice, Alpn::H2, "/who").await.unwrap().1, "alice");
    assert!(listener.get(&mallory, Alpn::H2, "/who").await.is_err());
    store.replace(theirs.anchors().unwrap());
    assert!(listener.get(&alice, Alpn::H2, "/who").await.is_err());
    assert_eq!(listener.get(&mallory, Alpn::H2, "/who").await.unwrap().1, "alice");
}

#[tokio::test]
async fn a_client_refuses_a_server_of_another_authority_or_name() {
    let listener = listen(ClientAuth::None, Limits::default()).await;
    let other = Authority::generate("other", HOUR).unwrap();
    for (roots, name) in [(&other, "localhost"), (&listener.server_ca, "elsewhere")] {
        let tls = ClientIdentity::anonymous().client_config(&roots.anchors().unwrap(), &[Alpn::H2]).unwrap();
        let stream = TcpStream::connect(listener.address).await.unwrap();
        let refused = TlsConnector::from(tls).connect(name.try_into().unwrap(), stream).await;
        assert!(refused.is_err(), "{name}");
    }
}

#[tokio::test]
async fn a_handshake_that_never_comes_is_cut_at_its_deadline() {
    let limits = Limits { handshake: Duration::from_millis(100), ..Limits::default() };
    let listener = listen(ClientAuth::None, limits).await;
    let mut stream = TcpStream::connect(listener.address).await.unwrap();
    let begun = Instant::now();
    // The beginning of a ClientHello record, and then nothing.
    stream.write_all(&[0x16, 0x03, 0x01]).await.unwrap();
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "still open after {:?}", begun.elapsed());
}

#[tokio::test]
async fn connections_above_the_cap_are_closed_and_room_returns() {
    let limits = Limits { connections: 1, handshake: Duration::from_millis(200), ..Limits::default() };
    let listener = listen(ClientAuth::None, limits).await;
    let held = TcpStream::connect(listener.address).await.unwrap();
    let anonymous = ClientIdentity::anonymous();
    assert!(listener.get(&anonymous, Alpn::H2, "/who").await.is_err());
    drop(held);
    let deadline = Instant::now() + Duration::from_secs(5);
    while listener.get(&anonymous, Alpn::H2, "/who").await.is_err() {
        assert!(Instant::now() < deadline, "no room after the held connection went");
    }
}

#[tokio::test]
async fn shutdown_answers_what_is_in_flight_and_then_ends() {
    for alpn in [Alpn::Http1, Alpn::H2] {
        let listener = listen(ClientAuth::None, Limits::default()).await;
        let anonymous = ClientIdentity::anonymous();
        let (slow, ()) = tokio::join!(listener.get(&anonymous, alpn, "/slow"), async {
            listener.slow_begun.notified().await;
            listener.shutdown.cancel();
        });
        assert_eq!(slow.unwrap().1, "done");
        tokio::time::timeout(Duration::from_secs(5), listener.served).await.unwrap().unwrap().unwrap();
        assert!(TcpStream::connect(listener.address).await.is_err());
    }
}

#[tokio::test]
async fn a_request_head_above_the_limit_is_refused() {
    let limits = Limits { header_bytes: 16 * 1024, ..Limits::default() };
    let listener = listen(ClientAuth::None, limits).await;
    let tls = ClientIdentity::anonymous()
        .client_config(&listener.server_ca.anchors().unwrap(), &[Alpn::Http1])
        .unwrap();
    let stream = TcpStream::connect(listener.address).await.unwrap();
    let mut stream = TlsConnector::from(tls).connect("localhost".try_into().unwrap(), stream).await.unwrap();
    let head = format!("GET /who HTTP/1.1\r\nhost: localhost\r\nx-large: {}\r\n\r\n", "a".repeat(20 * 1024));
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 431");
}
