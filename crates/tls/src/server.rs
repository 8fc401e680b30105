use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::anchors::AnchorStore;
use crate::certified::CertifiedKey;
use crate::crypto::{Alpn, provider};
use crate::peer::PeerCertificates;
use crate::verify::{VerifyError, verify_client};

/// Why a server configuration could not be built.
#[derive(Debug, thiserror::Error)]
#[error("failed to build the TLS server configuration")]
pub struct ServerConfigError(#[source] rustls::Error);

/// What a listener asks of its clients. A client without a certificate always finishes the handshake: the service
/// answers it with an HTTP error, which says more than a TLS alert.
#[derive(Debug, Clone)]
pub enum ClientAuth {
    /// No certificate is asked for.
    None,
    /// Any certificate whose key the peer proves to hold. Nothing is trusted yet.
    AnyCertificate,
    /// A certificate that is presented must verify against these anchors, or the handshake fails.
    Anchored(Arc<AnchorStore>),
}

/// A server's certificate, replaceable while connections are open.
#[derive(Clone)]
pub struct ServerIdentity(Arc<Resolver>);

impl ServerIdentity {
    /// An identity that presents `certified`.
    pub fn new(certified: &CertifiedKey) -> Self {
        Self(Arc::new(Resolver(ArcSwap::new(certified.inner()))))
    }

    /// New handshakes present `certified` from now on.
    pub fn replace(&self, certified: &CertifiedKey) {
        self.0.0.store(certified.inner());
    }

    /// A configuration for a listener. Sessions are not resumed where clients are verified, because a resumed session
    /// would skip the verifier and outlive the removal of its CA.
    pub fn server_config(
        &self,
        auth: ClientAuth,
        alpn: &[Alpn],
    ) -> Result<Arc<ServerConfig>, ServerConfigError> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(provider()))
            .with_safe_default_protocol_versions()
            .map_err(ServerConfigError)?;
        let resolver = Arc::clone(&self.0) as Arc<dyn ResolvesServerCert>;
        let mut config = match auth {
            ClientAuth::None => builder.with_no_client_auth().with_cert_resolver(resolver),
            ClientAuth::AnyCertificate => {
                builder.with_client_cert_verifier(Verifier::new(None)).with_cert_resolver(resolver)
            }
            ClientAuth::Anchored(anchors) => {
                builder.with_client_cert_verifier(Verifier::new(Some(anchors))).with_cert_resolver(resolver)
            }
        };
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.alpn_protocols = Alpn::wire(alpn);
        Ok(Arc::new(config))
    }
}

impl fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerIdentity").finish_non_exhaustive()
    }
}

struct Resolver(ArcSwap<rustls::sign::CertifiedKey>);

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<rustls::sign::CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// Demands proof of possession always, and a chain to the anchors where there are any.
#[derive(Debug)]
struct Verifier {
    anchors: Option<Arc<AnchorStore>>,
}

impl Verifier {
    fn new(anchors: Option<Arc<AnchorStore>>) -> Arc<Self> {
        Arc::new(Self { anchors })
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let Some(anchors) = &self.anchors else { return Ok(ClientCertVerified::assertion()) };
        let chain =
            std::iter::once(end_entity).chain(intermediates).map(|der| der.clone().into_owned()).collect();
        let peer = PeerCertificates::new(chain).ok_or(CertificateError::BadEncoding)?;
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_secs());
        verify_client(&anchors.current(), &peer, now).map_err(alert)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// The TLS alert that tells a peer most about its certificate.
fn alert(error: VerifyError) -> CertificateError {
    match error {
        VerifyError::Expired => CertificateError::Expired,
        VerifyError::NotYetValid => CertificateError::NotValidYet,
        VerifyError::WrongUsage | VerifyError::AuthorityAsLeaf => CertificateError::InvalidPurpose,
        VerifyError::UnknownIssuer | VerifyError::AnchorsExpired => CertificateError::UnknownIssuer,
        VerifyError::ChainTooLong { .. } | VerifyError::Refused(_) => {
            CertificateError::Other(rustls::OtherError(Arc::new(error)))
        }
    }
}
