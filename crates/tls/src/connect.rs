use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Why a TLS connection to a server could not be opened.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what each variant means")]
pub enum ConnectError {
    #[error("{name:?} is neither a DNS name nor an IP address")]
    Name { name: String },
    #[error("the TLS handshake with {name} failed")]
    Handshake { name: String, source: io::Error },
    #[error("the TLS handshake with {name} took too long")]
    Timeout { name: String },
}

/// The client's side of a handshake over a connection that stands already. The server's certificate is verified for `name`.
pub async fn connect<T>(
    config: Arc<ClientConfig>,
    name: &str,
    io: T,
    deadline: Duration,
) -> Result<TlsStream<T>, ConnectError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let server_name = server_name(name)?;
    match tokio::time::timeout(deadline, TlsConnector::from(config).connect(server_name, io)).await {
        Ok(connected) => {
            connected.map_err(|source| ConnectError::Handshake { name: name.to_owned(), source })
        }
        Err(_elapsed) => Err(ConnectError::Timeout { name: name.to_owned() }),
    }
}

/// Takes an address as URLs write it, too.
pub(crate) fn server_name(name: &str) -> Result<ServerName<'static>, ConnectError> {
    let bare = name.trim_start_matches('[').trim_end_matches(']').to_owned();
    ServerName::try_from(bare).map_err(|_invalid| ConnectError::Name { name: name.to_owned() })
}
