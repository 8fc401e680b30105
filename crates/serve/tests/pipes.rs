//! The same accept loop over pipes in memory, as a simulation runs it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use buildplane_serve::{Limits, Listener, PeerAddr, serve};
use buildplane_tls::{Alpn, Authority, ClientAuth, ClientIdentity, LeafRequest, ServerIdentity};

const HOUR: Duration = Duration::from_hours(1);

struct Pipes(mpsc::Receiver<(DuplexStream, SocketAddr)>);

impl Listener for Pipes {
    type Io = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, SocketAddr)> {
        match self.0.recv().await {
            Some(accepted) => Ok(accepted),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([0, 0, 0, 0], 0)))
    }
}

#[tokio::test]
async fn connections_come_from_wherever_the_listener_has_them() {
    buildplane_tls::install_crypto();
    let ca = Authority::generate("server", HOUR).unwrap();
    let leaf = ca.issue(LeafRequest::server(&["localhost"], &[], HOUR)).unwrap();
    let tls = ServerIdentity::new(&leaf).server_config(ClientAuth::None, &[Alpn::Http1]).unwrap();
    let address = |request: Request| async move {
        request.extensions().get::<PeerAddr>().map(|peer| peer.0.to_string()).unwrap_or_default()
    };
    let router = Router::new().route("/address", get(address));
    let (connect, accept) = mpsc::channel(1);
    let limits = Limits { handshake: Duration::from_secs(1), ..Limits::default() };
    let shutdown = CancellationToken::new();
    let served = tokio::spawn(serve(Pipes(accept), tls, router, limits, shutdown.clone()));

    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    connect.send((theirs, "192.0.2.7:99".parse().unwrap())).await.unwrap();
    let tls = ClientIdentity::anonymous().client_config(&ca.anchors().unwrap(), &[Alpn::Http1]).unwrap();
    let stream = TlsConnector::from(tls).connect("localhost".try_into().unwrap(), ours).await.unwrap();
    let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request =
        http::Request::get("/address").header("host", "localhost").body(Empty::<Bytes>::new()).unwrap();
    let body = send.send_request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "192.0.2.7:99");

    // A pipe that says nothing runs into the same deadline as a socket.
    let (mut silent, theirs) = tokio::io::duplex(1024);
    connect.send((theirs, "192.0.2.8:99".parse().unwrap())).await.unwrap();
    let mut end = [0];
    let read = tokio::io::AsyncReadExt::read(&mut silent, &mut end).await.unwrap();
    assert_eq!(read, 0);
    shutdown.cancel();
    served.await.unwrap().unwrap();
}
