use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;

/// Makes aws-lc-rs the process's rustls provider. Idempotent; binaries and tests call it first, because libraries that
/// build a rustls configuration of their own (the Kubernetes client among them) ask for the process default.
pub fn install_crypto() {
    // An error means that a provider stands already: a second call, which is fine.
    let _already_installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// The provider that every configuration of this crate uses, whatever the process default is.
pub(crate) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

/// An application protocol that is offered or accepted in the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpn {
    /// HTTP/2.
    H2,
    /// HTTP/1.1.
    Http1,
}

impl Alpn {
    pub(crate) fn wire(protocols: &[Self]) -> Vec<Vec<u8>> {
        protocols
            .iter()
            .map(|protocol| match protocol {
                Self::H2 => b"h2".to_vec(),
                Self::Http1 => b"http/1.1".to_vec(),
            })
            .collect()
    }
}
