use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;

use buildplane_tunnel::{BoxError, StreamBody};
use buildplane_wire::{self as wire, Endless};

use crate::audit::Audit;

/// What became of a request's body, seen from beside it.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    n_bytes: AtomicU64,
    too_large: AtomicBool,
}

impl Upload {
    pub(crate) fn n_bytes(&self) -> u64 {
        self.n_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn is_too_large(&self) -> bool {
        self.too_large.load(Ordering::Relaxed)
    }
}

/// A request's body that ends with an error when it exceeds its limit; nothing is held back to find that out.
#[derive(Debug)]
pub(crate) struct Limited<B> {
    body: B,
    left: u64,
    upload: Arc<Upload>,
}

impl<B> Limited<B> {
    pub(crate) fn new(body: B, limit: u64, upload: Arc<Upload>) -> Self {
        Self { body, left: limit, upload }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the request's body is too large")]
struct TooLarge;

impl<B> Body for Limited<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            None => return Poll::Ready(None),
        };
        match frame.into_data() {
            Ok(data) => {
                let n_bytes = data.len() as u64;
                let Some(left) = self.left.checked_sub(n_bytes) else {
                    self.upload.too_large.store(true, Ordering::Relaxed);
                    return Poll::Ready(Some(Err(TooLarge.into())));
                };
                self.left = left;
                self.upload.n_bytes.fetch_add(n_bytes, Ordering::Relaxed);
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            // A request's trailers say nothing that an API server reads.
            Err(_trailers) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Why a response ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Cut {
    #[error("the connection may no longer speak for the custom resource")]
    Revoked,
    #[error("nothing of the response was sent or read for too long")]
    Stalled,
}

/// Why a response failed.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("the gateway is shutting down")]
    Shutdown,
    /// Without its cause: whoever serves the caller would take the far end's reason out of it, and reset the caller's
    /// stream with that. "Refused" tells a client to send again what may have been carried out.
    #[error("the stream from the agent failed")]
    Stream,
}

/// Who looks after a response that its caller may not read.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) tasks: TaskTracker,
    /// How long it may stand still.
    pub(crate) stalled: Duration,
}

/// Where a response comes from. Whoever serves the caller asks for more only as the caller reads, so from the first
/// piece on somebody else has to see that the response must end: the far stream is released at once then, and what it
/// had of flow control, whether the caller reads or not.
#[derive(Debug)]
enum Source {
    Whole(StreamBody),
    Watched {
        watched: Arc<Watched>,
        /// Ends the watching.
        _over: DropGuard,
    },
    Ended,
}

#[derive(Debug, Default)]
struct Watched {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    body: Option<StreamBody>,
    cut: Option<Cut>,
    /// Pieces handed on.
    n_frames: u64,
    /// The caller has read everything, and waits for the agent.
    waits: bool,
    waker: Option<Waker>,
}

impl Watched {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut(&self, cut: Cut) {
        let mut state = self.lock();
        state.cut = Some(cut);
        let (body, waker) = (state.body.take(), state.waker.take());
        drop(state);
        // Resets the stream to the agent.
        drop(body);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Waits until the response has stood still for one period. A watch that waits for events does not stand still.
    async fn stalled(&self, period: Duration, is_endless: bool) {
        let mut before = None;
        loop {
            tokio::time::sleep(period).await;
            let state = self.lock();
            let now = Some(state.n_frames).filter(|_| !(is_endless && state.waits));
            if now.is_some() && now == before {
                return;
            }
            before = now;
        }
    }
}

/// A response's body on its way to the caller. It ends when the admission is revoked, and leaves the audit line when
/// it is dropped; dropping it also resets the stream to the agent.
#[derive(Debug)]
pub(crate) struct Relayed {
    source: Source,
    watch: Watch,
    token: CancellationToken,
    revoked: Pin<Box<WaitForCancellationFutureOwned>>,
    endless: Option<(Endless, Pin<Box<WaitForCancellationFutureOwned>>)>,
    upload: Arc<Upload>,
    audit: Audit,
}

impl Relayed {
    pub(crate) fn new(
        body: StreamBody,
        revoked: CancellationToken,
        upload: Arc<Upload>,
        mut audit: Audit,
        watch: Watch,
    ) -> Self {
        if body.is_end_stream() {
            audit.outcome = "complete";
        }
        let token = revoked.clone();
        let revoked = Box::pin(revoked.cancelled_owned());
        Self { source: Source::Whole(body), watch, token, revoked, endless: None, upload, audit }
    }

    /// A response without an end of its own ends with the gateway, which would otherwise wait for it.
    pub(crate) fn until(mut self, endless: Option<Endless>, stop: &CancellationToken) -> Self {
        self.endless = endless.map(|endless| (endless, Box::pin(stop.clone().cancelled_owned())));
        self
    }

    /// From now on somebody else sees to it that the response ends when it must.
    fn watched(&mut self) {
        if !matches!(self.source, Source::Whole(_)) {
            return;
        }
        let Source::Whole(body) = std::mem::replace(&mut self.source, Source::Ended) else { return };
        let state = State { body: Some(body), n_frames: 1, ..State::default() };
        let watched = Arc::new(Watched { state: Mutex::new(state) });
        let over = CancellationToken::new();
        let (shared, ended, revoked) = (Arc::clone(&watched), over.clone(), self.token.clone());
        let (period, is_endless) = (self.watch.stalled, self.endless.is_some());
        self.watch.tasks.spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = revoked.cancelled() => shared.cut(Cut::Revoked),
                () = shared.stalled(period, is_endless) => shared.cut(Cut::Stalled),
            }
        });
        self.source = Source::Watched { watched, _over: over.drop_guard() };
    }

    /// The next piece from the agent, or why there is none any more.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let (frame, is_end) = match &mut self.source {
            Source::Ended => return Poll::Ready(None),
            Source::Whole(body) => {
                let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
                (frame, body.is_end_stream())
            }
            Source::Watched { watched, .. } => {
                let mut state = watched.lock();
                if let Some(cut) = state.cut {
                    self.audit.outcome = if cut == Cut::Revoked { "revoked" } else { "stalled" };
                    return Poll::Ready(Some(Err(cut.into())));
                }
                let Some(body) = state.body.as_mut() else { return Poll::Ready(None) };
                let polled = Pin::new(&mut *body).poll_frame(cx);
                let is_end = body.is_end_stream();
                state.waits = polled.is_pending();
                if polled.is_pending() {
                    state.waker = Some(cx.waker().clone());
                } else {
                    state.n_frames += 1;
                }
                (ready!(polled), is_end)
            }
        };
        let Some(frame) = frame else {
            self.audit.outcome = "complete";
            return Poll::Ready(None);
        };
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                self.audit.outcome = "failed";
                tracing::debug!(
                    request_id = self.audit.request_id,
                    error = &error as &dyn std::error::Error,
                    "the stream from the agent failed"
                );
                return Poll::Ready(Some(Err(Failed::Stream.into())));
            }
        };
        if let Some(data) = frame.data_ref() {
            self.audit.received += data.len() as u64;
        }
        if is_end {
            self.audit.outcome = "complete";
        } else {
            self.watched();
        }
        Poll::Ready(Some(Ok(match frame.into_trailers() {
            Ok(trailers) => Frame::trailers(wire::forward_trailers(&trailers)),
            Err(data) => data,
        })))
    }
}

impl Body for Relayed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if this.revoked.as_mut().poll(cx).is_ready() {
            this.audit.outcome = "revoked";
            return Poll::Ready(Some(Err(Cut::Revoked.into())));
        }
        if let Some((endless, stop)) = &mut this.endless
            && stop.as_mut().poll(cx).is_ready()
        {
            this.audit.outcome = "shutdown";
            return Poll::Ready(match endless {
                Endless::Watch => None,
                Endless::Follow => Some(Err(Failed::Shutdown.into())),
            });
        }
        this.poll_source(cx)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Whole(body) => body.is_end_stream(),
            Source::Watched { watched, .. } => {
                let state = watched.lock();
                state.cut.is_none() && state.body.as_ref().is_some_and(Body::is_end_stream)
            }
            Source::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(body) => body.size_hint(),
            Source::Watched { watched, .. } => {
                watched.lock().body.as_ref().map(Body::size_hint).unwrap_or_default()
            }
            Source::Ended => SizeHint::with_exact(0),
        }
    }
}

impl Drop for Relayed {
    fn drop(&mut self) {
        self.audit.sent = self.upload.n_bytes();
    }
}
