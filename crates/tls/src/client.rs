use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::{ClientConfig, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::anchors::TrustAnchors;
use crate::certified::CertifiedKey;
use crate::crypto::{Alpn, provider};

/// Why a client configuration could not be built.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what each variant means")]
pub enum ClientConfigError {
    #[error("no certificate of the server CA bundle is one of a certificate authority")]
    NoAuthority,
    #[error("failed to use the server CA bundle")]
    Roots(#[source] rustls::client::VerifierBuilderError),
    #[error("failed to build the TLS client configuration")]
    Config(#[source] rustls::Error),
}

/// A client's certificate, replaceable while connections are open.
#[derive(Clone)]
pub struct ClientIdentity(Arc<Resolver>);

impl ClientIdentity {
    /// A client that presents `certified`.
    pub fn new(certified: &CertifiedKey) -> Self {
        Self(Arc::new(Resolver(ArcSwapOption::from(Some(certified.inner())))))
    }

    /// A client without a certificate.
    pub fn anonymous() -> Self {
        Self(Arc::new(Resolver(ArcSwapOption::empty())))
    }

    /// New handshakes present `certified` from now on.
    pub fn replace(&self, certified: &CertifiedKey) {
        self.0.0.store(Some(certified.inner()));
    }

    /// A configuration that trusts servers under `roots` and nothing else, and always verifies the server's name.
    pub fn client_config(
        &self,
        roots: &TrustAnchors,
        alpn: &[Alpn],
    ) -> Result<Arc<ClientConfig>, ClientConfigError> {
        let verifier = verifier(roots)?;
        let mut config = ClientConfig::builder_with_provider(Arc::clone(provider()))
            .with_safe_default_protocol_versions()
            .map_err(ClientConfigError::Config)?
            .with_webpki_verifier(verifier)
            .with_client_cert_resolver(Arc::clone(&self.0) as Arc<dyn ResolvesClientCert>);
        config.alpn_protocols = Alpn::wire(alpn);
        // A resumed session would keep presenting the certificate it began with.
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Arc::new(config))
    }
}

fn verifier(roots: &TrustAnchors) -> Result<Arc<WebPkiServerVerifier>, ClientConfigError> {
    let authorities: Vec<_> = roots.iter().filter_map(|anchor| anchor.issuer.clone()).collect();
    if authorities.is_empty() {
        return Err(ClientConfigError::NoAuthority);
    }
    let store = Arc::new(RootCertStore { roots: authorities });
    WebPkiServerVerifier::builder_with_provider(store, Arc::clone(provider()))
        .build()
        .map_err(ClientConfigError::Roots)
}

/// What a server presented in a handshake that was verified then, so that it can be judged again when trust changes or time
/// has passed.
#[derive(Debug, Clone)]
pub struct ServerCertificates {
    chain: Vec<CertificateDer<'static>>,
    name: ServerName<'static>,
}

/// A server that is believed no longer.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what each variant means")]
pub enum NotBelieved {
    #[error("the trusted CAs cannot be used")]
    Roots(#[source] ClientConfigError),
    #[error("the server's certificate is refused")]
    Certificate(#[source] rustls::Error),
}

impl ServerCertificates {
    /// The chain of a finished handshake with a server that was verified for `name`.
    pub fn of_connection(connection: &rustls::ClientConnection, name: &str) -> Option<Self> {
        let chain: Vec<_> =
            connection.peer_certificates()?.iter().map(|der| der.clone().into_owned()).collect();
        let name = crate::connect::server_name(name).ok().filter(|_name| !chain.is_empty())?;
        Some(Self { chain, name })
    }

    /// Whether a handshake at `now` under `roots` would believe this server.
    pub fn verify(&self, roots: &TrustAnchors, now: SystemTime) -> Result<(), NotBelieved> {
        let verifier = verifier(roots).map_err(NotBelieved::Roots)?;
        let now =
            UnixTime::since_unix_epoch(now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO));
        let none = || NotBelieved::Certificate(rustls::Error::NoCertificatesPresented);
        let (leaf, intermediates) = self.chain.split_first().ok_or_else(none)?;
        verifier
            .verify_server_cert(leaf, intermediates, &self.name, &[], now)
            .map(drop)
            .map_err(NotBelieved::Certificate)
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIdentity").finish_non_exhaustive()
    }
}

struct Resolver(ArcSwapOption<rustls::sign::CertifiedKey>);

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl ResolvesClientCert for Resolver {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        schemes: &[SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        self.0.load_full().filter(|certified| certified.key.choose_scheme(schemes).is_some())
    }

    fn has_certs(&self) -> bool {
        self.0.load().is_some()
    }
}
