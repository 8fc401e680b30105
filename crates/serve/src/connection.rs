use std::error::Error as StdError;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Extensions, Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt as _};

use buildplane_tls::PeerCertificates;

use crate::limits::Limits;

/// An error of a service or of a body.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// The address of the connection's other end, in each request's extensions.
#[derive(Debug, Clone, Copy)]
pub struct PeerAddr(pub SocketAddr);

/// The HTTP version that the handshake agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Http1,
    Http2,
}

/// One connection after its handshake.
pub(crate) struct Connection<T> {
    pub(crate) io: T,
    pub(crate) version: Version,
    pub(crate) addr: SocketAddr,
    pub(crate) peer: Option<Arc<PeerCertificates>>,
}

impl<T> Connection<T>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// Serves requests until the peer closes, or until those in flight at shutdown are answered or `limits.drain` is over.
    pub(crate) async fn run<S, B>(self, service: S, limits: &Limits, shutdown: &CancellationToken)
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let Self { io, version, addr, peer } = self;
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            identify(request.extensions_mut(), addr, peer.as_ref());
            service.clone().oneshot(request)
        });
        let io = TokioIo::new(io);
        let ended = match version {
            Version::Http1 => {
                let mut connection = pin!(http1(limits).serve_connection(io, service).with_upgrades());
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = shutdown.cancelled() => {
                        connection.as_mut().graceful_shutdown();
                        drained(limits, connection).await
                    }
                }
            }
            Version::Http2 => {
                let mut connection = pin!(http2(limits).serve_connection(io, service));
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = shutdown.cancelled() => {
                        connection.as_mut().graceful_shutdown();
                        drained(limits, connection).await
                    }
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%addr, error = &error as &dyn StdError, "connection ended with an error");
        }
    }
}

fn identify(extensions: &mut Extensions, addr: SocketAddr, peer: Option<&Arc<PeerCertificates>>) {
    extensions.insert(PeerAddr(addr));
    if let Some(peer) = peer {
        extensions.insert(Arc::clone(peer));
    }
}

async fn drained(limits: &Limits, connection: impl Future<Output = hyper::Result<()>>) -> hyper::Result<()> {
    // What is still open when the grace period ends is cut by dropping the connection.
    tokio::time::timeout(limits.drain, connection).await.unwrap_or(Ok(()))
}

fn http1(limits: &Limits) -> hyper::server::conn::http1::Builder {
    let mut builder = hyper::server::conn::http1::Builder::new();
    let header_bytes = usize::try_from(limits.header_bytes).unwrap_or(usize::MAX);
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read)
        .max_headers(limits.headers)
        .max_header_size(header_bytes)
        .max_buf_size(header_bytes.max(64 * 1024));
    builder
}

fn http2(limits: &Limits) -> hyper::server::conn::http2::Builder<TokioExecutor> {
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .initial_stream_window_size(limits.stream_window)
        .initial_connection_window_size(connection_window(limits))
        .max_frame_size(64 * 1024)
        .max_header_list_size(limits.header_bytes)
        .keep_alive_interval(limits.ping_interval)
        .keep_alive_timeout(limits.ping_timeout)
        .enable_connect_protocol();
    builder
}

/// The largest window HTTP/2 allows is 2^31 - 1.
fn connection_window(limits: &Limits) -> u32 {
    limits.streams.saturating_mul(limits.stream_window).min(u32::MAX >> 1)
}
