use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;

use crate::anchors::{Fingerprint, time_of};

/// The certificates a peer presented, with proof that it holds the leaf's key. Whether anybody trusts them is
/// [`verify_client`](crate::verify_client)'s question.
#[derive(Debug, Clone)]
pub struct PeerCertificates {
    chain: Vec<CertificateDer<'static>>,
    subject: Subject,
}

#[derive(Debug, Clone)]
struct Subject {
    common_name: Option<String>,
    organizations: Vec<String>,
    uris: Vec<String>,
    not_before: SystemTime,
    not_after: SystemTime,
}

impl PeerCertificates {
    /// Takes what the handshake gave; `None` when the leaf cannot be read.
    pub fn new(chain: Vec<CertificateDer<'static>>) -> Option<Self> {
        let subject = Subject::read(chain.first()?)?;
        Some(Self { chain, subject })
    }

    /// The chain of a finished handshake, if the peer presented one.
    pub fn of_connection(connection: &rustls::ServerConnection) -> Option<Self> {
        let chain = connection.peer_certificates()?;
        Self::new(chain.iter().map(|der| der.clone().into_owned()).collect())
    }

    /// The leaf in DER.
    pub fn leaf(&self) -> &[u8] {
        self.chain.first().map_or(&[], |leaf| leaf.as_ref())
    }

    pub(crate) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The leaf's fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.leaf())
    }

    /// The subject's common name (the user of a client certificate).
    pub fn common_name(&self) -> Option<&str> {
        self.subject.common_name.as_deref()
    }

    /// The subject's organizations (the user's groups).
    pub fn organizations(&self) -> &[String] {
        &self.subject.organizations
    }

    /// The URI subject alternative names.
    pub fn uris(&self) -> &[String] {
        &self.subject.uris
    }

    /// The planes that the leaf names. A name of that scheme which cannot be read is an error: such a leaf names
    /// something, and not what is asked for.
    pub fn planes(&self) -> Result<Vec<PlaneSan>, MalformedPlaneSan> {
        self.uris().iter().filter(|uri| uri.starts_with(PLANE_SCHEME)).map(|uri| uri.parse()).collect()
    }

    /// When the leaf becomes valid.
    pub fn not_before(&self) -> SystemTime {
        self.subject.not_before
    }

    /// When the leaf expires.
    pub fn not_after(&self) -> SystemTime {
        self.subject.not_after
    }
}

impl Subject {
    fn read(leaf: &[u8]) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(leaf).ok()?;
        let subject = certificate.subject();
        let names = certificate.subject_alternative_name().ok().flatten();
        Some(Self {
            common_name: subject
                .iter_common_name()
                .next()
                .and_then(|name| name.as_str().ok())
                .map(str::to_owned),
            organizations: subject
                .iter_organization()
                .filter_map(|name| name.as_str().ok())
                .map(str::to_owned)
                .collect(),
            uris: names
                .iter()
                .flat_map(|names| &names.value.general_names)
                .filter_map(|name| match name {
                    GeneralName::URI(uri) => Some((*uri).to_owned()),
                    _ => None,
                })
                .collect(),
            not_before: time_of(certificate.validity().not_before.timestamp()),
            not_after: time_of(certificate.validity().not_after.timestamp()),
        })
    }
}

const PLANE_SCHEME: &str = "openchoreo:plane:";

/// The name of a plane in a leaf's URI SAN: `openchoreo:plane:<planeType>:<planeID>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaneSan {
    /// The plane's type as the wire spells it, such as `buildplane`.
    pub plane_type: String,
    /// The plane's id.
    pub plane_id: String,
}

impl fmt::Display for PlaneSan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PLANE_SCHEME}{}:{}", self.plane_type, self.plane_id)
    }
}

/// A URI that begins like a plane's name and is none.
#[derive(Debug, thiserror::Error)]
#[error("the certificate carries a malformed plane name")]
pub struct MalformedPlaneSan;

impl FromStr for PlaneSan {
    type Err = MalformedPlaneSan;

    fn from_str(uri: &str) -> Result<Self, Self::Err> {
        let (plane_type, plane_id) =
            uri.strip_prefix(PLANE_SCHEME).and_then(|rest| rest.split_once(':')).ok_or(MalformedPlaneSan)?;
        if plane_type.is_empty() || plane_id.is_empty() || plane_id.contains(':') {
            return Err(MalformedPlaneSan);
        }
        Ok(Self { plane_type: plane_type.to_owned(), plane_id: plane_id.to_owned() })
    }
}
