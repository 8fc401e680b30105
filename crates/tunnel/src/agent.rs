use std::pin::pin;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::BoxError;
use crate::byte_stream::ByteStream;
use crate::error::Error;
use crate::executor::ConnectionExecutor;
use crate::settings::{FRAME, Settings};

/// The agent's end of a tunnel: serves the gateway's requests until the connection ends. On `shutdown` the gateway is told
/// to send no more (GOAWAY), and open streams may finish within the drain time.
///
/// # Cancel safety
///
/// Dropping the future closes the connection and every stream on it.
pub async fn serve<T, S, B>(
    io: ByteStream<T>,
    service: S,
    settings: &Settings,
    shutdown: CancellationToken,
) -> Result<(), Error>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let executor = ConnectionExecutor::new();
    let _abort = executor.abort_on_drop();
    let service = TowerToHyperService::new(service);
    let connection = builder(settings, executor.clone()).serve_connection(TokioIo::new(io), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(settings.drain, connection).await.unwrap_or(Ok(()))
        }
    };
    // The connection is gone, and nobody hears what its streams still do.
    executor.abort();
    executor.finished().await;
    ended.map_err(Error::Connection)
}

fn builder(settings: &Settings, executor: ConnectionExecutor) -> Builder<ConnectionExecutor> {
    let mut builder = Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.streams)
        .initial_stream_window_size(settings.stream_window())
        .initial_connection_window_size(settings.connection_window())
        .max_frame_size(FRAME)
        .max_header_list_size(settings.header_bytes)
        // The gateway resets a stream for each caller that hangs up. At hyper's default of 20 unaccepted resets one caller
        // could end the connection of all.
        .max_pending_accept_reset_streams(usize::try_from(settings.streams).unwrap_or(usize::MAX))
        .keep_alive_interval(settings.heartbeat)
        .keep_alive_timeout(settings.heartbeat)
        .enable_connect_protocol();
    builder
}
