//! The bare chain: the shortest program over the same hops as the product. Nobody is authorized, nothing is judged,
//! filtered, limited or logged. It shares no tunnel code with the product, and is tuned as well.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use buildplane_serve::{Limits, serve};
use buildplane_tls::Alpn;
use bytes::{Buf as _, Bytes, BytesMut};
use futures::{Sink as _, Stream as _};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_util::sync::CancellationToken;

use crate::client::tls;
use crate::pki::{Pki, SERVER};

const WINDOW: u32 = 1024 * 1024;
const STREAMS: u32 = 512;
const FRAME: u32 = 64 * 1024;
const MESSAGE: usize = 128 * 1024;

type Body = Either<Incoming, Empty<Bytes>>;
type Sender = SendRequest<Incoming>;

/// The gateway: agents and callers arrive at two listeners.
pub(crate) async fn gateway(
    agents: TcpListener,
    callers: TcpListener,
    pki: &Pki,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let agent: Arc<OnceLock<Sender>> = Arc::default();
    let found = Arc::clone(&agent);
    let accept = tower::service_fn(move |mut request: Request<Incoming>| {
        let found = Arc::clone(&found);
        async move {
            let mut response = Response::new(Empty::<Bytes>::new());
            let key = request.headers().get(header::SEC_WEBSOCKET_KEY);
            let accept = key.map(|key| derive_accept_key(key.as_bytes())).unwrap_or_default();
            let upgraded = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let io = TokioIo::new(upgraded.await?);
                let io = WebSocketStream::from_raw_socket(io, Role::Server, Some(config())).await;
                let (send, connection) = client().handshake(TokioIo::new(WsIo::new(io))).await?;
                let _first_wins = found.set(send);
                connection.await
            });
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, HeaderValue::try_from(accept)?);
            Ok::<_, http::Error>(response)
        }
    });
    let forward = tower::service_fn(move |request: Request<Incoming>| {
        let agent = Arc::clone(&agent);
        async move { Ok::<_, Infallible>(relay(agent.get().cloned(), request).await) }
    });
    let limits = Limits::default();
    let agents = serve(agents, pki.server_config(&[Alpn::Http1])?, accept, limits.clone(), stop.clone());
    let callers = serve(callers, pki.server_config(&[Alpn::H2])?, forward, limits, stop);
    tokio::try_join!(agents, callers)?;
    Ok(())
}

/// The agent: dials the gateway, and replays what comes over one connection to the backend.
pub(crate) async fn agent(gateway: SocketAddr, backend: SocketAddr, pki: &Pki) -> anyhow::Result<()> {
    let (send, connection) = client().handshake(TokioIo::new(tls(pki, backend, Alpn::H2).await?)).await?;
    tokio::spawn(connection);
    let io = tls(pki, gateway, Alpn::Http1).await?;
    let request = format!("wss://{SERVER}/ws").into_client_request()?;
    let (io, _response) = tokio_tungstenite::client_async_with_config(request, io, Some(config())).await?;
    crate::say("connected");
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let send = send.clone();
        async move { Ok::<_, Infallible>(relay(Some(send), request).await) }
    });
    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW * STREAMS)
        .max_frame_size(FRAME)
        .serve_connection(TokioIo::new(WsIo::new(io)), service)
        .await?;
    Ok(())
}

async fn relay(send: Option<Sender>, request: Request<Incoming>) -> Response<Body> {
    let answered = match send {
        Some(mut send) => send.send_request(request).await.ok(),
        None => None,
    };
    answered.map_or_else(
        || {
            let mut response = Response::new(Either::Right(Empty::new()));
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        },
        |response| response.map(Either::Left),
    )
}

fn client() -> hyper::client::conn::http2::Builder<TokioExecutor> {
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder
        .initial_max_send_streams(STREAMS as usize)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW * STREAMS)
        .max_frame_size(FRAME);
    builder
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(MESSAGE)
        .write_buffer_size(MESSAGE)
        .max_write_buffer_size(8 * MESSAGE)
        .max_message_size(Some(2 * MESSAGE))
        .max_frame_size(Some(2 * MESSAGE))
}

/// A WebSocket as a byte stream.
struct WsIo<T> {
    websocket: WebSocketStream<T>,
    unread: Bytes,
}

impl<T: AsyncRead + AsyncWrite + Unpin> WsIo<T> {
    fn new(websocket: WebSocketStream<T>) -> Self {
        Self { websocket, unread: Bytes::new() }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.websocket).poll_ready(cx)).map_err(io::Error::other)?;
        let total: usize = bufs.iter().map(|buf| buf.len()).sum();
        let mut message = BytesMut::with_capacity(total.min(MESSAGE));
        for buf in bufs {
            let room = MESSAGE - message.len();
            message.extend_from_slice(buf.get(..room).unwrap_or(buf));
        }
        let n_bytes = message.len();
        Pin::new(&mut self.websocket)
            .start_send(Message::Binary(message.freeze()))
            .map_err(io::Error::other)?;
        Poll::Ready(Ok(n_bytes))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for WsIo<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.unread.is_empty() {
            match ready!(Pin::new(&mut this.websocket).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => this.unread = bytes,
                Some(Ok(_control)) => {}
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let n_bytes = this.unread.len().min(buf.remaining());
        buf.put_slice(this.unread.get(..n_bytes).unwrap_or_default());
        this.unread.advance(n_bytes);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WsIo<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_send(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_send(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().websocket).poll_flush(cx).map_err(io::Error::other)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().websocket).poll_close(cx).map_err(io::Error::other)
    }
}
