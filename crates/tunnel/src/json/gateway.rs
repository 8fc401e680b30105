use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error as WsError, Message, Utf8Bytes};
use tokio_util::sync::CancellationToken;

use super::frame::{self, Encoded, FrameError};
use super::settings::Settings;
use crate::BoxError;
use crate::activity::Activity;
use crate::error::{Error, Rejected};
use crate::gateway::{Handle, RequestBody, StreamBody};

/// What the gateway adds to a request for the agent; none of it is the target's business.
const OURS: &str = "x-openchoreo-";
const TARGET: HeaderName = HeaderName::from_static("x-openchoreo-target");
const LABEL: HeaderName = HeaderName::from_static("x-request-id");
/// Messages that wait to be written. Requests beyond wait with their callers.
const UNWRITTEN: usize = 16;

/// The gateway's end of a connection that speaks upstream's protocol.
#[derive(Debug)]
pub struct GatewayEnd<T> {
    /// Sends requests; clone it freely.
    pub handle: Handle,
    /// Keeps the connection going; must be awaited.
    pub driver: Driver<T>,
}

impl<T> GatewayEnd<T>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    pub(crate) fn new(websocket: WebSocketStream<T>, settings: Settings) -> Self {
        let (outgoing, unwritten) = mpsc::channel(UNWRITTEN);
        let n_requests = settings.requests.min(Semaphore::MAX_PERMITS);
        let shared = Arc::new(Shared {
            ids: Ids::new(),
            waiting: Mutex::default(),
            slots: Arc::new(Semaphore::new(n_requests)),
            n_slots: n_requests,
            activity: Arc::new(Activity::new()),
            closing: CancellationToken::new(),
            settings,
        });
        let handle = JsonHandle { outgoing, shared: Arc::clone(&shared) };
        Self { handle: Handle::json(handle), driver: Driver { websocket, unwritten, shared } }
    }
}

#[derive(Debug)]
struct Shared {
    ids: Ids,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
    slots: Arc<Semaphore>,
    n_slots: usize,
    activity: Arc<Activity>,
    closing: CancellationToken,
    settings: Settings,
}

type Answer = (StatusCode, HeaderMap, Option<frame::Failure>, Encoded);

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Answer>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ids as upstream has them (UUIDs of version 4), of which one half is this connection's and the other counts: an answer
/// that is late and one that was never asked for can be told apart without remembering every request.
#[derive(Debug)]
struct Ids {
    connection: u64,
    next: AtomicU64,
}

impl Ids {
    fn new() -> Self {
        let (connection, _) = uuid::Uuid::new_v4().as_u64_pair();
        Self { connection, next: AtomicU64::new(0) }
    }

    /// The variant's two bits, above 62 that count.
    const VARIANT: u64 = 1 << 63;

    fn next(&self) -> (u64, String) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number, uuid::Uuid::from_u64_pair(self.connection, Self::VARIANT | number).to_string())
    }

    /// The number in an id that was given out on this connection.
    fn number(&self, id: &str) -> Option<u64> {
        let (connection, number) = uuid::Uuid::try_parse(id).ok()?.as_u64_pair();
        let number = number & !Self::VARIANT;
        (connection == self.connection && number < self.next.load(Ordering::Relaxed)).then_some(number)
    }
}

/// Sends requests in upstream's protocol.
#[derive(Debug, Clone)]
pub(crate) struct JsonHandle {
    outgoing: mpsc::Sender<Utf8Bytes>,
    shared: Arc<Shared>,
}

impl JsonHandle {
    pub(crate) async fn send(
        &self,
        request: Request<RequestBody>,
    ) -> Result<Response<StreamBody>, Rejected<RequestBody>> {
        if self.is_closed() {
            return Err(Rejected { error: Error::Closed, request: Some(Box::new(request)) });
        }
        let Ok(slot) = Arc::clone(&self.shared.slots).try_acquire_owned() else {
            return Err(Rejected { error: Error::Busy, request: Some(Box::new(request)) });
        };
        let asked = tokio::time::timeout(self.shared.settings.deadline, self.ask(request, slot)).await;
        asked.unwrap_or(Err(Error::Deadline)).map_err(|error| Rejected { error, request: None })
    }

    async fn ask(
        &self,
        request: Request<RequestBody>,
        slot: OwnedSemaphorePermit,
    ) -> Result<Response<StreamBody>, Error> {
        let (mut head, body) = request.into_parts();
        let target = text(&head.headers, &TARGET).unwrap_or_default();
        let label = text(&head.headers, &LABEL);
        let ours: Vec<HeaderName> =
            head.headers.keys().filter(|name| name.as_str().starts_with(OURS)).cloned().collect();
        for name in ours {
            head.headers.remove(name);
        }
        let (number, id) = self.shared.ids.next();
        let asked = frame::Request {
            id: id.into(),
            label: label.map(Into::into),
            target: target.into(),
            method: head.method,
            path: head.uri.path().into(),
            query: head.uri.query().map(Into::into),
            headers: head.headers,
        };
        let room = self.shared.settings.body_bytes(asked.write(&[]).len() + 16);
        let body = collect(body, room).await.map_err(Error::RequestBody)?;
        let text = asked.write(&body);
        drop(body);
        let (sender, answer) = oneshot::channel();
        self.shared.waiting().insert(number, sender);
        // Whoever goes away is not waited for; the agent knows nothing of it.
        let _forget = Forget { shared: &self.shared, number };
        self.shared.activity.record_sent(text.len());
        self.outgoing.send(text).await.map_err(|_closed| Error::Closed)?;
        let (status, headers, failure, body) = answer.await.map_err(|_closed| Error::Closed)?;
        let body = body.decode().map_err(|error| Error::Answer(Box::new(error)))?;
        Ok(response(status, headers, failure, body, slot))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.shared.closing.is_cancelled() || self.outgoing.is_closed()
    }

    pub(crate) fn n_open(&self) -> usize {
        self.shared.n_slots.saturating_sub(self.shared.slots.available_permits())
    }

    pub(crate) fn activity(&self) -> &Activity {
        &self.shared.activity
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the request's body is larger than {limit} bytes, the most that the agent's protocol carries")]
struct BodyTooLarge {
    limit: usize,
}

/// The whole body, which the protocol sends at once.
async fn collect(mut body: RequestBody, limit: usize) -> Result<Bytes, BoxError> {
    let mut parts = Vec::new();
    let mut n_bytes = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        n_bytes += data.len();
        if n_bytes > limit {
            return Err(BodyTooLarge { limit }.into());
        }
        parts.push(data);
    }
    Ok(match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => parts.into_iter().chain(last).flatten().collect(),
    })
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn response(
    status: StatusCode,
    headers: HeaderMap,
    failure: Option<frame::Failure>,
    body: Bytes,
    slot: OwnedSemaphorePermit,
) -> Response<StreamBody> {
    let (status, headers, body) = match failure {
        None => (status, headers, body),
        Some(failure) => {
            let plain = (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            let code = failure.code.unwrap_or(StatusCode::BAD_GATEWAY);
            (code, HeaderMap::from_iter([plain]), Bytes::from(failure.message))
        }
    };
    let mut response = Response::new(StreamBody::whole(Full::new(body), slot));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Forgets a request when its caller has the answer, or has gone.
struct Forget<'a> {
    shared: &'a Shared,
    number: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.shared.waiting().remove(&self.number);
    }
}

/// Keeps one connection going.
#[derive(Debug)]
pub struct Driver<T> {
    websocket: WebSocketStream<T>,
    unwritten: mpsc::Receiver<Utf8Bytes>,
    shared: Arc<Shared>,
}

impl<T> Driver<T>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// Runs until the agent is gone or breaks the protocol, or until `shutdown`, and then until the requests that wait have
    /// their answers or their deadline is over.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection; what waits fails at once.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let Self { websocket, mut unwritten, shared } = self;
        let _closing = shared.closing.clone().drop_guard();
        let (mut sink, mut stream) = websocket.split();
        let leaving = async {
            shutdown.cancelled().await;
            shared.closing.cancel();
            let n_slots = u32::try_from(shared.n_slots).unwrap_or(u32::MAX);
            let answered = Arc::clone(&shared.slots).acquire_many_owned(n_slots);
            let _late = tokio::time::timeout(shared.settings.deadline, answered).await;
        };
        let ended = tokio::select! {
            ended = read(&mut stream, &shared) => ended,
            ended = write(&mut sink, &mut unwritten, &shared) => ended,
            () = leaving => Ok(()),
        };
        // Nobody waits for an answer any more: their callers learn of it now.
        shared.waiting().clear();
        let frame = close_frame(ended.as_ref().err());
        let goodbye = async {
            sink.send(Message::Close(Some(frame))).await?;
            sink.close().await
        };
        let _gone = tokio::time::timeout(std::time::Duration::from_secs(1), goodbye).await;
        ended
    }
}

/// Hands answers to those who wait for them.
async fn read<T>(stream: &mut SplitStream<WebSocketStream<T>>, shared: &Shared) -> Result<(), Error>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = stream.next().await {
        let text = match message {
            Ok(Message::Text(text)) => text,
            Ok(Message::Ping(_) | Message::Pong(_)) => {
                shared.activity.record_received(0);
                continue;
            }
            Ok(Message::Binary(_) | Message::Frame(_)) => {
                return Err(protocol(FrameError::Field("a message is no text")));
            }
            Ok(Message::Close(_)) | Err(WsError::ConnectionClosed | WsError::AlreadyClosed) => return Ok(()),
            Err(error) => return Err(Error::WebSocket(Box::new(error))),
        };
        shared.activity.record_received(text.len());
        let (answer, body) = frame::read_response(&text).map_err(protocol)?;
        let number = shared.ids.number(&answer.id).ok_or_else(|| {
            protocol(FrameError::Field("an answer is to a request that was never made here"))
        })?;
        // Late and second answers find nobody.
        if let Some(waiting) = shared.waiting().remove(&number) {
            let _gone = waiting.send((answer.status, answer.headers, answer.failure, body));
        }
    }
    Ok(())
}

/// Writes requests, and pings; fails when nothing was heard for two heartbeats.
async fn write<T>(
    sink: &mut SplitSink<WebSocketStream<T>, Message>,
    unwritten: &mut mpsc::Receiver<Utf8Bytes>,
    shared: &Shared,
) -> Result<(), Error>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let heartbeat = shared.settings.heartbeat;
    let mut beat = tokio::time::interval_at(Instant::now() + heartbeat, heartbeat);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            message = unwritten.recv() => match message {
                Some(text) => Message::Text(text),
                // Every handle is gone; the driver still answers pings until the agent hangs up.
                None => std::future::pending().await,
            },
            _ = beat.tick() => {
                if shared.activity.idle() > heartbeat * 2 {
                    return Err(Error::Silent);
                }
                Message::Ping(Bytes::new())
            }
        };
        // An agent that reads nothing is as good as gone.
        let sent = tokio::time::timeout(heartbeat * 2, sink.send(message)).await;
        sent.map_err(|_elapsed| Error::Silent)?.map_err(|error| Error::WebSocket(Box::new(error)))?;
    }
}

fn protocol(error: FrameError) -> Error {
    Error::Answer(Box::new(error) as BoxError)
}

fn close_frame(error: Option<&Error>) -> CloseFrame {
    let code = match error {
        None => CloseCode::Away,
        Some(Error::Answer(_)) => CloseCode::Policy,
        Some(Error::WebSocket(error)) => match error.downcast_ref::<WsError>() {
            Some(WsError::Capacity(_)) => CloseCode::Size,
            Some(WsError::Utf8(_)) => CloseCode::Invalid,
            _ => CloseCode::Protocol,
        },
        Some(_) => CloseCode::Error,
    };
    CloseFrame { code, reason: Utf8Bytes::default() }
}
