use std::time::{Duration, SystemTime};

use rustls_pki_types::{TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use crate::anchors::{Fingerprint, TrustAnchors, time_of};
use crate::crypto::provider;
use crate::peer::PeerCertificates;

/// A chain longer than this is refused unread: each link costs signature checks.
const MAX_CHAIN: usize = 8;

/// Why a peer is not trusted by a set of anchors.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what each variant means")]
pub enum VerifyError {
    #[error("the certificate is not signed by a trusted CA")]
    UnknownIssuer,
    #[error("the certificate has expired")]
    Expired,
    #[error("the certificate is not valid yet")]
    NotYetValid,
    #[error("every trusted CA certificate has expired or is not valid yet")]
    AnchorsExpired,
    #[error("the certificate is not meant for client authentication")]
    WrongUsage,
    #[error("a CA certificate cannot be used as a client certificate")]
    AuthorityAsLeaf,
    #[error("the certificate chain has {length} certificates, more than {MAX_CHAIN}")]
    ChainTooLong { length: usize },
    #[error("the certificate was refused")]
    Refused(#[source] webpki::Error),
}

/// Proof that a peer was verified against one set of anchors.
#[derive(Debug, Clone)]
pub struct VerifiedPeer {
    /// The leaf's fingerprint.
    pub fingerprint: Fingerprint,
    /// When the first certificate of the verified path expires: the leaf's end, or that of the CA that vouches for it.
    pub valid_until: SystemTime,
}

/// Judges a peer against one set of anchors: chain, validity, client authentication. A leaf that is itself an entry of
/// the bundle counts as well; its validity and usage are checked all the same.
pub fn verify_client(
    anchors: &TrustAnchors,
    peer: &PeerCertificates,
    now: SystemTime,
) -> Result<VerifiedPeer, VerifyError> {
    if peer.chain().len() > MAX_CHAIN {
        return Err(VerifyError::ChainTooLong { length: peer.chain().len() });
    }
    let verified = |valid_until| VerifiedPeer { fingerprint: peer.fingerprint(), valid_until };
    if anchors.iter().any(|anchor| anchor.issuer.is_none() && anchor.der.as_ref() == peer.leaf()) {
        return check_itself(peer, now).map(|()| verified(peer.not_after()));
    }
    let issuers: Vec<TrustAnchor<'_>> = anchors
        .iter()
        .filter(|anchor| anchor.is_valid_at(now))
        .filter_map(|anchor| anchor.issuer.clone())
        .collect();
    if issuers.is_empty() && !anchors.iter().any(|anchor| anchor.is_valid_at(now)) {
        return Err(VerifyError::AnchorsExpired);
    }
    let Some((leaf, intermediates)) = peer.chain().split_first() else {
        return Err(VerifyError::UnknownIssuer);
    };
    let leaf = EndEntityCert::try_from(leaf).map_err(refused)?;
    let time =
        UnixTime::since_unix_epoch(now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO));
    let algorithms = provider().signature_verification_algorithms.all;
    let path = leaf
        .verify_for_usage(algorithms, &issuers, intermediates, time, KeyUsage::client_auth(), None, None)
        .map_err(refused)?;
    let vouching = anchors.iter().filter(|anchor| anchor.issuer.as_ref() == Some(path.anchor()));
    let ends = intermediates_end(&path).chain(vouching.map(|anchor| anchor.not_after).max());
    Ok(verified(ends.fold(peer.not_after(), SystemTime::min)))
}

fn intermediates_end<'p>(path: &'p VerifiedPath<'p>) -> impl Iterator<Item = SystemTime> + 'p {
    path.intermediate_certificates().filter_map(|certificate| {
        let der = certificate.der();
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).ok()?;
        Some(time_of(parsed.validity().not_after.timestamp()))
    })
}

/// What a chain check would have judged about a leaf that is trusted as itself.
fn check_itself(peer: &PeerCertificates, now: SystemTime) -> Result<(), VerifyError> {
    if now < peer.not_before() {
        return Err(VerifyError::NotYetValid);
    }
    if now > peer.not_after() {
        return Err(VerifyError::Expired);
    }
    let (_, leaf) =
        x509_parser::parse_x509_certificate(peer.leaf()).map_err(|_unreadable| VerifyError::UnknownIssuer)?;
    match leaf.extended_key_usage() {
        Ok(None) => Ok(()),
        Ok(Some(usage)) if usage.value.client_auth || usage.value.any => Ok(()),
        Ok(Some(_)) | Err(_) => Err(VerifyError::WrongUsage),
    }
}

fn refused(error: webpki::Error) -> VerifyError {
    match error {
        webpki::Error::UnknownIssuer => VerifyError::UnknownIssuer,
        webpki::Error::CertExpired { .. } => VerifyError::Expired,
        webpki::Error::CertNotValidYet { .. } => VerifyError::NotYetValid,
        webpki::Error::RequiredEkuNotFoundContext(_) => VerifyError::WrongUsage,
        webpki::Error::CaUsedAsEndEntity => VerifyError::AuthorityAsLeaf,
        other => VerifyError::Refused(other),
    }
}
