//! The platform's certificate authorities, kept in the data directory, and the leaves they issue.
//!
//! Four authorities, one for each question of trust: who may call the control plane (its API and the
//! gateway's internal listener), who may call the build plane's API, which gateway an agent believes,
//! and which services a build believes. None signs for another's question.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use buildplane_apiserver::TokenKey;
use buildplane_tls::{Alpn, Authority, CertifiedKey, ClientAuth, LeafRequest, ServerIdentity, TrustAnchors};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use kube::client::ConfigExt as _;
use kube::config::AuthInfo;

use crate::layout::write_private;
use crate::registry::front::Exchange;
use crate::{Error, Layout};

const AUTHORITY_LIFETIME: Duration = Duration::from_hours(10 * 365 * 24);
/// Leaves are issued anew at each start; one start may last this long.
const LEAF_LIFETIME: Duration = Duration::from_hours(365 * 24);
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The platform's authorities.
pub(crate) struct Pki {
    pub(crate) control_plane: Trust,
    pub(crate) build_plane: Trust,
    pub(crate) gateway: Trust,
    pub(crate) services: Trust,
}

/// One authority and what it is for.
pub(crate) struct Trust {
    what: &'static str,
    authority: Authority,
    tokens: PathBuf,
}

impl Pki {
    /// Reads the authorities of a data directory, or makes them.
    pub(crate) fn ensure(layout: &Layout) -> Result<Self, Error> {
        Ok(Self {
            control_plane: Trust::ensure(layout, "control-plane")?,
            build_plane: Trust::ensure(layout, "build-plane")?,
            gateway: Trust::ensure(layout, "cluster-gateway")?,
            services: Trust::ensure(layout, "services")?,
        })
    }
}

impl Trust {
    fn ensure(layout: &Layout, what: &'static str) -> Result<Self, Error> {
        let path = layout.authority(what);
        let authority = if let Some(pem) = kept(&path)? {
            let key = pem.find("-----BEGIN PRIVATE KEY").unwrap_or(pem.len());
            Authority::from_pem(&pem[..key], &pem[key..])
                .map_err(|source| Error::Damaged { path: path.clone(), source: Box::new(source) })?
        } else {
            let made = Authority::generate(&format!("buildplane {what}"), AUTHORITY_LIFETIME)
                .map_err(|source| failed(what, source))?;
            // Key and certificate in one file: a crash cannot leave one without the other.
            write_private(&path, format!("{}{}", made.cert_pem(), made.key_pem()).as_bytes())?;
            made
        };
        Ok(Self { what, authority, tokens: layout.token_key(what) })
    }

    /// What the API of this authority signs its ServiceAccounts' tokens with; made at the first start.
    pub(crate) fn token_key(&self) -> Result<TokenKey, Error> {
        let path = self.tokens.clone();
        if let Some(pem) = kept(&path)? {
            return TokenKey::from_pem(&pem)
                .map_err(|source| Error::Damaged { path, source: Box::new(source) });
        }
        let key = TokenKey::generate().map_err(|source| failed(self.what, source))?;
        write_private(&path, key.to_pem().as_bytes())?;
        Ok(key)
    }

    /// The authority's certificate, PEM.
    pub(crate) fn ca(&self) -> String {
        self.authority.cert_pem().to_owned()
    }

    fn ca_der(&self) -> Result<Vec<u8>, Error> {
        let body: String = self.ca().lines().filter(|line| !line.starts_with("-----")).collect();
        STANDARD.decode(body).map_err(|source| failed(self.what, source))
    }

    pub(crate) fn anchors(&self) -> Result<TrustAnchors, Error> {
        TrustAnchors::parse(self.ca()).map_err(|source| failed(self.what, source))
    }

    /// A serving certificate for loopback and the given names.
    pub(crate) fn server(&self, names: &[&str]) -> Result<CertifiedKey, Error> {
        let names: Vec<&str> = std::iter::once("localhost").chain(names.iter().copied()).collect();
        self.issue(LeafRequest::server(&names, &[LOOPBACK], LEAF_LIFETIME))
    }

    /// The TLS side of a listener.
    pub(crate) fn server_config(
        &self,
        names: &[&str],
        clients: ClientAuth,
        alpn: &[Alpn],
    ) -> Result<Arc<rustls::ServerConfig>, Error> {
        ServerIdentity::new(&self.server(names)?)
            .server_config(clients, alpn)
            .map_err(|source| failed(self.what, source))
    }

    /// A client certificate: the user is the common name, its groups the organizations.
    pub(crate) fn client(&self, user: &str, groups: &[&str]) -> Result<CertifiedKey, Error> {
        let mut request = LeafRequest::client(user, LEAF_LIFETIME);
        request.organizations = groups.iter().map(|group| (*group).to_owned()).collect();
        self.issue(request)
    }

    /// A client's configuration for the API at `server`, as `user`.
    pub(crate) fn client_config(
        &self,
        server: http::Uri,
        user: &str,
        groups: &[&str],
    ) -> Result<kube::Config, Error> {
        let certified = self.client(user, groups)?;
        let mut config = kube::Config::new(server);
        config.root_cert = Some(vec![self.ca_der()?]);
        config.auth_info = AuthInfo {
            client_certificate_data: Some(STANDARD.encode(certified.cert_pem())),
            client_key_data: Some(STANDARD.encode(certified.key_pem()).into()),
            ..AuthInfo::default()
        };
        Ok(config)
    }

    /// A client for one of the services that believes this authority alone, and reuses its connections.
    pub(crate) fn http_client(&self, address: SocketAddr) -> Result<Exchange, Error> {
        let uri = format!("https://{address}").parse().map_err(|source| failed(self.what, source))?;
        let mut config = kube::Config::new(uri);
        config.root_cert = Some(vec![self.ca_der()?]);
        config.proxy_url = None;
        let connector = config.rustls_https_connector().map_err(|source| failed(self.what, source))?;
        let client = Client::builder(TokioExecutor::new()).build::<_, Body>(connector);
        Ok(Box::new(move |request| {
            let answer = client.request(request);
            Box::pin(async move { answer.await.map(|answer| answer.map(Body::new)) })
        }))
    }

    fn issue(&self, request: LeafRequest) -> Result<CertifiedKey, Error> {
        self.authority.issue(request).map_err(|source| failed(self.what, source))
    }
}

/// The text of a file of an earlier start.
fn kept(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) if source.kind() == io::ErrorKind::InvalidData => {
            Err(Error::Damaged { path: path.to_owned(), source: Box::new(source) })
        }
        Err(source) => Err(Error::path("read", path, source)),
    }
}

fn failed(what: &'static str, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Pki { what, source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_start_finds_the_authorities_of_the_first() {
        buildplane_tls::install_crypto();
        let home = tempfile::tempdir().unwrap();
        let layout = Layout::new(home.path().join("data"));
        layout.create().unwrap();
        let cas =
            |pki: &Pki| [&pki.control_plane, &pki.build_plane, &pki.gateway, &pki.services].map(Trust::ca);
        let first = cas(&Pki::ensure(&layout).unwrap());
        assert_eq!(first, cas(&Pki::ensure(&layout).unwrap()));
        assert!(first.iter().all(|ca| !ca.contains("PRIVATE")));
        let pki = Pki::ensure(&layout).unwrap();
        let key = |trust: &Trust| trust.token_key().unwrap().to_pem();
        assert_eq!(key(&pki.control_plane), key(&Pki::ensure(&layout).unwrap().control_plane));
        assert_ne!(
            key(&pki.control_plane),
            key(&pki.build_plane),
            "a token of one plane is none of the other"
        );
    }

    #[test]
    fn a_damaged_authority_is_named_with_a_remedy_and_never_replaced() {
        buildplane_tls::install_crypto();
        let home = tempfile::tempdir().unwrap();
        let layout = Layout::new(home.path().join("data"));
        layout.create().unwrap();
        drop(Pki::ensure(&layout).unwrap());
        let path = layout.pki().join("services-ca.pem");
        let whole = fs::read(&path).unwrap();
        for damage in [&b""[..], b"garbage", &[0xff, 0xfe], &whole[..whole.len() / 2]] {
            fs::write(&path, damage).unwrap();
            let Err(error) = Pki::ensure(&layout) else { panic!("believed {damage:?}") };
            assert!(matches!(&error, Error::Damaged { path: named, .. } if *named == path), "{error}");
            assert!(error.hint().unwrap().contains("services-ca.pem"));
            assert_eq!(fs::read(&path).unwrap(), damage);
        }
    }
}
