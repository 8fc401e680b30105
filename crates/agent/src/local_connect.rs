//! The local API over another way than TCP.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tower::Service;

use crate::connect::{Connect, ConnectFailure, Io};

/// Opens connections to the local API the way it is told: over pipes in memory, where a simulation runs the agent.
#[derive(Debug, Clone)]
pub(crate) struct LocalConnect(pub(crate) Arc<dyn Connect>);

impl Service<Uri> for LocalConnect {
    type Response = Pipe;
    type Error = ConnectFailure;
    type Future = Pin<Box<dyn Future<Output = Result<Pipe, ConnectFailure>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ConnectFailure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self(connect) = self.clone();
        Box::pin(async move {
            let (host, port) = (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(443));
            Ok(Pipe(TokioIo::new(connect.connect(host, port).await?)))
        })
    }
}

/// A connection of [`LocalConnect`].
pub(crate) struct Pipe(TokioIo<Box<dyn Io>>);

impl Connection for Pipe {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
