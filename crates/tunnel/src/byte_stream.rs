use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use futures::{Sink as _, Stream as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use crate::activity::Activity;
use crate::settings::MESSAGE;

/// A WebSocket as a byte stream: binary messages in and out, message boundaries without meaning.
///
/// It pings the other end at each heartbeat, because proxies on the way count WebSocket frames of their own; whether the
/// other end lives is HTTP/2's question.
#[derive(Debug)]
pub struct ByteStream<T> {
    websocket: WebSocketStream<T>,
    unread: Bytes,
    heartbeat: Interval,
    ping_unflushed: bool,
    activity: Arc<Activity>,
}

impl<T> ByteStream<T>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    pub(crate) fn new(websocket: WebSocketStream<T>, heartbeat: Duration) -> Self {
        let mut heartbeat = tokio::time::interval_at(Instant::now() + heartbeat, heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let activity = Arc::new(Activity::new());
        Self { websocket, unread: Bytes::new(), heartbeat, ping_unflushed: false, activity }
    }

    pub(crate) fn activity(&self) -> Arc<Activity> {
        Arc::clone(&self.activity)
    }

    fn websocket(&mut self) -> Pin<&mut WebSocketStream<T>> {
        Pin::new(&mut self.websocket)
    }

    fn poll_heartbeat(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.heartbeat.poll_tick(cx).is_ready() {
            // A ping that cannot be queued now is not worth waiting for: the connection is busy with something else.
            if let Poll::Ready(ready) = self.websocket().poll_ready(cx) {
                ready.map_err(into_io)?;
                self.websocket().start_send(Message::Ping(Bytes::new())).map_err(into_io)?;
                self.ping_unflushed = true;
            }
        }
        if self.ping_unflushed && self.websocket().poll_flush(cx).map_err(into_io)?.is_ready() {
            self.ping_unflushed = false;
        }
        Ok(())
    }

    /// Waits for the next message that carries bytes. `None` is the end of the stream.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        loop {
            let message = match ready!(self.websocket().poll_next(cx)) {
                Some(Ok(message)) => message,
                None | Some(Err(WsError::ConnectionClosed | WsError::AlreadyClosed)) => {
                    return Poll::Ready(Ok(None));
                }
                Some(Err(error)) => return Poll::Ready(Err(into_io(error))),
            };
            match message {
                Message::Binary(bytes) => {
                    self.activity.record_received(bytes.len());
                    if !bytes.is_empty() {
                        return Poll::Ready(Ok(Some(bytes)));
                    }
                }
                Message::Ping(_) | Message::Pong(_) => self.activity.record_received(0),
                Message::Close(_) => return Poll::Ready(Ok(None)),
                Message::Text(_) | Message::Frame(_) => {
                    let error =
                        io::Error::new(io::ErrorKind::InvalidData, "a tunnel carries binary messages only");
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        self.activity.record_sent(bytes.len());
        self.websocket().start_send(Message::Binary(bytes)).map_err(into_io)
    }
}

impl<T> AsyncRead for ByteStream<T>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.poll_heartbeat(cx)?;
        if this.unread.is_empty() {
            match ready!(this.poll_message(cx))? {
                Some(bytes) => this.unread = bytes,
                None => return Poll::Ready(Ok(())),
            }
        }
        let n_bytes = this.unread.len().min(buf.remaining());
        buf.put_slice(this.unread.get(..n_bytes).unwrap_or_default());
        this.unread.advance(n_bytes);
        Poll::Ready(Ok(()))
    }
}

impl<T> AsyncWrite for ByteStream<T>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.websocket().poll_ready(cx)).map_err(into_io)?;
        let part = buf.get(..MESSAGE).unwrap_or(buf);
        this.send(Bytes::copy_from_slice(part))?;
        Poll::Ready(Ok(part.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.websocket().poll_ready(cx)).map_err(into_io)?;
        let total: usize = bufs.iter().map(|buf| buf.len()).sum();
        let mut message = BytesMut::with_capacity(total.min(MESSAGE));
        for buf in bufs {
            let room = MESSAGE - message.len();
            message.extend_from_slice(buf.get(..room).unwrap_or(buf));
        }
        let n_bytes = message.len();
        this.send(message.freeze())?;
        Poll::Ready(Ok(n_bytes))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().websocket().poll_flush(cx).map_err(into_io)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(self.get_mut().websocket().poll_close(cx)) {
            Ok(()) | Err(WsError::ConnectionClosed | WsError::AlreadyClosed) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(into_io(error))),
        }
    }
}

fn into_io(error: WsError) -> io::Error {
    match error {
        WsError::Io(error) => error,
        WsError::ConnectionClosed | WsError::AlreadyClosed => io::ErrorKind::BrokenPipe.into(),
        error @ (WsError::Capacity(_) | WsError::Protocol(_) | WsError::Utf8(_)) => {
            io::Error::new(io::ErrorKind::InvalidData, error)
        }
        error => io::Error::other(error),
    }
}
