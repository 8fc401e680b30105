use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, header};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Response as HandshakeResponse;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::SUBPROTOCOL;
use crate::byte_stream::ByteStream;
use crate::error::Error;
use crate::settings::{Settings, websocket};

/// How long the gateway may take to answer the WebSocket handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The most of a refusal's text that is repeated.
const REASON: usize = 512;

/// A WebSocket that was opened.
#[derive(Debug)]
pub struct Opened<T> {
    /// What it carries.
    pub stream: ByteStream<T>,
    /// The headers of the gateway's answer.
    pub answer: HeaderMap,
}

/// As [`open`], where nobody asks what the gateway said of itself.
pub async fn dial<T>(io: T, request: Request<()>, settings: &Settings) -> Result<ByteStream<T>, Error>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    open(io, request, settings).await.map(|opened| opened.stream)
}

/// Opens the WebSocket on a connection that stands already (TCP, TLS). `request` gives the URI and further headers.
pub async fn open<T>(io: T, request: Request<()>, settings: &Settings) -> Result<Opened<T>, Error>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut handshake =
        request.uri().clone().into_client_request().map_err(|error| Error::Handshake(Box::new(error)))?;
    for (name, value) in request.headers() {
        handshake.headers_mut().append(name, value.clone());
    }
    handshake.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    let (websocket, response) = self::handshake(handshake, io, websocket()).await?;
    if response.headers().get(header::SEC_WEBSOCKET_PROTOCOL).is_none_or(|chosen| chosen != SUBPROTOCOL) {
        return Err(Error::Subprotocol);
    }
    let (head, _body) = response.into_parts();
    Ok(Opened { stream: ByteStream::new(websocket, settings.heartbeat), answer: head.headers })
}

/// The client's side of a WebSocket handshake, within its deadline.
pub(crate) async fn handshake<T>(
    request: Request<()>,
    io: T,
    config: WebSocketConfig,
) -> Result<(WebSocketStream<T>, HandshakeResponse), Error>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    match tokio::time::timeout(HANDSHAKE, client_async_with_config(request, io, Some(config))).await {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(WsError::Http(response))) => {
            let body = response.body().as_deref().unwrap_or_default();
            let text = String::from_utf8_lossy(body);
            let reason = text.chars().filter(|c| !c.is_control()).take(REASON).collect();
            Err(Error::Refused { status: response.status(), reason })
        }
        Ok(Err(error)) => Err(Error::Handshake(Box::new(error))),
        Err(_elapsed) => Err(Error::HandshakeTimeout),
    }
}
