use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::anchors::{TrustAnchors, time_of};
use crate::crypto::provider;
use crate::peer::PeerCertificates;

/// Why a certificate and key could not be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what each variant means")]
pub enum KeyError {
    #[error("failed to read the certificate chain")]
    Chain(#[source] crate::AnchorError),
    #[error("failed to read the private key")]
    Key(#[source] rustls_pki_types::pem::Error),
    #[error("the private key is not the certificate's, or of an unsupported kind")]
    Mismatch(#[source] rustls::Error),
    #[error("the leaf is not an X.509 certificate: {reason}")]
    Leaf { reason: String },
}

/// A certificate chain with its private key, known to belong together.
#[derive(Clone)]
pub struct CertifiedKey {
    chain_pem: String,
    key_pem: String,
    not_before: SystemTime,
    not_after: SystemTime,
    inner: Arc<rustls::sign::CertifiedKey>,
}

impl CertifiedKey {
    /// Reads a chain (leaf first) and its key; both must belong together.
    pub fn from_pem(chain_pem: &str, key_pem: &str) -> Result<Self, KeyError> {
        let chain: Vec<CertificateDer<'static>> = TrustAnchors::parse(chain_pem)
            .map_err(KeyError::Chain)?
            .iter()
            .map(|certificate| certificate.der.clone())
            .collect();
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(KeyError::Key)?;
        let inner =
            rustls::sign::CertifiedKey::from_der(chain, key, provider()).map_err(KeyError::Mismatch)?;
        let leaf = inner.cert.first().ok_or(KeyError::Chain(crate::AnchorError::Empty))?;
        let (_, parsed) = x509_parser::parse_x509_certificate(leaf)
            .map_err(|error| KeyError::Leaf { reason: error.to_string() })?;
        let (not_before, not_after) = (
            time_of(parsed.validity().not_before.timestamp()),
            time_of(parsed.validity().not_after.timestamp()),
        );
        Ok(Self {
            chain_pem: chain_pem.to_owned(),
            key_pem: key_pem.to_owned(),
            not_before,
            not_after,
            inner: Arc::new(inner),
        })
    }

    /// The chain and the key as PEM.
    pub fn to_pem(&self) -> (String, String) {
        (self.chain_pem.clone(), self.key_pem.clone())
    }

    /// The chain as PEM, leaf first.
    pub fn cert_pem(&self) -> &str {
        &self.chain_pem
    }

    /// The private key as PEM (PKCS#8).
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// When the leaf expires.
    pub fn expiry(&self) -> SystemTime {
        self.not_after
    }

    /// When the leaf becomes valid.
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// Whether two thirds of the leaf's life are over, which is when it should be renewed.
    pub fn wants_renewal(&self, now: SystemTime) -> bool {
        let life = self.not_after.duration_since(self.not_before).unwrap_or_default();
        now >= self.not_before + life / 3 * 2
    }

    /// The chain as the other end of a handshake sees it.
    pub fn presented(&self) -> Option<PeerCertificates> {
        PeerCertificates::new(self.inner().cert.clone())
    }

    /// The leaf in DER.
    pub fn cert_der(&self) -> &[u8] {
        self.inner.cert.first().map_or(&[], |leaf| leaf.as_ref())
    }

    pub(crate) fn inner(&self) -> Arc<rustls::sign::CertifiedKey> {
        Arc::clone(&self.inner)
    }
}

impl fmt::Debug for CertifiedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertifiedKey")
            .field("leaf", &crate::Fingerprint::of(self.cert_der()))
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}
