//! The agent's certificate: Secrets `cluster-agent-ca` (create-only) and `cluster-agent-tls`, renewed in place.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};

use buildplane_tls::{
    Authority, CertifiedKey, IssueError, KeyError, LeafRequest, PeerCertificates, PlaneSan, TrustAnchors,
    verify_client,
};

use crate::config::Lifetimes;

const CA_SECRET: &str = "cluster-agent-ca";
const TLS_SECRET: &str = "cluster-agent-tls";
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const OURS: &str = "buildplane-agent";
/// Rounds against other writers before the next attempt is left to the caller's backoff.
const ROUNDS: usize = 5;

/// Why the agent has no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error("failed to read Secret {namespace}/{name}")]
    Read { namespace: String, name: &'static str, source: kube::Error },
    #[error("failed to write Secret {namespace}/{name}")]
    Write { namespace: String, name: &'static str, source: kube::Error },
    #[error("Secret {name} has no {key}")]
    Missing { name: &'static str, key: &'static str },
    #[error("Secret {CA_SECRET} holds no usable authority")]
    Authority(#[source] IssueError),
    #[error(
        "the authority in Secret {CA_SECRET} has expired; delete the Secrets {CA_SECRET} and {TLS_SECRET}, restart the agent and give its new ca.crt to the planes"
    )]
    AuthorityExpired,
    #[error("Secret {TLS_SECRET} holds no usable certificate")]
    Certificate(#[source] KeyError),
    #[error("failed to issue the agent's certificate")]
    Issue(#[source] IssueError),
    #[error("Secret {name} is being changed by others all the time")]
    Contended { name: &'static str },
}

/// Keeps the agent's certificate in its Secrets.
pub(crate) struct IdentityKeeper {
    secrets: Api<Secret>,
    namespace: String,
    plane: PlaneSan,
    lifetimes: Lifetimes,
    remembered: Remembered,
}

/// What the Secrets held last: a Secret that is deleted comes back as it was, and no connection notices.
#[derive(Default)]
struct Remembered {
    authority: Option<Arc<Authority>>,
    leaf: Option<CertifiedKey>,
    /// Whether somebody else issues the leaf.
    is_foreign: bool,
}

impl IdentityKeeper {
    pub(crate) fn new(client: Client, namespace: String, plane: PlaneSan, lifetimes: Lifetimes) -> Self {
        let remembered = Remembered::default();
        Self { secrets: Api::namespaced(client, &namespace), namespace, plane, lifetimes, remembered }
    }

    /// The certificate to present: what the Secret holds, made or renewed first where that is due.
    pub(crate) async fn current(&mut self, now: SystemTime) -> Result<CertifiedKey, IdentityError> {
        for _ in 0..ROUNDS {
            let kept = self.get(TLS_SECRET).await?;
            if let Some(secret) = kept.as_ref().filter(|secret| !is_ours(secret)) {
                // Somebody else issues it (cert-manager, or the owner by hand): it is used as it is.
                let leaf = certificate(secret)?;
                self.remembered.leaf = Some(leaf.clone());
                self.remembered.is_foreign = true;
                return Ok(leaf);
            }
            if let (None, true, Some(leaf)) = (&kept, self.remembered.is_foreign, &self.remembered.leaf) {
                // Who issues it also brings it back.
                return Ok(leaf.clone());
            }
            let authority = self.authority().await?;
            if authority.expiry() <= now {
                // Whatever it issued now would be refused, again and again.
                return Err(IdentityError::AuthorityExpired);
            }
            if let Some(certificate) = kept.as_ref().and_then(|kept| self.still_good(kept, &authority, now)) {
                self.remember(&authority, &certificate);
                return Ok(certificate);
            }
            let known = self.remembered.leaf.clone();
            let leaf = match known.filter(|leaf| self.is_good(leaf, &authority, now)) {
                Some(leaf) => leaf,
                None => authority
                    .issue(LeafRequest::plane(&self.plane, self.lifetimes.leaf))
                    .map_err(IdentityError::Issue)?,
            };
            if self.put(kept, &authority, &leaf).await? {
                tracing::info!(plane = %self.plane, "wrote the agent's certificate, Secret {TLS_SECRET}");
                self.remember(&authority, &leaf);
                return Ok(leaf);
            }
        }
        Err(IdentityError::Contended { name: TLS_SECRET })
    }

    /// The leaf in the Secret, unless it is unusable, another plane's, another authority's or near its end.
    fn still_good(&self, secret: &Secret, authority: &Authority, now: SystemTime) -> Option<CertifiedKey> {
        let kept = certificate(secret).ok()?;
        let anchors = authority.anchors().ok()?;
        let published = TrustAnchors::parse(value(secret, TLS_SECRET, "ca.crt").ok()?).ok()?;
        let good = published.fingerprints() == anchors.fingerprints() && self.is_good(&kept, authority, now);
        good.then_some(kept)
    }

    /// Whether a leaf is this plane's, this authority's and not near its end.
    fn is_good(&self, leaf: &CertifiedKey, authority: &Authority, now: SystemTime) -> bool {
        let Some(peer) = PeerCertificates::new(vec![leaf.cert_der().to_vec().into()]) else { return false };
        authority.anchors().is_ok_and(|anchors| verify_client(&anchors, &peer, now).is_ok())
            && peer.planes().is_ok_and(|planes| planes == [self.plane.clone()])
            && !leaf.wants_renewal(now)
    }

    fn remember(&mut self, authority: &Arc<Authority>, leaf: &CertifiedKey) {
        self.remembered = Remembered {
            authority: Some(Arc::clone(authority)),
            leaf: Some(leaf.clone()),
            is_foreign: false,
        };
    }

    /// The authority in the Secret. Who comes first makes it; everybody else reads the winner's. One that was there
    /// and is deleted comes back: every plane object that trusts it would be cut off otherwise.
    async fn authority(&self) -> Result<Arc<Authority>, IdentityError> {
        for _ in 0..ROUNDS {
            if let Some(secret) = self.get(CA_SECRET).await? {
                let (cert, key) =
                    (value(&secret, CA_SECRET, "tls.crt")?, value(&secret, CA_SECRET, "tls.key")?);
                return Authority::from_pem(&cert, &key).map(Arc::new).map_err(IdentityError::Authority);
            }
            let name = format!("openchoreo agent of {} {}", self.plane.plane_type, self.plane.plane_id);
            let made = match &self.remembered.authority {
                Some(known) => Arc::clone(known),
                None => Arc::new(
                    Authority::generate(&name, self.lifetimes.authority).map_err(IdentityError::Issue)?,
                ),
            };
            let data =
                [("ca.crt", made.cert_pem()), ("tls.crt", made.cert_pem()), ("tls.key", made.key_pem())];
            match self.secrets.create(&PostParams::default(), &secret(CA_SECRET, &data)).await {
                Ok(_created) => {
                    tracing::info!(
                        namespace = self.namespace,
                        "wrote the agent's authority, Secret {CA_SECRET}"
                    );
                    return Ok(made);
                }
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(source) => return Err(self.write_error(CA_SECRET, source)),
            }
        }
        Err(IdentityError::Contended { name: CA_SECRET })
    }

    /// Writes the leaf; false when somebody else wrote in between.
    async fn put(
        &self,
        kept: Option<Secret>,
        authority: &Authority,
        leaf: &CertifiedKey,
    ) -> Result<bool, IdentityError> {
        let data =
            [("ca.crt", authority.cert_pem()), ("tls.crt", leaf.cert_pem()), ("tls.key", leaf.key_pem())];
        let desired = secret(TLS_SECRET, &data);
        let written = match kept {
            None => self.secrets.create(&PostParams::default(), &desired).await,
            Some(mut kept) => {
                kept.data = desired.data;
                self.secrets.replace(TLS_SECRET, &PostParams::default(), &kept).await
            }
        };
        match written {
            Ok(_written) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(source) => Err(self.write_error(TLS_SECRET, source)),
        }
    }

    async fn get(&self, name: &'static str) -> Result<Option<Secret>, IdentityError> {
        let read = self.secrets.get_opt(name).await;
        read.map_err(|source| IdentityError::Read { namespace: self.namespace.clone(), name, source })
    }

    fn write_error(&self, name: &'static str, source: kube::Error) -> IdentityError {
        IdentityError::Write { namespace: self.namespace.clone(), name, source }
    }
}

fn is_ours(secret: &Secret) -> bool {
    secret.metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|by| by == OURS)
}

fn certificate(secret: &Secret) -> Result<CertifiedKey, IdentityError> {
    let (cert, key) = (value(secret, TLS_SECRET, "tls.crt")?, value(secret, TLS_SECRET, "tls.key")?);
    CertifiedKey::from_pem(&cert, &key).map_err(IdentityError::Certificate)
}

fn value(secret: &Secret, name: &'static str, key: &'static str) -> Result<String, IdentityError> {
    let bytes = secret.data.as_ref().and_then(|data| data.get(key));
    bytes
        .and_then(|bytes| String::from_utf8(bytes.0.clone()).ok())
        .ok_or(IdentityError::Missing { name, key })
}

fn secret(name: &str, data: &[(&str, &str)]) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(BTreeMap::from([(MANAGED_BY.to_owned(), OURS.to_owned())])),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(
            data.iter()
                .map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())))
                .collect(),
        ),
        ..Secret::default()
    }
}
