use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use buildplane_api::meta::BUILD_PLANE_NAMESPACE;
use buildplane_api::names::{PlaneId, PlaneType};
use buildplane_tunnel::Settings;
use buildplane_wire::PlanePattern;

use crate::connect::{Connect, Direct};
use crate::metrics::Metrics;
use crate::policy::Policy;

/// What an agent needs.
#[derive(Debug)]
pub struct Config {
    /// The gateway's address.
    pub gateway: GatewayUrl,
    /// The CA of the gateway's certificate. Nothing else is believed.
    pub server_ca: ServerCa,
    /// The name to verify in the gateway's certificate, where it is not the host of the address.
    pub server_name: Option<String>,
    /// The type of the plane that the agent speaks for.
    pub plane_type: PlaneType,
    /// The id of the plane.
    pub plane_id: PlaneId,
    /// The local API and the agent's own credentials for it.
    pub kube: kube::Config,
    /// Where the agent keeps its Secrets.
    pub namespace: String,
    /// What requests may do.
    pub policy: PolicySource,
    /// The custom resources that may use this plane, where the policy does not say so itself; every admitted one where
    /// there are none.
    pub allowed_planes: Vec<PlanePattern>,
    /// The way to the gateway's address.
    pub connect: Arc<dyn Connect>,
    /// The way to the local API, in place of TCP and the TLS that `kube` asks for. For pipes in memory alone.
    pub local_connect: Option<Arc<dyn Connect>>,
    /// How long the certificates last that the agent makes for itself.
    pub lifetimes: Lifetimes,
    /// Makes delays repeatable; random where there is none.
    pub seed: Option<u64>,
    /// The tunnel's limits and timing.
    pub tunnel: Settings,
    /// Health, readiness and metrics, without TLS.
    pub health: Option<TcpListener>,
    /// What is counted.
    pub metrics: Metrics,
}

impl Config {
    /// A configuration with the shipped policy and default limits.
    pub fn new(
        gateway: GatewayUrl,
        server_ca: ServerCa,
        (plane_type, plane_id): (PlaneType, PlaneId),
        kube: kube::Config,
    ) -> Self {
        Self {
            gateway,
            server_ca,
            server_name: None,
            plane_type,
            plane_id,
            kube,
            namespace: BUILD_PLANE_NAMESPACE.to_owned(),
            policy: PolicySource::Fixed(Policy::builds()),
            allowed_planes: Vec::new(),
            connect: Arc::new(Direct),
            local_connect: None,
            lifetimes: Lifetimes::default(),
            seed: None,
            tunnel: Settings::default(),
            health: None,
            metrics: Metrics::default(),
        }
    }
}

/// The CA of the gateway's certificate.
#[derive(Debug, Clone)]
pub enum ServerCa {
    /// A PEM bundle.
    Pem(String),
    /// A file with a PEM bundle, looked at each second so that a rotation needs no restart. While it is unreadable or
    /// broken, what it held before stays in force: a slip of the hand must not cut a plane off.
    File(PathBuf),
}

/// Where the agent's policy comes from.
#[derive(Debug, Clone)]
pub enum PolicySource {
    /// One that does not change.
    Fixed(Policy),
    /// A YAML file, looked at each second. A broken one leaves what it held before in force.
    File(PathBuf),
}

/// How long certificates last.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// The agent's own authority.
    pub authority: Duration,
    /// A leaf under it, which is renewed when two thirds are over.
    pub leaf: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { authority: Duration::from_hours(10 * 365 * 24), leaf: Duration::from_hours(90 * 24) }
    }
}

/// The address of a gateway: `wss://host:port/ws`. There is no unencrypted one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayUrl {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) path: String,
}

/// A text that is no gateway address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url:?} is not a gateway address of the form wss://host:port/ws")]
pub struct InvalidGatewayUrl {
    url: String,
}

impl FromStr for GatewayUrl {
    type Err = InvalidGatewayUrl;

    fn from_str(text: &str) -> Result<Self, InvalidGatewayUrl> {
        let invalid = || InvalidGatewayUrl { url: text.chars().take(200).collect() };
        let uri: http::Uri = text.parse().map_err(|_not_a_uri| invalid())?;
        let (Some("wss"), Some(authority), None) = (uri.scheme_str(), uri.authority(), uri.query()) else {
            return Err(invalid());
        };
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(invalid());
        }
        let path = if uri.path() == "/" { "/ws" } else { uri.path() };
        Ok(Self {
            host: authority.host().to_owned(),
            port: authority.port_u16().unwrap_or(443),
            path: path.to_owned(),
        })
    }
}

impl fmt::Display for GatewayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wss://{}:{}{}", self.host, self.port, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_encrypted_addresses_are_gateways() {
        for (text, shown) in [
            ("wss://gateway:8443/ws", "wss://gateway:8443/ws"),
            ("wss://gateway:8443", "wss://gateway:8443/ws"),
            ("wss://gateway.example/ws", "wss://gateway.example:443/ws"),
            ("wss://[::1]:8443/ws", "wss://[::1]:8443/ws"),
        ] {
            assert_eq!(text.parse::<GatewayUrl>().unwrap().to_string(), shown);
        }
        for text in [
            "ws://gateway:8443/ws",
            "https://gateway/ws",
            "gateway:8443",
            "wss://",
            "wss://a@b/ws",
            "wss://a/ws?x=y",
            "",
        ] {
            assert!(text.parse::<GatewayUrl>().is_err(), "{text}");
        }
    }
}
