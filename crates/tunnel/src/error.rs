use std::error::Error as _;

use http::{Request, StatusCode};

use crate::BoxError;

/// Why a tunnel could not be opened, or a request not be carried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The other side answered the WebSocket handshake with an HTTP error.
    #[error("the gateway refused the connection with {status}: {reason}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// What the body said.
        reason: String,
    },
    /// The WebSocket handshake failed.
    #[error("the WebSocket handshake failed")]
    Handshake(#[source] BoxError),
    /// The WebSocket handshake took too long.
    #[error("the WebSocket handshake took too long")]
    HandshakeTimeout,
    /// The other side does not speak the tunnel's protocol.
    #[error("the other side does not speak {}", crate::SUBPROTOCOL)]
    Subprotocol,
    /// The HTTP/2 connection could not be set up.
    #[error("the HTTP/2 handshake in the tunnel failed")]
    Http2Handshake(#[source] hyper::Error),
    /// The connection ended with an error.
    #[error("the tunnel connection failed")]
    Connection(#[source] hyper::Error),
    /// Every stream of the connection is taken.
    #[error("every stream of the tunnel connection is taken")]
    Busy,
    /// The connection is closed or closing; nothing of the request was sent.
    #[error("the tunnel connection is closed")]
    Closed,
    /// The request's body failed, or is larger than the agent's protocol can carry.
    #[error("the request's body cannot be sent")]
    RequestBody(#[source] BoxError),
    /// The agent did not answer in time.
    #[error("the agent did not answer in time")]
    Deadline,
    /// The agent's answer breaks its protocol.
    #[error("the agent's answer breaks the protocol")]
    Answer(#[source] BoxError),
    /// The WebSocket failed.
    #[error("the WebSocket failed")]
    WebSocket(#[source] BoxError),
    /// Nothing was heard of the other end for too long.
    #[error("nothing was heard of the other end for two heartbeats")]
    Silent,
    /// The stream failed after the request may have been sent.
    #[error("the stream was reset")]
    Stream(#[source] hyper::Error),
}

impl Error {
    /// Whether the other end has certainly not begun to work on the request, so that it may be sent again elsewhere.
    pub fn is_unprocessed(&self) -> bool {
        match self {
            Self::Busy | Self::Closed => true,
            Self::Stream(error) => {
                error.source().and_then(|source| source.downcast_ref::<h2::Error>()).is_some_and(
                    // A GOAWAY ends only streams that the agent will never look at; those it has begun go on.
                    |error| {
                        error.reason() == Some(h2::Reason::REFUSED_STREAM)
                            || (error.is_go_away() && error.is_remote())
                    },
                )
            }
            _ => false,
        }
    }
}

/// A request that was not sent. The request is handed back where nothing of it has left, so that another connection may
/// carry it.
#[derive(Debug)]
pub struct Rejected<B> {
    /// Why.
    pub error: Error,
    /// The request, where it is certain that the other end has seen nothing of it.
    pub request: Option<Box<Request<B>>>,
}
