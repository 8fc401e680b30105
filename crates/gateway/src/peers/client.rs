//! Connections to another replica's internal listener.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use buildplane_tls::{Alpn, AnchorStore, ClientConfigError, ClientIdentity, ConnectError, connect};
use buildplane_tunnel::RequestBody;

/// How long a connection may take to come about, each of its steps.
const CONNECT: Duration = Duration::from_secs(3);
/// Streams of one connection: fewer than the listener allows, because those above its limit would wait unseen.
const STREAMS: usize = 200;
/// Connections to one replica.
const CONNECTIONS: usize = 64;
/// A replica that does not answer a ping for this long is gone.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Receive window of one stream; the connection's is this for every stream, so that unread bodies stall nobody else.
const WINDOW: u32 = 1 << 20;

/// Why there is no connection to a replica.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("failed to connect")]
    Tcp(#[source] std::io::Error),
    #[error("connecting took too long")]
    TimedOut,
    #[error("failed to configure TLS")]
    Tls(#[source] ClientConfigError),
    #[error("the replica's identity could not be verified")]
    Handshake(#[source] ConnectError),
    #[error("HTTP/2 could not begin")]
    Http2(#[source] hyper::Error),
    #[error("{CONNECTIONS} connections are in use")]
    Full,
}

/// How replicas know each other.
#[derive(Debug, Clone)]
pub(super) struct Credentials {
    pub(super) identity: ClientIdentity,
    pub(super) roots: Arc<AnchorStore>,
    /// The name that their certificates carry.
    pub(super) name: String,
}

/// Another replica's internal listener.
#[derive(Debug)]
pub(crate) struct PeerClient {
    address: SocketAddr,
    credentials: Credentials,
    connections: Mutex<Vec<Arc<Connection>>>,
}

#[derive(Debug)]
struct Connection {
    send: SendRequest<RequestBody>,
    streams: Arc<Semaphore>,
    _driver: AbortOnDropHandle<()>,
}

/// Room for one stream on a connection that was open a moment ago.
#[derive(Debug)]
pub(crate) struct Slot {
    connection: Arc<Connection>,
    permit: OwnedSemaphorePermit,
}

/// Why a request was not answered; the request, where it certainly was not begun.
pub(crate) struct Unanswered {
    pub(crate) error: hyper::Error,
    pub(crate) request: Option<Request<RequestBody>>,
}

impl PeerClient {
    pub(super) fn new(address: SocketAddr, credentials: Credentials) -> Self {
        Self { address, credentials, connections: Mutex::default() }
    }

    /// The base URL of its internal API.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Its authority in requests: an address, which every replica answers to.
    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    /// Room for a stream, on a connection that is open or on a new one.
    pub(crate) async fn slot(&self) -> Result<Slot, ClientError> {
        // Held while a connection is opened: those who wait want the same one.
        let mut connections = self.connections.lock().await;
        connections.retain(|connection| !connection.send.is_closed());
        for connection in connections.iter() {
            if let Ok(permit) = Arc::clone(&connection.streams).try_acquire_owned() {
                return Ok(Slot { connection: Arc::clone(connection), permit });
            }
        }
        if connections.len() >= CONNECTIONS {
            return Err(ClientError::Full);
        }
        let connection = Arc::new(self.connect().await?);
        let permit =
            Arc::clone(&connection.streams).try_acquire_owned().map_err(|_no_permit| ClientError::Full)?;
        connections.push(Arc::clone(&connection));
        Ok(Slot { connection, permit })
    }

    async fn connect(&self) -> Result<Connection, ClientError> {
        let Credentials { identity, roots, name } = &self.credentials;
        let tls = identity.client_config(&roots.current(), &[Alpn::H2]).map_err(ClientError::Tls)?;
        let tcp = tokio::time::timeout(CONNECT, TcpStream::connect(self.address)).await;
        let tcp = tcp.map_err(|_elapsed| ClientError::TimedOut)?.map_err(ClientError::Tcp)?;
        if let Err(error) = tcp.set_nodelay(true) {
            tracing::debug!(error = &error as &dyn std::error::Error, "failed to set TCP_NODELAY");
        }
        let stream = connect(tls, name, tcp, CONNECT).await.map_err(ClientError::Handshake)?;
        let n_streams = u32::try_from(STREAMS).unwrap_or(u32::MAX);
        let handshake = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW.saturating_mul(n_streams))
            .keep_alive_interval(HEARTBEAT)
            .keep_alive_timeout(HEARTBEAT)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream));
        let handshake = tokio::time::timeout(CONNECT, handshake).await;
        let (send, connection) =
            handshake.map_err(|_elapsed| ClientError::TimedOut)?.map_err(ClientError::Http2)?;
        let address = self.address;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%address, error = &error as &dyn std::error::Error, "connection to a replica ended");
            }
        });
        let streams = Arc::new(Semaphore::new(STREAMS));
        let connection = Connection { send, streams, _driver: AbortOnDropHandle::new(driver) };
        tokio::time::timeout(CONNECT, self.greet(&connection))
            .await
            .map_err(|_elapsed| ClientError::TimedOut)?
            .map_err(ClientError::Http2)?;
        Ok(connection)
    }

    /// Waits for any answer. An extended CONNECT is sound only once both ends have taken in each other's settings, and the
    /// answer shows that they have.
    async fn greet(&self, connection: &Connection) -> Result<(), hyper::Error> {
        let mut request = Request::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
        *request.uri_mut() = format!("{}/", self.url()).parse().unwrap_or_default();
        connection.send.clone().send_request(request).await.map(drop)
    }
}

impl Slot {
    /// Sends a request and waits for the head of its response.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future, or the response's body, resets the stream.
    pub(crate) async fn send(self, request: Request<RequestBody>) -> Result<Response<PeerBody>, Unanswered> {
        let Self { connection, permit } = self;
        match connection.send.clone().try_send_request(request).await {
            Ok(response) => {
                Ok(response.map(|body| PeerBody { body, _connection: connection, _permit: permit }))
            }
            Err(mut failed) => {
                let request = failed.take_message();
                Err(Unanswered { error: failed.into_error(), request })
            }
        }
    }
}

/// The body of a replica's response. Dropping it resets the stream.
#[derive(Debug)]
pub(crate) struct PeerBody {
    body: Incoming,
    /// Keeps the connection going, even when the replica is not one of ours any more.
    _connection: Arc<Connection>,
    _permit: OwnedSemaphorePermit,
}

impl Body for PeerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
