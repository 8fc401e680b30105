use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use buildplane_tls::PeerCertificates;

use crate::connection::{BoxError, Connection, Version};
use crate::limits::Limits;
use crate::listener::Listener;

/// How long the loop rests when the system refuses to accept (no descriptors left, most often).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves HTTP/1.1 and HTTP/2 over TLS until `shutdown`, then waits at most `limits.drain` for what is in flight.
///
/// Returns an error only when the listener itself cannot be used.
pub async fn serve<L, S, B>(
    listener: L,
    tls: Arc<ServerConfig>,
    service: S,
    limits: Limits,
    shutdown: CancellationToken,
) -> io::Result<()>
where
    L: Listener,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    accept_loop(listener, Some(TlsAcceptor::from(tls)), service, limits, shutdown).await
}

/// Serves HTTP/1.1 without TLS: for health and metrics alone.
pub async fn serve_plain<L, S, B>(
    listener: L,
    service: S,
    limits: Limits,
    shutdown: CancellationToken,
) -> io::Result<()>
where
    L: Listener,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    accept_loop(listener, None, service, limits, shutdown).await
}

async fn accept_loop<L, S, B>(
    mut listener: L,
    acceptor: Option<TlsAcceptor>,
    service: S,
    limits: Limits,
    shutdown: CancellationToken,
) -> io::Result<()>
where
    L: Listener,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    listener.local_addr()?;
    let limits = Arc::new(limits);
    let slots = Arc::new(Semaphore::new(limits.connections));
    let tasks = TaskTracker::new();
    // Aborts what outlives the drain; it is also cancelled when this future is dropped.
    let abort = CancellationToken::new();
    let _abort_on_drop = abort.clone().drop_guard();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        let (stream, addr) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(error = &error as &dyn StdError, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            tracing::warn!(%addr, limit = limits.connections, "connection refused: the listener is full");
            continue;
        };
        let (acceptor, service) = (acceptor.clone(), service.clone());
        let (limits, shutdown, abort) = (Arc::clone(&limits), shutdown.clone(), abort.clone());
        tasks.spawn(async move {
            let _slot = slot;
            tokio::select! {
                () = one(stream, addr, acceptor, service, &limits, &shutdown) => {}
                () = abort.cancelled() => {}
            }
        });
    }
    drop(listener);
    tasks.close();
    // A connection in its handshake or drain ends within these limits by itself.
    let _late = tokio::time::timeout(limits.drain + Duration::from_secs(1), tasks.wait()).await;
    abort.cancel();
    tasks.wait().await;
    Ok(())
}

async fn one<T, S, B>(
    stream: T,
    addr: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    service: S,
    limits: &Limits,
    shutdown: &CancellationToken,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let Some(acceptor) = acceptor else {
        let connection = Connection { io: stream, version: Version::Http1, addr, peer: None };
        return connection.run(service, limits, shutdown).await;
    };
    let io = tokio::select! {
        io = tokio::time::timeout(limits.handshake, acceptor.accept(stream)) => io,
        () = shutdown.cancelled() => return,
    };
    let io = match io {
        Ok(Ok(io)) => io,
        Ok(Err(error)) => {
            tracing::debug!(%addr, error = &error as &dyn StdError, "TLS handshake failed");
            return;
        }
        Err(_elapsed) => {
            tracing::debug!(%addr, "TLS handshake timed out");
            return;
        }
    };
    let (_, session) = io.get_ref();
    let version = if session.alpn_protocol() == Some(b"h2") { Version::Http2 } else { Version::Http1 };
    let peer = PeerCertificates::of_connection(session).map(Arc::new);
    Connection { io, version, addr, peer }.run(service, limits, shutdown).await;
}
