use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

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
#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error("the connection may no longer speak for the custom resource")]
    Revoked,
    #[error("the gateway is shutting down")]
    Shutdown,
    #[error("the stream from the agent failed")]
    Stream(#[source] buildplane_tunnel::Error),
}

/// A response's body on its way to the caller. It ends when the admission is revoked, and leaves the audit line when
/// it is dropped; dropping it also resets the stream to the agent.
#[derive(Debug)]
pub(crate) struct Relayed {
    body: StreamBody,
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
    ) -> Self {
        if body.is_end_stream() {
            audit.outcome = "complete";
        }
        Self { body, revoked: Box::pin(revoked.cancelled_owned()), endless: None, upload, audit }
    }

    /// A response without an end of its own ends with the gateway, which would otherwise wait for it.
    pub(crate) fn until(mut self, endless: Option<Endless>, stop: &CancellationToken) -> Self {
        self.endless = endless.map(|endless| (endless, Box::pin(stop.clone().cancelled_owned())));
        self
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
                Endless::Follow => Some(Err(Cut::Shutdown.into())),
            });
        }
        match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    this.audit.received += data.len() as u64;
                }
                if this.body.is_end_stream() {
                    this.audit.outcome = "complete";
                }
                let frame = match frame.into_trailers() {
                    Ok(trailers) => Frame::trailers(wire::forward_trailers(&trailers)),
                    Err(data) => data,
                };
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                this.audit.outcome = "failed";
                Poll::Ready(Some(Err(Cut::Stream(error).into())))
            }
            None => {
                this.audit.outcome = "complete";
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Relayed {
    fn drop(&mut self) {
        self.audit.sent = self.upload.n_bytes();
    }
}
