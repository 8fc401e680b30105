//! The connections to the local API: HTTP/2, so that small requests share one, and another where one is full.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, Uri, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connection as _, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower::{Service, ServiceExt as _};

use buildplane_tunnel::BoxError;

use super::{CONNECT, IDLE, RequestBody};

/// Requests of one connection. API servers allow 100 and more; a watch holds its place for as long as it goes on.
const STREAMS: usize = 64;
const WINDOW: u32 = 1024 * 1024;
/// Bodies that nobody reads must stall nobody else.
#[expect(clippy::cast_possible_truncation, reason = "64")]
const CONNECTION_WINDOW: u32 = WINDOW * STREAMS as u32;
const PING: Duration = Duration::from_secs(15);
/// How long a server that did not speak HTTP/2 is not asked again.
const AGAIN: Duration = Duration::from_mins(1);
/// Connections that one request may find dead.
const ATTEMPTS: usize = 3;

/// Sends requests to one server.
#[derive(Clone)]
pub(super) struct Connections(Arc<Shared>);

struct Shared {
    connector: HttpsConnector<HttpConnector>,
    open: Mutex<Vec<Arc<Open>>>,
    /// Held while a connection is opened: others wait, and find it.
    opening: tokio::sync::Mutex<()>,
    /// Until when the server is taken to speak no HTTP/2.
    http1_until: Mutex<Option<Instant>>,
    http1: Client<HttpsConnector<HttpConnector>, RequestBody>,
}

struct Open {
    send: SendRequest<RequestBody>,
    n_streams: AtomicUsize,
    /// What the server allows.
    allowed: Arc<AtomicUsize>,
    used: Mutex<Instant>,
}

/// A place for one request on a connection.
struct Place(Arc<Open>);

enum Way {
    Http2(Place),
    Http1,
}

impl Connections {
    pub(super) fn new(
        connector: HttpsConnector<HttpConnector>,
        http1: Client<HttpsConnector<HttpConnector>, RequestBody>,
    ) -> Self {
        Self(Arc::new(Shared {
            connector,
            open: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            http1_until: Mutex::default(),
            http1,
        }))
    }

    async fn send(self, mut request: Request<RequestBody>) -> Result<Response<ApiBody>, BoxError> {
        let mut attempt = 1;
        loop {
            let way = if request.headers().contains_key(header::UPGRADE) {
                // API servers upgrade connections of HTTP/1.1 alone.
                Way::Http1
            } else {
                self.0.way(request.uri()).await?
            };
            let place = match way {
                Way::Http2(place) => place,
                Way::Http1 => {
                    let response = self.0.http1.request(request).await?;
                    return Ok(response.map(ApiBody::from));
                }
            };
            match place.0.send.clone().try_send_request(request).await {
                Ok(response) => return Ok(response.map(|body| ApiBody { body, _place: Some(place) })),
                Err(mut failed) => match failed.take_message() {
                    // Nothing of it was sent: the connection had ended meanwhile.
                    Some(unsent) if attempt < ATTEMPTS => request = unsent,
                    _ => return Err(failed.into_error().into()),
                },
            }
            attempt += 1;
        }
    }
}

impl Service<Request<RequestBody>> for Connections {
    type Response = Response<ApiBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}

impl Shared {
    async fn way(&self, uri: &Uri) -> Result<Way, BoxError> {
        if let Some(way) = self.known() {
            return Ok(way);
        }
        let _opening = self.opening.lock().await;
        if let Some(way) = self.known() {
            return Ok(way);
        }
        let opened = tokio::time::timeout(CONNECT, self.connect(uri)).await;
        let Some(open) = opened.map_err(|_elapsed| "connecting to the local API took too long")?? else {
            *lock(&self.http1_until) = Some(Instant::now() + AGAIN);
            return Ok(Way::Http1);
        };
        let open = Arc::new(open);
        lock(&self.open).push(Arc::clone(&open));
        Ok(Way::Http2(Place::take(&open).ok_or("the local API allows no request on its connection")?))
    }

    /// A place on a connection that stands. The first ones fill up, so that the last ones come to rest.
    fn known(&self) -> Option<Way> {
        if lock(&self.http1_until).is_some_and(|until| Instant::now() < until) {
            return Some(Way::Http1);
        }
        let mut open = lock(&self.open);
        open.retain(|open| !open.send.is_closed() && !open.is_left());
        open.iter().find_map(Place::take).map(Way::Http2)
    }

    /// A new connection; none where the server does not speak HTTP/2.
    async fn connect(&self, uri: &Uri) -> Result<Option<Open>, BoxError> {
        let io = self.connector.clone().oneshot(uri.clone()).await?;
        if !io.connected().is_negotiated_h2() {
            return Ok(None);
        }
        let (send, connection) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(64 * 1024)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .handshake::<_, RequestBody>(io)
            .await?;
        let allowed = Arc::new(AtomicUsize::new(STREAMS));
        // Ends with the last sender, or with the connection.
        tokio::spawn(drive(connection, Arc::clone(&allowed)));
        let used = Mutex::new(Instant::now());
        Ok(Some(Open { send, n_streams: AtomicUsize::new(0), allowed, used }))
    }
}

type Io = <HttpsConnector<HttpConnector> as Service<Uri>>::Response;

/// Keeps a connection going, and notes how many requests its server allows.
async fn drive(mut connection: Connection<Io, RequestBody, TokioExecutor>, allowed: Arc<AtomicUsize>) {
    let ended = std::future::poll_fn(|cx| {
        let ended = Pin::new(&mut connection).poll(cx);
        allowed.store(connection.current_max_send_streams().min(STREAMS), Ordering::Relaxed);
        ended
    });
    if let Err(error) = ended.await {
        tracing::debug!(error = &error as &dyn std::error::Error, "a connection to the local API ended");
    }
}

impl Open {
    /// Whether nobody has used it for a while. Servers end such connections at a moment of their own.
    fn is_left(&self) -> bool {
        self.n_streams.load(Ordering::Relaxed) == 0 && lock(&self.used).elapsed() > IDLE
    }
}

impl Place {
    fn take(open: &Arc<Open>) -> Option<Self> {
        let allowed = open.allowed.load(Ordering::Relaxed);
        let more = |taken: usize| (taken < allowed).then(|| taken + 1);
        open.n_streams.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Self(Arc::clone(open)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *lock(&self.0.used) = Instant::now();
        self.0.n_streams.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An answer's body. Dropping it ends the request.
pub(crate) struct ApiBody {
    body: Incoming,
    _place: Option<Place>,
}

impl std::fmt::Debug for ApiBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ApiBody").field(&self.body).finish()
    }
}

impl From<Incoming> for ApiBody {
    /// A body that has its connection to itself.
    fn from(body: Incoming) -> Self {
        Self { body, _place: None }
    }
}

impl Body for ApiBody {
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
