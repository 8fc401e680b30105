//! One connection to a gateway, from dialling to its end.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use tokio_util::sync::CancellationToken;

use buildplane_api::names::{PlaneId, PlaneType};
use buildplane_tls::{Alpn, ClientConfigError, ConnectError, ServerCertificates, connect};
use buildplane_tunnel::{ByteStream, Settings, open, serve};
use buildplane_wire::{GATEWAY_INSTANCE, is_claim};

use crate::config::GatewayUrl;
use crate::connect::{Connect, ConnectFailure, Io};
use crate::replicas::Told;
use crate::requests::Requests;
use crate::terms::Terms;

const CONNECT: Duration = Duration::from_secs(10);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    #[error("failed to configure TLS")]
    Tls(#[source] ClientConfigError),
    #[error("the gateway cannot be reached")]
    Unreachable(#[source] ConnectFailure),
    #[error("connecting to {address} took longer than {} s", CONNECT.as_secs())]
    Timeout { address: GatewayUrl },
    #[error("the gateway's identity could not be verified")]
    Handshake(#[source] ConnectError),
    #[error("the gateway presented no certificate")]
    NoCertificate,
    #[error("the gateway address is unusable")]
    Address(#[source] http::Error),
    #[error("the tunnel failed")]
    Tunnel(#[source] buildplane_tunnel::Error),
}

impl ConnectionError {
    /// Whether the gateway itself asked for another attempt in a moment.
    pub(crate) fn is_soon(&self) -> bool {
        self.refusal().is_some_and(|status| status == http::StatusCode::SERVICE_UNAVAILABLE)
    }

    /// What the gateway answered instead of accepting.
    pub(crate) fn refusal(&self) -> Option<http::StatusCode> {
        match self {
            Self::Tunnel(buildplane_tunnel::Error::Refused { status, .. }) => Some(*status),
            _ => None,
        }
    }
}

/// What every dial needs beside its target and terms.
#[derive(Debug, Clone)]
pub(crate) struct Dialer {
    pub(crate) connect: Arc<dyn Connect>,
    /// The name that every gateway proves, whatever address it was reached at.
    pub(crate) server_name: String,
    pub(crate) plane_type: PlaneType,
    pub(crate) plane_id: PlaneId,
    pub(crate) settings: Settings,
}

/// An open tunnel.
pub(crate) struct Connection {
    stream: ByteStream<Box<dyn Io>>,
    settings: Settings,
    requests: Arc<Requests>,
    /// Who the gateway proved to be.
    pub(crate) server: ServerCertificates,
    /// Which replica it says it is.
    pub(crate) instance: Option<String>,
}

impl Dialer {
    /// Opens a connection. The gateway is believed only under the configured CA and name; there is no other way in.
    pub(crate) async fn dial(
        &self,
        address: &GatewayUrl,
        terms: &Terms,
    ) -> Result<Connection, ConnectionError> {
        let tls = terms.identity.client_config(&terms.trust, &[Alpn::Http1]).map_err(ConnectionError::Tls)?;
        let io = tokio::time::timeout(CONNECT, self.connect.connect(&address.host, address.port)).await;
        let io = io
            .map_err(|_elapsed| ConnectionError::Timeout { address: address.clone() })?
            .map_err(ConnectionError::Unreachable)?;
        let name = &self.server_name;
        let stream = connect(tls, name, io, CONNECT).await.map_err(ConnectionError::Handshake)?;
        let server = ServerCertificates::of_connection(stream.get_ref().1, name)
            .ok_or(ConnectionError::NoCertificate)?;
        let GatewayUrl { port, path, .. } = address;
        let uri =
            format!("wss://{name}:{port}{path}?planeType={}&planeID={}", self.plane_type, self.plane_id);
        let mut request = Request::get(uri).body(()).map_err(ConnectionError::Address)?;
        request.headers_mut().extend(terms.hello.headers());
        let stream = Box::new(stream) as Box<dyn Io>;
        let opened = open(stream, request, &self.settings).await.map_err(ConnectionError::Tunnel)?;
        let instance = opened.answer.get(&GATEWAY_INSTANCE).and_then(|value| value.to_str().ok());
        Ok(Connection {
            stream: opened.stream,
            settings: self.settings.clone(),
            requests: Arc::clone(&terms.requests),
            server,
            instance: instance.filter(|instance| is_claim(instance)).map(str::to_owned),
        })
    }
}

impl Connection {
    /// Answers requests until the connection ends, or until `leave`: then the gateway is told to send no more, and open
    /// requests may finish.
    pub(crate) async fn serve(self, told: Told, leave: CancellationToken) -> Result<(), ConnectionError> {
        let left = leave.clone();
        let requests = self.requests;
        let service = tower::service_fn(move |request| {
            let (requests, told, left) = (Arc::clone(&requests), told.clone(), left.clone());
            async move {
                let answer = if Told::is_meant(&request) {
                    told.answer(request).await
                } else {
                    requests.answer(request, left).await
                };
                Ok::<_, std::convert::Infallible>(answer)
            }
        });
        serve(self.stream, service, &self.settings, leave).await.map_err(ConnectionError::Tunnel)
    }
}
