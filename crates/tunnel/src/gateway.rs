use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::BoxError;
use crate::activity::Activity;
use crate::byte_stream::ByteStream;
use crate::error::{Error, Rejected};
use crate::executor::ConnectionExecutor;
use crate::json::JsonHandle;
use crate::settings::{FRAME, Settings};

/// The body of a request on its way to the agent.
pub type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

/// The gateway's end of a tunnel: the HTTP/2 client.
#[derive(Debug)]
pub struct GatewayEnd<T>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// Sends requests; clone it freely.
    pub handle: Handle,
    /// Keeps the connection going; must be awaited.
    pub driver: Driver<T>,
}

impl<T> GatewayEnd<T>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// Sets up HTTP/2 on an agent's connection.
    pub async fn connect(io: ByteStream<T>, settings: &Settings) -> Result<Self, Error> {
        let activity = io.activity();
        let executor = ConnectionExecutor::new();
        let handshake = builder(settings, executor.clone()).handshake(TokioIo::new(io));
        let (send, connection) = handshake.await.map_err(Error::Http2Handshake)?;
        let n_streams = usize::try_from(settings.streams).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let closing = CancellationToken::new();
        let handle = Handle(Kind::Http2(Http2Handle {
            send,
            streams: Arc::new(Semaphore::new(n_streams)),
            n_streams,
            activity,
            answered: Arc::default(),
            closing: closing.clone(),
        }));
        let driver = Driver { connection, executor, closing, drain: settings.drain };
        Ok(Self { handle, driver })
    }
}

fn builder(settings: &Settings, executor: ConnectionExecutor) -> Builder<ConnectionExecutor> {
    let mut builder = Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .initial_max_send_streams(usize::try_from(settings.streams).unwrap_or(usize::MAX))
        .initial_stream_window_size(settings.stream_window())
        .initial_connection_window_size(settings.connection_window())
        .max_frame_size(FRAME)
        .max_header_list_size(settings.header_bytes)
        // Callers hang up at will, and many at once; frames still under way for their streams are then expected.
        .max_concurrent_reset_streams(1024)
        .keep_alive_interval(settings.heartbeat)
        .keep_alive_timeout(settings.heartbeat)
        .keep_alive_while_idle(true);
    builder
}

/// Sends requests into one agent connection, in whichever protocol the agent speaks.
#[derive(Debug, Clone)]
pub struct Handle(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Http2(Http2Handle),
    Json(JsonHandle),
}

#[derive(Debug, Clone)]
struct Http2Handle {
    send: SendRequest<RequestBody>,
    streams: Arc<Semaphore>,
    n_streams: usize,
    activity: Arc<Activity>,
    answered: Arc<AtomicBool>,
    closing: CancellationToken,
}

impl Handle {
    pub(crate) fn json(handle: JsonHandle) -> Self {
        Self(Kind::Json(handle))
    }

    /// Sends a request and waits for the head of its response.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future, or the response's body, resets the stream: the far end sees it within a round trip. An agent
    /// that speaks upstream's protocol goes on with its work, and nobody hears of it.
    pub async fn send(
        &self,
        request: Request<RequestBody>,
    ) -> Result<Response<StreamBody>, Rejected<RequestBody>> {
        match &self.0 {
            Kind::Http2(handle) => handle.send(request).await,
            Kind::Json(handle) => handle.send(request).await,
        }
    }

    /// Whether responses may go on as long as they like: a watch, a log that is followed. Otherwise each is whole when it
    /// is answered, and one without an end never is.
    pub fn streams(&self) -> bool {
        match &self.0 {
            Kind::Http2(_) => true,
            Kind::Json(_) => false,
        }
    }

    /// Whether an extended CONNECT may be sent: before the first answer it is not certain that both ends know each
    /// other's settings, and the agent may refuse it.
    pub fn has_answered(&self) -> bool {
        match &self.0 {
            Kind::Http2(handle) => handle.answered.load(Ordering::Relaxed),
            Kind::Json(_) => true,
        }
    }

    /// Whether new requests are refused: the connection has ended, or is ending.
    pub fn is_closed(&self) -> bool {
        match &self.0 {
            Kind::Http2(handle) => handle.is_closed(),
            Kind::Json(handle) => handle.is_closed(),
        }
    }

    /// How many streams are open.
    pub fn n_open(&self) -> usize {
        match &self.0 {
            Kind::Http2(handle) => handle.n_streams.saturating_sub(handle.streams.available_permits()),
            Kind::Json(handle) => handle.n_open(),
        }
    }

    /// What the connection has carried.
    pub fn activity(&self) -> &Activity {
        match &self.0 {
            Kind::Http2(handle) => &handle.activity,
            Kind::Json(handle) => handle.activity(),
        }
    }
}

impl Http2Handle {
    fn is_closed(&self) -> bool {
        self.closing.is_cancelled() || self.send.is_closed()
    }

    async fn send(
        &self,
        request: Request<RequestBody>,
    ) -> Result<Response<StreamBody>, Rejected<RequestBody>> {
        if self.is_closed() {
            return Err(Rejected { error: Error::Closed, request: Some(Box::new(request)) });
        }
        let Ok(permit) = Arc::clone(&self.streams).try_acquire_owned() else {
            return Err(Rejected { error: Error::Busy, request: Some(Box::new(request)) });
        };
        match self.send.clone().try_send_request(request).await {
            Ok(response) => {
                if !self.answered.load(Ordering::Relaxed) {
                    self.answered.store(true, Ordering::Relaxed);
                }
                Ok(response.map(|body| StreamBody { body: Either::Left(body), _permit: permit }))
            }
            Err(mut failed) => {
                let request = failed.take_message().map(Box::new);
                let error =
                    if request.is_some() { Error::Closed } else { Error::Stream(failed.into_error()) };
                Err(Rejected { error, request })
            }
        }
    }
}

/// Keeps one tunnel connection going.
#[derive(Debug)]
pub struct Driver<T>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    connection: Connection<TokioIo<ByteStream<T>>, RequestBody, ConnectionExecutor>,
    executor: ConnectionExecutor,
    closing: CancellationToken,
    drain: std::time::Duration,
}

impl<T> Driver<T>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// Runs until the agent is gone, or until `shutdown` and then as long as open streams need, at most the drain time.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection and every stream on it.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let Self { connection, executor, closing, drain } = self;
        let _abort = executor.abort_on_drop();
        let ended = {
            let _closing = closing.drop_guard();
            tokio::select! {
                ended = connection => ended,
                () = shutdown.cancelled() => Ok(()),
            }
        };
        // No new stream can begin now: the agent said GOAWAY, is gone, or we are leaving. What is open may finish.
        if tokio::time::timeout(drain, executor.finished()).await.is_err() {
            executor.abort();
            executor.finished().await;
        }
        ended.map_err(Error::Connection)
    }
}

/// The body of a response out of the tunnel. Dropping it resets the stream.
#[derive(Debug)]
pub struct StreamBody {
    body: Either<Incoming, Full<Bytes>>,
    _permit: OwnedSemaphorePermit,
}

impl StreamBody {
    /// A body that came as a whole.
    pub(crate) fn whole(body: Full<Bytes>, permit: OwnedSemaphorePermit) -> Self {
        Self { body: Either::Right(body), _permit: permit }
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut self.body {
            Either::Left(body) => Pin::new(body).poll_frame(cx).map_err(Error::Stream),
            Either::Right(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
