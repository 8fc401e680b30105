//! The key that tokens are signed with.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, EncodingKey};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum TokenKeyError {
    /// The machine gave no randomness.
    #[error("failed to generate a key for tokens")]
    Generate,
    /// The text is not what [`TokenKey::to_pem`] wrote.
    #[error(
        "failed to read the key for tokens: a PKCS #8 private key of the curve P-256 is expected, in PEM"
    )]
    Read,
}

/// An ECDSA P-256 key that signs the tokens of ServiceAccounts. Whoever holds it can be any of them.
#[derive(Clone)]
pub struct TokenKey {
    inner: Arc<Inner>,
}

struct Inner {
    pkcs8: Vec<u8>,
    id: String,
    signing: EncodingKey,
    verifying: DecodingKey,
}

impl TokenKey {
    /// A new key.
    pub fn generate() -> Result<Self, TokenKeyError> {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| TokenKeyError::Generate)?;
        Self::from_pkcs8(pkcs8.as_ref())
    }

    /// A key out of its PEM.
    pub fn from_pem(pem: &str) -> Result<Self, TokenKeyError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| TokenKeyError::Read)?;
        Self::from_pkcs8(der.secret_pkcs8_der())
    }

    fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, TokenKeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)
            .map_err(|_| TokenKeyError::Read)?;
        let public = pair.public_key().as_ref();
        let inner = Inner {
            pkcs8: pkcs8.to_vec(),
            id: URL_SAFE_NO_PAD.encode(Sha256::digest(public)),
            signing: EncodingKey::from_ec_der(pkcs8),
            verifying: DecodingKey::from_ec_der(public),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The key as PEM, to be kept where only the server's owner reads.
    pub fn to_pem(&self) -> String {
        let body = STANDARD.encode(&self.inner.pkcs8);
        let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
        for line in body.as_bytes().chunks(64) {
            pem.extend(line.iter().copied().map(char::from));
            pem.push('\n');
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        pem
    }

    /// Names the key in the header of its tokens.
    pub(crate) fn id(&self) -> &str {
        &self.inner.id
    }

    pub(crate) fn signing(&self) -> &EncodingKey {
        &self.inner.signing
    }

    pub(crate) fn verifying(&self) -> &DecodingKey {
        &self.inner.verifying
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey").field("id", &self.inner.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_from_its_pem_and_nothing_else_is_one() {
        let key = TokenKey::generate().unwrap();
        let pem = key.to_pem();
        assert_eq!(TokenKey::from_pem(&pem).unwrap().id(), key.id());
        assert_ne!(TokenKey::generate().unwrap().id(), key.id());
        assert!(!format!("{key:?}").contains(&pem[30..60]));
        for bad in ["", "garbage", &pem[..80], &pem.replace("PRIVATE", "PUBLIC")] {
            assert!(TokenKey::from_pem(bad).is_err(), "{bad}");
        }
    }
}
