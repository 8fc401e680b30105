use std::fmt;

use super::escape;

/// A longer path is refused.
const MAX_LENGTH: usize = 8 * 1024;

/// Why a path has no canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what each variant means")]
pub enum PathError {
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    #[error("the path is longer than {MAX_LENGTH} bytes")]
    TooLong,
    #[error("the path has an empty segment")]
    EmptySegment,
    #[error("the path has a segment of dots, or one that ends in a dot")]
    Dots,
    #[error("the path has a percent sign that begins no escape")]
    BadEscape,
    #[error("the path escapes a character that no path of the API holds (0x{0:02x})")]
    EscapedByte(u8),
    #[error("the path holds a character that must not stand in one (0x{0:02x})")]
    Byte(u8),
}

/// A path in the one form in which it is judged and sent: each segment decoded as far as that is safe, without empty
/// or dot segments. What would be read differently by somebody behind us is refused rather than repaired.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CanonicalPath(String);

impl CanonicalPath {
    /// Brings a raw path (as it stands in the request line) into its canonical form.
    pub fn parse(raw: &str) -> Result<Self, PathError> {
        if raw.len() > MAX_LENGTH {
            return Err(PathError::TooLong);
        }
        let rest = raw.strip_prefix('/').ok_or(PathError::NotAbsolute)?;
        if rest.is_empty() {
            return Ok(Self("/".to_owned()));
        }
        let mut canonical = String::with_capacity(raw.len());
        for segment in rest.split('/') {
            canonical.push('/');
            let begin = canonical.len();
            decode(segment, &mut canonical)?;
            match canonical.get(begin..) {
                None | Some("") => return Err(PathError::EmptySegment),
                Some(segment) if segment.ends_with('.') => return Err(PathError::Dots),
                Some(_) => {}
            }
        }
        Ok(Self(canonical))
    }

    /// The path as text, beginning with a slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments; none for `/`.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').skip(1).filter(|segment| !segment.is_empty())
    }
}

impl fmt::Display for CanonicalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn decode(segment: &str, canonical: &mut String) -> Result<(), PathError> {
    let bytes = segment.as_bytes();
    let mut index = 0;
    while let Some(&byte) = bytes.get(index) {
        if byte == b'%' {
            let decoded = bytes.get(index + 1..).and_then(escape).ok_or(PathError::BadEscape)?;
            match decoded {
                // Decoded, these would begin a query or a fragment: they stay as they are.
                b'?' => canonical.push_str("%3F"),
                b'#' => canonical.push_str("%23"),
                plain if is_plain(plain) => canonical.push(char::from(plain)),
                other => return Err(PathError::EscapedByte(other)),
            }
            index += 3;
        } else if is_plain(byte) {
            canonical.push(char::from(byte));
            index += 1;
        } else {
            return Err(PathError::Byte(byte));
        }
    }
    Ok(())
}

/// RFC 3986's pchar without `;`, which some servers cut a segment at.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_form() {
        let same: &[(&str, &str)] = &[
            ("/", "/"),
            ("/api", "/api"),
            (
                "/api/v1/namespaces/openchoreo-ci-a/pods/x/log",
                "/api/v1/namespaces/openchoreo-ci-a/pods/x/log",
            ),
            ("/api/v1/namespaces/%6b%75be-system/secrets", "/api/v1/namespaces/kube-system/secrets"),
            ("/apis/rbac/roles/system%3Aadmin", "/apis/rbac/roles/system:admin"),
            ("/apis/rbac/roles/system:admin", "/apis/rbac/roles/system:admin"),
            ("/api/v1/x%3fwatch%3dtrue", "/api/v1/x%3Fwatch=true"),
            ("/api/v1/x%23y", "/api/v1/x%23y"),
            ("/a.b/c..d/.e", "/a.b/c..d/.e"),
        ];
        for (raw, canonical) in same {
            assert_eq!(CanonicalPath::parse(raw).unwrap().as_str(), *canonical, "{raw}");
            let again = CanonicalPath::parse(canonical).unwrap();
            assert_eq!(again.as_str(), *canonical, "canonical is a fixed point");
        }
    }

    #[test]
    fn what_others_read_differently_is_refused() {
        for raw in [
            "",
            "api",
            "//api/v1",
            "/api//v1",
            "/api/v1/",
            "/./api",
            "/api/v1/../v1/secrets",
            "/api/v1/%2e%2e/v1",
            "/api/v1/%2E%2e/v1",
            "/api/v1/.%2e/v1",
            "/api/v1/%252e%252e/v1",
            "/api/v1/namespaces%2fkube-system",
            "/api/v1/namespaces%2Fkube-system",
            "/api/v1/namespaces%252fkube-system",
            "/api/v1/namespaces%5ckube-system",
            "/api/v1/namespaces\\kube-system",
            "/api/v1/namespaces;a=b/x",
            "/api/v1/namespaces%3ba=b/x",
            "/api/v1/secrets%00",
            "/api/v1/secrets%0a",
            "/api/v1/secrets%20",
            "/api/v1/secrets ",
            "/api/v1/secrets.",
            "/api/v1/secrets%2e",
            "/api/v1/...",
            "/api/v1/%c0%ae%c0%ae/v1",
            "/api/v1/%u002e%u002e/v1",
            "/api/v1/\u{ff0e}\u{ff0e}/v1",
            "/api/v1/%ef%bc%8e/v1",
            "/api/v1/%",
            "/api/v1/%4",
            "/api/v1/%zz",
            "/api/v1/%+4",
            "/api/v1/\u{7f}",
            "/api/v1/a|b",
            "/api/v1/\"",
        ] {
            assert!(CanonicalPath::parse(raw).is_err(), "{raw}");
        }
        assert_eq!(CanonicalPath::parse(&format!("/{}", "a".repeat(9000))), Err(PathError::TooLong));
    }

    #[test]
    fn case_is_kept() {
        let path = CanonicalPath::parse("/api/v1/NameSpaces/Kube-System").unwrap();
        assert_eq!(path.segments().collect::<Vec<_>>(), ["api", "v1", "NameSpaces", "Kube-System"]);
    }
}
