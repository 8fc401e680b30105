//! Names made from parts, as the `oc_…` functions make them.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// Hexadecimal digits of the hash that ends a name.
const HASH_LENGTH: usize = 8;
/// Longest Kubernetes resource name.
const MAX_NAME: usize = 253;
/// Longest DNS label, and so longest name of many kinds.
const MAX_LABEL: usize = 63;

/// A name from parts: each is made fit for a DNS subdomain and shortened so that all have room, a hash of the
/// original parts keeps different parts apart. `None` without parts, or with more than fit.
pub fn generate_name(parts: &[&str]) -> Option<String> {
    joined(parts, MAX_NAME, true)
}

/// As [`generate_name`], for a DNS label: at most 63 characters and no dots.
pub fn dns_label(parts: &[&str]) -> Option<String> {
    joined(parts, MAX_LABEL, false)
}

/// FNV-1a over the bytes, 32 bits, as 8 hexadecimal digits.
pub fn short_hash(text: &str) -> String {
    let hash =
        text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("{hash:08x}")
}

fn joined(parts: &[&str], limit: usize, dots: bool) -> Option<String> {
    let n_separators = parts.len().checked_sub(1)?;
    let budget = limit.checked_sub(HASH_LENGTH + n_separators + 1)?;
    let (share, n_longer) = (budget / parts.len(), budget % parts.len());
    let kept: Vec<String> = parts
        .iter()
        .enumerate()
        .map(|(index, part)| {
            let mut part = clean(part, dots);
            // Only ASCII is left, so every byte is a character.
            part.truncate(share + usize::from(index < n_longer));
            part
        })
        .collect();
    let name = format!("{}-{}", kept.join("-"), hash(&parts.join("-")));
    Some(name.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned())
}

fn clean(part: &str, dots: bool) -> String {
    let replaced: String = part
        .chars()
        .flat_map(char::to_lowercase)
        .map(|c| if c.is_ascii_alphanumeric() || (dots && c == '.') { c } else { '-' })
        .collect();
    replaced.trim_matches(['-', '.']).to_owned()
}

fn hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(HASH_LENGTH / 2).fold(String::new(), |mut digits, byte| {
        // Writing to a String does not fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_upstream() {
        for (parts, expected) in [
            (&["Hello World!"][..], "hello-world-7f83b165"),
            (&["my-app", "v1.2.3"], "my-app-v1.2.3-4f878dd8"),
            (
                &["front", "-", "end", "-", "prod", "-", "us-west", "-", "99"],
                "front--end--prod--us-west--99-d5cf2aae",
            ),
            (&["payment-service", "-", "v2.0"], "payment-service--v2.0-38fcb255"),
            (&["project", "component"], "project-component-932d1646"),
            (&["My_Project$", "Component@Name"], "my-project-component-name-40314333"),
            (&["", ""], "3973e022"),
            (&["!!!", "###"], "606b424e"),
            (&["project.name", "component.name"], "project.name-component.name-851db5b2"),
        ] {
            assert_eq!(generate_name(parts).as_deref(), Some(expected), "{parts:?}");
        }
    }

    #[test]
    fn labels_match_upstream() {
        for (parts, expected) in [
            (
                &["very-long-endpoint-name", "very-long-component-name", "very-long-env-name"][..],
                "very-long-endpoint-very-long-compone-very-long-env-nam-23ab5d45",
            ),
            (&["http", "my-service", "prod", "default"], "http-my-service-prod-default-800d0dd2"),
            (&["http", "payment-service", "prod"], "http-payment-service-prod-779ef0c2"),
            (&["My App!"], "my-app-6e06c02a"),
        ] {
            assert_eq!(dns_label(parts).as_deref(), Some(expected), "{parts:?}");
        }
    }

    #[test]
    fn names_are_always_valid() {
        assert_eq!(generate_name(&[]), None);
        assert_eq!(dns_label(&["a"; 80]), None);
        let label = dns_label(&["größe.ß", "東京"]).unwrap();
        assert!(
            label.len() <= 63
                && label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        );
    }

    #[test]
    fn hashes_match_upstream() {
        for (text, expected) in
            [("hello world", "d58b3fa7"), ("test data", "578fbe87"), ("test", "afd071e5"), ("", "811c9dc5")]
        {
            assert_eq!(short_hash(text), expected);
        }
    }
}
