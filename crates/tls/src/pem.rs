//! A strict reader of PEM bundles that hold certificates and nothing else.
//!
//! General readers skip what they do not know, which would make a half-broken bundle silently partial: a rotation that
//! lost its second certificate must be an error, not an outage weeks later.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::anchors::AnchorError;

const CERTIFICATE: &str = "CERTIFICATE";

/// The DER bytes of every certificate block in `text`; explanatory text between blocks is allowed, as RFC 7468 has it.
pub(crate) fn certificates(text: &str, limit: usize) -> Result<Vec<Vec<u8>>, AnchorError> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, raw) in text.lines().enumerate() {
        let line = raw.trim();
        let number = index + 1;
        if let Some(boundary) = line.strip_prefix("-----") {
            let boundary = boundary.strip_suffix("-----").unwrap_or(boundary);
            match (boundary.split_once(' '), open.take()) {
                (Some(("BEGIN", CERTIFICATE)), None) => {
                    if found.len() == limit {
                        return Err(AnchorError::TooMany { limit });
                    }
                    open = Some((number, String::new()));
                }
                (Some(("BEGIN", label)), None) => {
                    return Err(AnchorError::NotACertificate { line: number, label: bounded(label) });
                }
                (Some(("END", CERTIFICATE)), Some((begin, body))) => {
                    let der = STANDARD
                        .decode(body)
                        .map_err(|source| AnchorError::BadBase64 { line: begin, source })?;
                    found.push(der);
                }
                (_, Some((begin, _))) => return Err(AnchorError::Unterminated { line: begin }),
                (_, None) => return Err(AnchorError::StrayBoundary { line: number }),
            }
        } else if let Some((_, body)) = open.as_mut() {
            body.push_str(line);
        }
    }
    match open {
        Some((line, _)) => Err(AnchorError::Unterminated { line }),
        None => Ok(found),
    }
}

/// One certificate as PEM with the line length of RFC 7468.
pub(crate) fn encode(der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut pem = String::with_capacity(encoded.len() + encoded.len() / 64 + 60);
    pem.push_str("-----BEGIN CERTIFICATE-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = tail;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

/// A label from outside, short enough to be shown.
fn bounded(label: &str) -> String {
    label.chars().filter(|c| !c.is_control()).take(40).collect()
}
