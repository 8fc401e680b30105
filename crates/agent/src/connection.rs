//! One connection to the gateway, from dialling to its end.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use buildplane_api::names::{PlaneId, PlaneType};
use buildplane_tls::{
    Alpn, AnchorError, ClientConfigError, ClientIdentity, ConnectError, TrustAnchors, connect,
};
use buildplane_tunnel::{ByteStream, Settings, dial, serve};
use buildplane_wire::AgentHello;

use crate::config::{GatewayUrl, ServerCa};
use crate::requests::Requests;

const CONNECT: Duration = Duration::from_secs(10);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    #[error("failed to read the gateway's CA from {path}")]
    ServerCaFile { path: String, source: std::io::Error },
    #[error("the gateway's CA is unusable")]
    ServerCa(#[source] AnchorError),
    #[error("failed to configure TLS")]
    Tls(#[source] ClientConfigError),
    #[error("failed to connect to {address}")]
    Tcp { address: String, source: std::io::Error },
    #[error("connecting to {address} took too long")]
    TcpTimeout { address: String },
    #[error("the gateway's identity could not be verified")]
    Handshake(#[source] ConnectError),
    #[error("the gateway address is unusable")]
    Address(#[source] http::Error),
    #[error("the tunnel failed")]
    Tunnel(#[source] buildplane_tunnel::Error),
}

/// What every dial needs.
#[derive(Debug, Clone)]
pub(crate) struct Dialer {
    pub(crate) gateway: GatewayUrl,
    pub(crate) server_ca: ServerCa,
    pub(crate) server_name: Option<String>,
    pub(crate) plane_type: PlaneType,
    pub(crate) plane_id: PlaneId,
    pub(crate) hello: AgentHello,
    pub(crate) settings: Settings,
}

/// An open tunnel.
pub(crate) struct Connection {
    stream: ByteStream<Box<dyn Io>>,
    settings: Settings,
}

/// A byte stream of any kind.
pub(crate) trait Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send> Io for T {}

impl Dialer {
    /// Opens a connection. The gateway is believed only under the configured CA and name; there is no other way in.
    pub(crate) async fn dial(&self, identity: &ClientIdentity) -> Result<Connection, ConnectionError> {
        let roots = TrustAnchors::parse(self.server_ca().await?).map_err(ConnectionError::ServerCa)?;
        let tls = identity.client_config(&roots, &[Alpn::Http1]).map_err(ConnectionError::Tls)?;
        let GatewayUrl { host, port, path } = &self.gateway;
        let address = format!("{host}:{port}");
        let tcp = tokio::time::timeout(CONNECT, TcpStream::connect(&address)).await;
        let tcp = match tcp {
            Ok(connected) => connected.map_err(|source| ConnectionError::Tcp { address, source })?,
            Err(_elapsed) => return Err(ConnectionError::TcpTimeout { address }),
        };
        if let Err(error) = tcp.set_nodelay(true) {
            tracing::debug!(error = &error as &dyn std::error::Error, "failed to set TCP_NODELAY");
        }
        let name = self.server_name.as_deref().unwrap_or(host);
        let stream = connect(tls, name, tcp, CONNECT).await.map_err(ConnectionError::Handshake)?;
        let uri =
            format!("wss://{name}:{port}{path}?planeType={}&planeID={}", self.plane_type, self.plane_id);
        let mut request = Request::get(uri).body(()).map_err(ConnectionError::Address)?;
        request.headers_mut().extend(self.hello.headers());
        let stream = Box::new(stream) as Box<dyn Io>;
        let stream = dial(stream, request, &self.settings).await.map_err(ConnectionError::Tunnel)?;
        Ok(Connection { stream, settings: self.settings.clone() })
    }

    async fn server_ca(&self) -> Result<String, ConnectionError> {
        match &self.server_ca {
            ServerCa::Pem(pem) => Ok(pem.clone()),
            ServerCa::File(path) => tokio::fs::read_to_string(path)
                .await
                .map_err(|source| ConnectionError::ServerCaFile { path: path.display().to_string(), source }),
        }
    }
}

impl Connection {
    /// Answers requests until the connection ends, or until `leave`: then the gateway is told to send no more, and open
    /// requests may finish.
    pub(crate) async fn serve(
        self,
        requests: Arc<Requests>,
        leave: CancellationToken,
    ) -> Result<(), ConnectionError> {
        let left = leave.clone();
        let service = tower::service_fn(move |request| {
            let answer = Arc::clone(&requests).answer(request, left.clone());
            async move { Ok::<_, std::convert::Infallible>(answer.await) }
        });
        serve(self.stream, service, &self.settings, leave).await.map_err(ConnectionError::Tunnel)
    }
}
