use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::{CertificateDer, TrustAnchor};
use sha2::{Digest as _, Sha256};

use crate::pem;

/// A bundle larger than this is refused before it is read.
const MAX_BYTES: usize = 512 * 1024;
/// More certificates than this in one bundle are refused: each is tried on every connection.
const MAX_CERTIFICATES: usize = 64;

/// Why a bundle of trusted certificates was refused. The text says what is wrong with the input, for the custom resource's
/// condition.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what each variant means")]
pub enum AnchorError {
    #[error("the certificate bundle is empty")]
    Empty,
    #[error("the certificate bundle has {size} bytes, more than {MAX_BYTES}")]
    TooLarge { size: usize },
    #[error("the certificate bundle holds more than {limit} certificates")]
    TooMany { limit: usize },
    #[error("the certificate bundle holds a NUL byte or is not text")]
    NotText,
    #[error("neither PEM nor base64 of PEM: no BEGIN CERTIFICATE line")]
    NotPem,
    #[error("line {line}: a {label} block stands in the bundle; only certificates may")]
    NotACertificate { line: usize, label: String },
    #[error("line {line}: the certificate block is not closed by END CERTIFICATE")]
    Unterminated { line: usize },
    #[error("line {line}: a PEM boundary stands where none may")]
    StrayBoundary { line: usize },
    #[error("line {line}: the certificate block is not base64")]
    BadBase64 { line: usize, source: base64::DecodeError },
    #[error("certificate {number} of the bundle is not an X.509 certificate: {reason}")]
    BadCertificate { number: usize, reason: String },
}

/// The SHA-256 of a certificate; shown in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(crate) fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// One trusted certificate, taken apart once.
#[derive(Debug, Clone)]
pub(crate) struct Anchor {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    /// Only a CA certificate may vouch for others; any other is trusted as itself alone.
    pub(crate) issuer: Option<TrustAnchor<'static>>,
}

/// The certificates that one tenant, or one listener, trusts.
#[derive(Debug, Clone)]
pub struct TrustAnchors {
    anchors: Vec<Anchor>,
}

impl TrustAnchors {
    /// Reads a PEM bundle, or base64 of one. Nothing is skipped: any block that is not a sound certificate is an error.
    pub fn parse(input: impl AsRef<[u8]>) -> Result<Self, AnchorError> {
        let input = input.as_ref();
        if input.len() > MAX_BYTES {
            return Err(AnchorError::TooLarge { size: input.len() });
        }
        let text = text(input)?;
        let decoded;
        let text = if text.contains("-----") {
            text
        } else {
            let compact: String = text.split_ascii_whitespace().collect();
            decoded = STANDARD.decode(compact).map_err(|_not_base64| AnchorError::NotPem)?;
            self::text(&decoded)?
        };
        if !text.contains("-----BEGIN ") {
            return Err(AnchorError::NotPem);
        }
        Self::from_ders(pem::certificates(text, MAX_CERTIFICATES)?)
    }

    fn from_ders(ders: Vec<Vec<u8>>) -> Result<Self, AnchorError> {
        let mut anchors: Vec<Anchor> = Vec::with_capacity(ders.len());
        for (index, der) in ders.into_iter().enumerate() {
            let anchor = Anchor::read(der)
                .map_err(|reason| AnchorError::BadCertificate { number: index + 1, reason })?;
            if !anchors.iter().any(|known| known.der == anchor.der) {
                anchors.push(anchor);
            }
        }
        if anchors.is_empty() { Err(AnchorError::Empty) } else { Ok(Self { anchors }) }
    }

    /// The fingerprint of each certificate, in the bundle's order.
    pub fn fingerprints(&self) -> Vec<Fingerprint> {
        self.anchors.iter().map(|anchor| Fingerprint::of(&anchor.der)).collect()
    }

    /// When the last certificate of the bundle expires.
    pub fn not_after(&self) -> SystemTime {
        self.anchors.iter().map(|anchor| anchor.not_after).max().unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// The next moment after `now` at which one of the certificates begins or ends to be valid.
    pub fn next_change(&self, now: SystemTime) -> Option<SystemTime> {
        let times = self.anchors.iter().flat_map(|anchor| [anchor.not_before, anchor.not_after]);
        times.filter(|time| *time >= now).min()
    }

    /// Whether both bundles hold one and the same certificate.
    pub fn shares_with(&self, other: &Self) -> bool {
        self.anchors.iter().any(|anchor| other.anchors.iter().any(|known| known.der == anchor.der))
    }

    /// The bundle in canonical PEM.
    pub fn pem(&self) -> String {
        self.anchors.iter().map(|anchor| pem::encode(&anchor.der)).collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Anchor> {
        self.anchors.iter()
    }
}

fn text(input: &[u8]) -> Result<&str, AnchorError> {
    let text = std::str::from_utf8(input).map_err(|_not_utf8| AnchorError::NotText)?;
    if text.contains('\0') {
        return Err(AnchorError::NotText);
    }
    let text = text.trim();
    if text.is_empty() { Err(AnchorError::Empty) } else { Ok(text) }
}

impl Anchor {
    fn read(der: Vec<u8>) -> Result<Self, String> {
        let der = CertificateDer::from(der);
        let (rest, certificate) =
            x509_parser::parse_x509_certificate(&der).map_err(|error| error.to_string())?;
        if !rest.is_empty() {
            return Err("bytes follow the certificate".to_owned());
        }
        let not_before = time_of(certificate.validity().not_before.timestamp());
        let not_after = time_of(certificate.validity().not_after.timestamp());
        let issuer = is_ca(&certificate)
            .then(|| webpki::anchor_from_trusted_cert(&der).map(|anchor| anchor.to_owned()))
            .transpose()
            .map_err(|error| error.to_string())?;
        Ok(Self { der, not_before, not_after, issuer })
    }

    pub(crate) fn is_valid_at(&self, now: SystemTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

fn is_ca(certificate: &x509_parser::certificate::X509Certificate<'_>) -> bool {
    let ca = certificate.basic_constraints().ok().flatten().is_some_and(|found| found.value.ca);
    let may_sign = certificate.key_usage().ok().flatten().is_none_or(|found| found.value.key_cert_sign());
    ca && may_sign
}

/// A certificate's time as a `SystemTime`; what lies before 1970 is taken as 1970.
pub(crate) fn time_of(seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// Trust anchors of a listener that can be replaced while it serves.
#[derive(Debug)]
pub struct AnchorStore(ArcSwap<TrustAnchors>);

impl AnchorStore {
    /// A store that holds `anchors`.
    pub fn new(anchors: TrustAnchors) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(anchors)))
    }

    /// From now on new connections are judged by `anchors`.
    pub fn replace(&self, anchors: TrustAnchors) {
        self.0.store(Arc::new(anchors));
    }

    /// What holds now.
    pub fn current(&self) -> Arc<TrustAnchors> {
        self.0.load_full()
    }
}
