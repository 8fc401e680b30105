//! How the agent reaches an address at all, below TLS.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;

/// How long each address of a name has for itself before the next is tried beside it.
const STAGGER: Duration = Duration::from_millis(250);
/// More addresses of one name are not tried.
const ADDRESSES: usize = 16;

/// A byte stream of any kind.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A byte stream that is awaited.
pub type Connecting<'a> = Pin<Box<dyn Future<Output = Result<Box<dyn Io>, ConnectFailure>> + Send + 'a>>;

/// The way to another host: TCP, a proxy, or a pipe in memory. To a gateway TLS runs over it, by which it proves who it is.
///
/// The agent bounds how long it waits, and drops the future then.
pub trait Connect: fmt::Debug + Send + Sync {
    /// Opens a byte stream to a host and port.
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Connecting<'a>;
}

/// Why an address cannot be reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectFailure {
    /// TCP, or the resolver.
    #[error("failed to connect to {address}")]
    Tcp {
        /// Host and port.
        address: String,
        /// What failed.
        source: io::Error,
    },
    /// The proxy does not speak HTTP, or hung up.
    #[error("the proxy {proxy} did not answer")]
    Proxy {
        /// Its address, without a login.
        proxy: String,
        /// What failed.
        source: hyper::Error,
    },
    /// The proxy's own TLS failed.
    #[error("the proxy {proxy} could not be verified")]
    ProxyTls {
        /// Its address, without a login.
        proxy: String,
        /// What failed.
        source: buildplane_tunnel::BoxError,
    },
    /// The proxy lets nobody through.
    #[error("the proxy {proxy} refused the connection with {status}")]
    ProxyRefused {
        /// Its address, without a login.
        proxy: String,
        /// What it answered.
        status: http::StatusCode,
    },
    /// The gateway's address cannot be asked of a proxy.
    #[error("{target} cannot be asked of a proxy")]
    Target {
        /// Host and port.
        target: String,
        /// What is wrong with it.
        source: http::Error,
    },
}

/// Plain TCP.
#[derive(Debug, Clone, Copy, Default)]
pub struct Direct;

impl Connect for Direct {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Connecting<'a> {
        Box::pin(async move {
            let stream = tcp(&format!("{host}:{port}")).await?;
            Ok(Box::new(stream) as Box<dyn Io>)
        })
    }
}

/// Connects to the first address of a name that answers. One that swallows packets holds up the others for a moment only.
pub(crate) async fn tcp(address: &str) -> Result<TcpStream, ConnectFailure> {
    let failed = |source| ConnectFailure::Tcp { address: address.to_owned(), source };
    let mut addresses = lookup_host(address).await.map_err(failed)?.take(ADDRESSES);
    let mut attempts: JoinSet<io::Result<TcpStream>> = JoinSet::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        let next = addresses.next();
        let is_last = next.is_none();
        if let Some(address) = next {
            attempts.spawn(one(address));
        }
        let finished = async {
            if is_last {
                attempts.join_next().await
            } else {
                tokio::time::timeout(STAGGER, attempts.join_next())
                    .await
                    .unwrap_or(Some(Ok(Err(io::ErrorKind::TimedOut.into()))))
            }
        };
        match finished.await {
            Some(Ok(Ok(stream))) => return Ok(stream),
            Some(Ok(Err(error))) => last = error,
            Some(Err(panicked)) => last = io::Error::other(panicked),
            None => return Err(failed(last)),
        }
    }
}

async fn one(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
