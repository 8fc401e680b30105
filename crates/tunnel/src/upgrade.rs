use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_util::sync::CancellationToken;

use crate::SUBPROTOCOL;
use crate::byte_stream::ByteStream;
use crate::error::Error;
use crate::gateway::{Driver, GatewayEnd, Handle};
use crate::json;
use crate::settings::{Settings, websocket};

/// Why a request is no handshake of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// The method, version or upgrade headers are not those of a WebSocket handshake.
    #[error("not a WebSocket handshake")]
    NotAWebSocket,
    /// The handshake came out of a browser.
    #[error("agents send no Origin header")]
    Origin,
    /// The tunnel's subprotocol was not offered.
    #[error("the subprotocol {} was not offered", SUBPROTOCOL)]
    Subprotocol,
}

/// What an agent speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/2, under our subprotocol.
    Http2,
    /// Upstream's, which has no subprotocol: see [`json`].
    Json,
}

/// An agent's WebSocket handshake that was found sound and is not answered yet.
#[derive(Debug)]
pub struct Upgrade {
    protocol: Protocol,
    accept: HeaderValue,
    upgraded: OnUpgrade,
}

impl Upgrade {
    /// Checks the handshake of `request`, which must come from an HTTP/1.1 connection with upgrades and offer our
    /// subprotocol.
    pub fn check<B>(request: &mut Request<B>) -> Result<Self, UpgradeError> {
        let upgrade = Self::check_any(request)?;
        match upgrade.protocol {
            Protocol::Http2 => Ok(upgrade),
            Protocol::Json => Err(UpgradeError::Subprotocol),
        }
    }

    /// As [`check`](Self::check), and takes agents of upstream as well, which offer no subprotocol.
    pub fn check_any<B>(request: &mut Request<B>) -> Result<Self, UpgradeError> {
        let headers = request.headers();
        // An agent is no browser: a page in one must not be able to open a tunnel.
        if headers.contains_key(header::ORIGIN) {
            return Err(UpgradeError::Origin);
        }
        let key = headers.get(header::SEC_WEBSOCKET_KEY).ok_or(UpgradeError::NotAWebSocket)?;
        if request.method() != Method::GET
            || !has_token(headers, &header::CONNECTION, "upgrade")
            || !has_token(headers, &header::UPGRADE, "websocket")
            || headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13")
        {
            return Err(UpgradeError::NotAWebSocket);
        }
        let protocol = if has_token(headers, &header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
            Protocol::Http2
        } else if headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL) {
            return Err(UpgradeError::Subprotocol);
        } else {
            Protocol::Json
        };
        let accept = websocket_accept(key).ok_or(UpgradeError::NotAWebSocket)?;
        let upgraded = hyper::upgrade::on(request);
        Ok(Self { protocol, accept, upgraded })
    }

    /// What the agent will speak.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The answer 101, and what becomes the byte stream once it is sent.
    pub fn accept<B: Default>(self) -> (Response<B>, Accepted) {
        let mut response = Response::new(B::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, self.accept);
        if self.protocol == Protocol::Http2 {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        }
        (response, Accepted { protocol: self.protocol, upgraded: self.upgraded })
    }
}

/// A handshake that is being answered.
#[derive(Debug)]
pub struct Accepted {
    protocol: Protocol,
    upgraded: OnUpgrade,
}

impl Accepted {
    /// Waits until the answer is sent.
    pub async fn byte_stream(self, settings: &Settings) -> Result<ByteStream<TokioIo<Upgraded>>, Error> {
        Ok(ByteStream::new(self.websocket(websocket()).await?, settings.heartbeat))
    }

    /// Waits until the answer is sent, and begins with the protocol that was agreed on.
    pub async fn connect(
        self,
        settings: &Settings,
        upstream: &json::Settings,
    ) -> Result<(Handle, AgentDriver), Error> {
        match self.protocol {
            Protocol::Http2 => {
                let end = GatewayEnd::connect(self.byte_stream(settings).await?, settings).await?;
                Ok((end.handle, AgentDriver::Http2(Box::new(end.driver))))
            }
            Protocol::Json => {
                let end = self.json(upstream.clone()).await?;
                Ok((end.handle, AgentDriver::Json(Box::new(end.driver))))
            }
        }
    }

    /// Waits until the answer is sent; for an agent of upstream.
    pub async fn json(self, settings: json::Settings) -> Result<json::GatewayEnd<TokioIo<Upgraded>>, Error> {
        let websocket = self.websocket(settings.websocket()).await?;
        Ok(json::GatewayEnd::new(websocket, settings))
    }

    async fn websocket(self, config: WebSocketConfig) -> Result<WebSocketStream<TokioIo<Upgraded>>, Error> {
        let upgraded = self.upgraded.await.map_err(|error| Error::Handshake(Box::new(error)))?;
        Ok(WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await)
    }
}

/// Keeps an agent's connection going, in whichever protocol it speaks.
#[derive(Debug)]
#[expect(missing_docs, reason = "the drivers say what they are")]
pub enum AgentDriver {
    Http2(Box<Driver<TokioIo<Upgraded>>>),
    Json(Box<json::Driver<TokioIo<Upgraded>>>),
}

impl AgentDriver {
    /// Runs until the agent is gone, or `shutdown`, and then as long as open requests need within their limits.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection and every stream on it.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        match self {
            Self::Http2(driver) => driver.run(shutdown).await,
            Self::Json(driver) => driver.run(shutdown).await,
        }
    }
}

/// A fresh `Sec-WebSocket-Key`.
pub fn websocket_key() -> Option<HeaderValue> {
    HeaderValue::try_from(generate_key()).ok()
}

/// The `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key`.
pub fn websocket_accept(key: &HeaderValue) -> Option<HeaderValue> {
    HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok()
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|found| found.trim().eq_ignore_ascii_case(token))
}
