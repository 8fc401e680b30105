use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use buildplane_tunnel::BoxError;
use buildplane_wire::Endless;

use crate::local_api::ApiBody;

/// A response of the local API. One without an end of its own ends when the connection is left, which would otherwise
/// wait for it.
#[derive(Debug)]
pub(crate) struct Until {
    body: ApiBody,
    leave: Option<(Endless, Pin<Box<WaitForCancellationFutureOwned>>)>,
}

#[derive(Debug, thiserror::Error)]
#[error("the agent is leaving")]
struct Leaving;

impl Until {
    pub(crate) fn new(body: ApiBody, endless: Option<Endless>, leave: &CancellationToken) -> Self {
        let leave = endless.map(|endless| (endless, Box::pin(leave.clone().cancelled_owned())));
        Self { body, leave }
    }
}

impl Body for Until {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Some((endless, leave)) = &mut this.leave
            && leave.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(match endless {
                Endless::Watch => None,
                Endless::Follow => Some(Err(Leaving.into())),
            });
        }
        Pin::new(&mut this.body).poll_frame(cx).map_err(BoxError::from)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
