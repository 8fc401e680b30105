//! Bearer tokens of ServiceAccounts: signed here, and believed only while what they were made for is there.
//!
//! A token is an ES256 JWT with the claims Kubernetes gives it. Its signature and times are checked by the library;
//! whether the ServiceAccount (and the Pod or Secret it is bound to) still is the one it was made for is asked of the
//! store at every use, so that deleting the account ends its tokens at once.

mod claims;
mod key;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, Header, Validation};
use sha2::{Digest as _, Sha256};

pub(crate) use claims::{Claims, Private, Reference};
pub use key::{TokenKey, TokenKeyError};

use crate::config::Config;
use crate::identity::Identity;
use crate::object;
use crate::server::Api;

/// Longest token that is looked at; ours are below 1 KiB.
const MAX_BYTES: usize = 8 << 10;
/// Clocks may be set back by this much under a token that was just made.
const LEEWAY_SECONDS: u64 = 10;
/// Verified tokens that are remembered, so that each request does not cost a signature check.
const MAX_REMEMBERED: usize = 4_096;

/// Why a token is not believed. Never told to its bearer, only to who asks for a review, and to the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the token is longer than {MAX_BYTES} bytes")]
    TooLong,
    #[error("the token is no valid JWT of this server: {0}")]
    Jwt(#[from] jsonwebtoken::errors::Error),
    #[error("the token was signed by another key")]
    OtherKey,
    #[error("the token is not for the audiences {wanted:?}, but for {held:?}")]
    Audience { wanted: Vec<String>, held: Vec<String> },
    #[error("the {what} the token was made for was deleted, or deleted and made again")]
    Gone { what: &'static str },
    #[error("the subject of the token is not its service account")]
    Subject,
}

/// Who a token speaks for, and which of the audiences asked for it is good for.
pub(crate) struct Verified {
    pub(crate) identity: Identity,
    pub(crate) audiences: Vec<String>,
}

/// Issues and verifies.
pub(crate) struct Tokens {
    key: TokenKey,
    issuer: String,
    audiences: Vec<String>,
    remembered: Mutex<HashMap<[u8; 32], Arc<Claims>>>,
}

impl Tokens {
    pub(crate) fn new(config: &Config) -> Result<Self, TokenKeyError> {
        let key = match &config.token_key {
            Some(key) => key.clone(),
            None => TokenKey::generate()?,
        };
        let (issuer, audiences) = (config.token_issuer.clone(), vec![config.token_issuer.clone()]);
        Ok(Self { key, issuer, audiences, remembered: Mutex::default() })
    }

    /// What a token is good for when nobody says otherwise: this server.
    pub(crate) fn audiences(&self) -> &[String] {
        &self.audiences
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    pub(crate) fn sign(&self, claims: &Claims) -> Result<String, Refusal> {
        let mut header = Header::new(Algorithm::ES256);
        // As Kubernetes: no `typ`.
        header.typ = None;
        header.kid = Some(self.key.id().to_owned());
        Ok(jsonwebtoken::encode(&header, claims, self.key.signing())?)
    }

    /// Believes a token, or says why not.
    pub(crate) fn verify(&self, api: &Api, token: &str, wanted: &[String]) -> Result<Verified, Refusal> {
        let claims = self.claims(token)?;
        let held = |audience: &&String| claims.aud.contains(audience);
        let audiences: Vec<String> = wanted.iter().filter(held).cloned().collect();
        if audiences.is_empty() {
            return Err(Refusal::Audience { wanted: wanted.to_vec(), held: claims.aud.clone() });
        }
        let bound = &claims.private;
        let user = format!("system:serviceaccount:{}:{}", bound.namespace, bound.serviceaccount.name);
        if claims.sub != user {
            return Err(Refusal::Subject);
        }
        bound.serviceaccount.is_live(api, "serviceaccounts", &bound.namespace, "ServiceAccount")?;
        if let Some(pod) = &bound.pod {
            pod.is_live(api, "pods", &bound.namespace, "Pod")?;
        }
        if let Some(secret) = &bound.secret {
            secret.is_live(api, "secrets", &bound.namespace, "Secret")?;
        }
        Ok(Verified { identity: claims.identity(user), audiences })
    }

    /// The claims of a token whose signature, issuer and times are right.
    fn claims(&self, token: &str) -> Result<Arc<Claims>, Refusal> {
        if token.len() > MAX_BYTES {
            return Err(Refusal::TooLong);
        }
        let digest: [u8; 32] = Sha256::digest(token).into();
        let now = Timestamp::now().as_second();
        let known = {
            let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
            remembered.get(&digest).filter(|claims| now < claims.exp).cloned()
        };
        if let Some(claims) = known {
            return Ok(claims);
        }
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_issuer(&[&self.issuer]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "sub", "aud"]);
        validation.validate_nbf = true;
        // Held against what is asked for in `verify`, which has to name those that fit.
        validation.validate_aud = false;
        validation.leeway = LEEWAY_SECONDS;
        let decoded = jsonwebtoken::decode::<Claims>(token, self.key.verifying(), &validation)?;
        if decoded.header.kid.as_deref() != Some(self.key.id()) {
            return Err(Refusal::OtherKey);
        }
        let claims = Arc::new(decoded.claims);
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= MAX_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(digest, Arc::clone(&claims));
        Ok(claims)
    }
}

impl Reference {
    /// The object is there, is the one that was meant, and is not on its way out.
    fn is_live(&self, api: &Api, plural: &str, namespace: &str, what: &'static str) -> Result<(), Refusal> {
        let found = api.store.get(&format!("/core/{plural}/{namespace}/{}", self.name));
        let found = found.and_then(|entry| object::decode(&entry).ok());
        match found {
            Some(object) if object::uid(&object) == self.uid && !object::is_deleting(&object) => Ok(()),
            _ => Err(Refusal::Gone { what }),
        }
    }
}
