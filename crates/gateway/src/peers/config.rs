use std::str::FromStr;
use std::sync::Arc;

use http::Uri;

use buildplane_tls::{AnchorStore, ClientIdentity};

/// How a replica finds the others, and how they know each other.
#[derive(Debug, Clone)]
pub struct Peers {
    /// Where the others are. This replica may be among them; it finds itself by its instance id.
    pub discovery: Discovery,
    /// What this replica presents to the others: a client certificate in the group [`GATEWAYS`](super::GATEWAYS).
    pub identity: ClientIdentity,
    /// The CA of the others' internal listeners.
    pub roots: Arc<AnchorStore>,
    /// The name to verify in their certificates, where it is not the host of the address.
    pub server_name: Option<String>,
}

/// Where the replicas are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discovery {
    /// Each at an address of its own.
    List(Vec<Address>),
    /// Each at one of the addresses that a name resolves to, as a headless Service has them.
    Dns(Address),
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// A name or an IP address.
    pub host: String,
    /// The port of the internal listener.
    pub port: u16,
}

/// Why a text does not say where replicas are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither https://HOST:PORT, several of them with commas between, nor dns:NAME:PORT")]
pub struct InvalidAddress(String);

impl FromStr for Discovery {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let invalid = || InvalidAddress(text.to_owned());
        if let Some(name) = text.strip_prefix("dns:") {
            let (host, port) = name.rsplit_once(':').ok_or_else(invalid)?;
            let is_name =
                !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
            let port = port.parse().map_err(|_not_a_port| invalid())?;
            return if is_name {
                Ok(Self::Dns(Address { host: host.to_owned(), port }))
            } else {
                Err(invalid())
            };
        }
        let address = |url: &str| {
            let uri: Uri = url.parse().ok()?;
            let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
            let host = uri.host().filter(|_| uri.scheme_str() == Some("https") && is_bare)?;
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            Some(Address { host, port: uri.port_u16()? })
        };
        text.split(',')
            .map(|url| address(url.trim()))
            .collect::<Option<_>>()
            .map(Self::List)
            .ok_or_else(invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_a_list_or_a_name() {
        let address = |host: &str| Address { host: host.to_owned(), port: 8444 };
        for (text, read) in [
            ("https://a:8444", Some(Discovery::List(vec![address("a")]))),
            (
                "https://a:8444, https://[::1]:8444/",
                Some(Discovery::List(vec![address("a"), address("::1")])),
            ),
            ("dns:gateway.svc:8444", Some(Discovery::Dns(address("gateway.svc")))),
            ("", None),
            ("https://a", None),
            ("http://a:8444", None),
            ("https://a:8444/path", None),
            ("https://a:8444,", None),
            ("dns:gateway.svc", None),
            ("dns::8444", None),
            ("dns:a/b:8444", None),
        ] {
            assert_eq!(text.parse().ok(), read, "{text:?}");
        }
    }
}
