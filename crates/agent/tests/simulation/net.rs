//! A network in memory: named hosts, links with delays, partitions and resets.
//!
//! Every delay and cut is a function of the seed, the link and how much it has carried, so that what happens on one link
//! does not shift what happens on another.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use buildplane_serve::Listener;

use crate::seed::Seed;

/// What a link holds on its way; a writer waits when it is full, as with a socket's buffer.
const BUFFER: usize = 64 * 1024;

/// The network; clone it freely.
#[derive(Clone, Debug)]
pub(crate) struct Net {
    state: Arc<Mutex<State>>,
    seed: Seed,
    /// The longest that a piece of bytes is under way.
    longest_delay: Duration,
    healed: Arc<Notify>,
    n_links: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct State {
    listeners: BTreeMap<&'static str, mpsc::Sender<(Stream, SocketAddr)>>,
    /// Hosts that nothing gets to or from, for now.
    cut_off: BTreeSet<&'static str>,
    /// By link: whom it joins, and what breaks it.
    links: BTreeMap<u64, (&'static str, &'static str, CancellationToken)>,
}

impl Net {
    pub(crate) fn new(seed: Seed, longest_delay: Duration) -> Self {
        Self { state: Arc::default(), seed, longest_delay, healed: Arc::default(), n_links: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Listens as a host; whoever listened there before gets no more connections.
    pub(crate) fn listen(&self, host: &'static str) -> Accept {
        let (sender, connections) = mpsc::channel(256);
        self.state().listeners.insert(host, sender);
        Accept { connections }
    }

    /// Connects one host to another.
    pub(crate) async fn connect(&self, from: &'static str, to: &'static str) -> io::Result<Stream> {
        self.pass(from, to).await;
        let id = self.n_links.fetch_add(1, Ordering::Relaxed);
        let link = self.seed.derive(id);
        tokio::time::sleep(link.duration(0, self.longest_delay)).await;
        let listener = self.state().listeners.get(to).cloned();
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let listener = listener.ok_or_else(refused)?;
        let broken = CancellationToken::new();
        let (near, near_inside) = tokio::io::duplex(BUFFER);
        let (far, far_inside) = tokio::io::duplex(BUFFER);
        let near = Stream { io: near, broken: broken.clone() };
        let far = Stream { io: far, broken: broken.clone() };
        self.state().links.insert(id, (from, to, broken.clone()));
        let net = self.clone();
        tokio::spawn(async move {
            let (near_read, near_write) = tokio::io::split(near_inside);
            let (far_read, far_write) = tokio::io::split(far_inside);
            tokio::select! {
                () = broken.cancelled() => {}
                () = async {
                    tokio::join!(
                        net.carry((from, to), link.derive(1), near_read, far_write),
                        net.carry((to, from), link.derive(2), far_read, near_write),
                    );
                } => {}
            }
            net.state().links.remove(&id);
        });
        let port = u16::try_from(id % 60_000).unwrap_or_default() + 1;
        listener.try_send((far, SocketAddr::from(([192, 0, 2, 1], port)))).map_err(|_gone| refused())?;
        Ok(near)
    }

    /// Carries bytes one way, in pieces, each after a delay, none while one of the hosts is cut off.
    async fn carry(
        &self,
        (from, to): (&'static str, &'static str),
        link: Seed,
        mut read: tokio::io::ReadHalf<DuplexStream>,
        mut write: tokio::io::WriteHalf<DuplexStream>,
    ) {
        let mut bytes = vec![0; 16 * 1024];
        for n in 0.. {
            let Ok(n_bytes) = read.read(&mut bytes).await else { return };
            tokio::time::sleep(link.duration(n, self.longest_delay)).await;
            self.pass(from, to).await;
            if n_bytes == 0 {
                let _gone = write.shutdown().await;
                return;
            }
            if write.write_all(&bytes[..n_bytes]).await.is_err() {
                return;
            }
        }
    }

    /// Waits until both hosts can be reached.
    async fn pass(&self, from: &'static str, to: &'static str) {
        loop {
            let healed = self.healed.notified();
            {
                let state = self.state();
                if !state.cut_off.contains(from) && !state.cut_off.contains(to) {
                    return;
                }
            }
            healed.await;
        }
    }

    /// Nothing gets to or from a host until it is healed. Its connections stay, and say nothing: half-open.
    pub(crate) fn cut_off(&self, host: &'static str) {
        self.state().cut_off.insert(host);
    }

    pub(crate) fn heal(&self, host: &'static str) {
        self.state().cut_off.remove(host);
        self.healed.notify_waiters();
    }

    /// Breaks every connection of a host; both ends see it at once.
    pub(crate) fn reset(&self, host: &'static str) {
        let state = self.state();
        for (_, _, broken) in state.links.values().filter(|(from, to, _)| *from == host || *to == host) {
            broken.cancel();
        }
    }

    pub(crate) fn n_links(&self) -> usize {
        self.state().links.len()
    }
}

/// A host's listener.
#[derive(Debug)]
pub(crate) struct Accept {
    connections: mpsc::Receiver<(Stream, SocketAddr)>,
}

impl Listener for Accept {
    type Io = Stream;

    async fn accept(&mut self) -> io::Result<(Stream, SocketAddr)> {
        match self.connections.recv().await {
            Some(accepted) => Ok(accepted),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([192, 0, 2, 2], 1)))
    }
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Stream {
    io: DuplexStream,
    broken: CancellationToken,
}

impl Stream {
    fn check(&self) -> io::Result<()> {
        if self.broken.is_cancelled() { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // The carrier drops its ends when the link breaks, so that a reader is woken.
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
