//! Judging the text of a `clientCA`. The gateway verifies agents; this only says early and in words what is wrong.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use x509_parser::pem::Pem;

/// A bundle larger than this is refused before it is read.
const MAX_BYTES: usize = 512 * 1024;
/// More certificates than this in one bundle are refused: each is tried on every connection.
const MAX_CERTIFICATES: usize = 64;

/// Certificates that can verify an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bundle {
    /// The certificates in canonical PEM.
    pub(super) pem: String,
    pub(super) certificates: Vec<Certificate>,
}

/// What is told of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Certificate {
    pub(super) subject: String,
    pub(super) not_after: Timestamp,
}

/// Why a text is no bundle of certificates. Never repeats the text: it may be a secret put into the wrong place.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BundleError {
    #[error("the text is empty")]
    Empty,
    #[error("the text has {0} bytes, more than {MAX_BYTES}")]
    TooLarge(usize),
    #[error("the text holds more than {MAX_CERTIFICATES} certificates")]
    TooMany,
    #[error("the text is neither PEM nor base64 of PEM: there is no BEGIN CERTIFICATE line in it")]
    NotPem,
    #[error("PEM block {0} is malformed")]
    Malformed(usize),
    #[error("PEM block {0} is no certificate; only certificates may stand there, never a private key")]
    NotACertificate(usize),
    #[error("certificate {0} cannot be read: it is not an X.509 certificate")]
    Unreadable(usize),
}

impl Bundle {
    /// Reads PEM or base64 of PEM, one certificate or several. Nothing is skipped.
    pub(super) fn parse(text: &[u8]) -> Result<Self, BundleError> {
        if text.len() > MAX_BYTES {
            return Err(BundleError::TooLarge(text.len()));
        }
        let text = text.trim_ascii();
        if text.is_empty() {
            return Err(BundleError::Empty);
        }
        let decoded;
        let text = if contains(text, b"-----BEGIN ") {
            text
        } else {
            let compact: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
            decoded = STANDARD.decode(compact).map_err(|_not_base64| BundleError::NotPem)?;
            decoded.as_slice()
        };
        if !contains(text, b"-----BEGIN ") {
            return Err(BundleError::NotPem);
        }
        let mut bundle = Self { pem: String::new(), certificates: Vec::new() };
        for (index, block) in Pem::iter_from_buffer(text).enumerate() {
            let number = index + 1;
            if number > MAX_CERTIFICATES {
                return Err(BundleError::TooMany);
            }
            let block = block.map_err(|_malformed| BundleError::Malformed(number))?;
            if block.label != "CERTIFICATE" {
                return Err(BundleError::NotACertificate(number));
            }
            bundle
                .certificates
                .push(Certificate::read(&block.contents).ok_or(BundleError::Unreadable(number))?);
            push_pem(&mut bundle.pem, &block.contents);
        }
        if bundle.certificates.is_empty() { Err(BundleError::NotPem) } else { Ok(bundle) }
    }

    /// The certificates that hold longest and shortest; a bundle of old and new holds as long as the new one.
    pub(super) fn last_not_after(&self) -> Option<Timestamp> {
        self.certificates.iter().map(|certificate| certificate.not_after).max()
    }
}

impl Certificate {
    fn read(der: &[u8]) -> Option<Self> {
        let (rest, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let not_after = Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()?;
        Some(Self { subject: certificate.subject().to_string(), not_after })
    }
}

fn contains(text: &[u8], needle: &[u8]) -> bool {
    text.windows(needle.len()).any(|window| window == needle)
}

fn push_pem(pem: &mut String, der: &[u8]) {
    let encoded = STANDARD.encode(der);
    pem.push_str("-----BEGIN CERTIFICATE-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        // Base64 is ASCII, so that every index is a boundary.
        let (line, further) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = further;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
}

#[cfg(test)]
mod tests;
