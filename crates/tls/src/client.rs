use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::{ClientConfig, RootCertStore, SignatureScheme};

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
        let authorities: Vec<_> = roots.iter().filter_map(|anchor| anchor.issuer.clone()).collect();
        if authorities.is_empty() {
            return Err(ClientConfigError::NoAuthority);
        }
        let store = Arc::new(RootCertStore { roots: authorities });
        let verifier = WebPkiServerVerifier::builder_with_provider(store, Arc::clone(provider()))
            .build()
            .map_err(ClientConfigError::Roots)?;
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
