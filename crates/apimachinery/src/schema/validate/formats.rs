//! The string formats that Kubernetes checks; an unknown format says nothing.

use std::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::names;

pub(super) fn is_valid(format: &str, text: &str) -> bool {
    match format {
        "date-time" | "datetime" => text.parse::<jiff::Timestamp>().is_ok() && has_zone(text),
        "date" => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
        "duration" => is_duration(text),
        "byte" => text.is_empty() || STANDARD.decode(text.replace(['\r', '\n'], "")).is_ok(),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "mac" => is_mac(text),
        "uuid" | "uuid3" | "uuid4" | "uuid5" => is_uuid(format, text),
        "hostname" => is_hostname(text),
        "email" => is_email(text),
        "uri" => is_uri(text),
        "k8s-short-name" => names::dns1123_label(text).is_empty(),
        "k8s-long-name" => names::dns1123_subdomain(text).is_empty(),
        _ => true,
    }
}

fn has_zone(text: &str) -> bool {
    text.len() > 10 && (text.ends_with(['Z', 'z']) || text[10..].contains(['+', '-']))
}

/// Go's duration (`1h2m3.5s`) or a number with a unit in words, as the OpenAPI library reads it.
fn is_duration(text: &str) -> bool {
    let text = text.trim_start_matches(['+', '-']);
    if text == "0" {
        return true;
    }
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        if digits == 0 || rest[..digits].parse::<f64>().is_err() {
            return false;
        }
        rest = rest[digits..].trim_start();
        let unit = rest.find(|c: char| c.is_ascii_digit() || c.is_whitespace()).unwrap_or(rest.len());
        if !UNITS.contains(&&rest[..unit]) {
            return false;
        }
        rest = rest[unit..].trim_start();
    }
    !text.is_empty()
}

const UNITS: &[&str] = &[
    "ns", "nano", "us", "µs", "μs", "micro", "ms", "milli", "s", "sec", "second", "seconds", "m", "min",
    "minute", "minutes", "h", "hr", "hour", "hours", "d", "day", "days", "w", "wk", "week", "weeks",
];

fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let Ok(length) = length.parse::<u8>() else { return false };
    (address.parse::<Ipv4Addr>().is_ok() && length <= 32)
        || (address.parse::<Ipv6Addr>().is_ok() && length <= 128)
}

fn is_mac(text: &str) -> bool {
    let hex = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
    [':', '-'].into_iter().any(|separator| {
        let parts: Vec<&str> = text.split(separator).collect();
        matches!(parts.len(), 6 | 8 | 20) && parts.into_iter().all(hex)
    })
}

/// Version and variant are checked where the format names a version.
fn is_uuid(format: &str, text: &str) -> bool {
    let hex: Vec<u8> = text.bytes().filter(|b| *b != b'-').collect();
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    let shaped = hex.len() == 32 && hex.iter().all(u8::is_ascii_hexdigit) && groups.len() <= 5;
    let (Some(version), Some(variant)) = (hex.get(12), hex.get(16)) else { return false };
    let has_variant = b"89abAB".contains(variant);
    shaped
        && match format {
            "uuid3" => *version == b'3',
            "uuid4" => *version == b'4' && has_variant,
            "uuid5" => *version == b'5' && has_variant,
            _ => true,
        }
}

/// One label with at most one inner hyphen after its first character, or labels ending in one of letters alone:
/// neither an address nor a trailing dot, but any letter and symbol, as upstream reads RFC 1034.
fn is_hostname(text: &str) -> bool {
    let is_symbol = |c: char| "$+<=>^`|~".contains(c);
    let is_part = |c: char| c.is_ascii_digit() || c.is_alphabetic() || is_symbol(c);
    let fits = |label: &str, max: usize| label.chars().count() <= max;
    let starts_well = |label: &str| label.starts_with(is_part);
    match text.rsplit_once('.') {
        None => {
            let rest = text.get(text.chars().next().map_or(0, char::len_utf8)..).unwrap_or_default();
            let rest = rest.strip_prefix('-').unwrap_or(rest);
            starts_well(text) && fits(rest, 62) && rest.chars().all(is_part)
        }
        Some((labels, last)) => {
            text.len() <= 255
                && last.chars().count() >= 2
                && fits(last, 63)
                && last.chars().all(char::is_alphabetic)
                && labels.split('.').all(|label| {
                    let inner = |c: char| is_part(c) || c == '-';
                    starts_well(label)
                        && label.ends_with(is_part)
                        && fits(label, 63)
                        && label.chars().all(inner)
                })
        }
    }
}

fn is_email(text: &str) -> bool {
    text.rsplit_once('@').is_some_and(|(user, host)| {
        !user.is_empty()
            && !host.is_empty()
            && !text.contains(|c: char| c.is_whitespace() || "()<>[]:,;\\\"".contains(c))
            && !user.contains('@')
    })
}

fn is_uri(text: &str) -> bool {
    if text.starts_with('/') {
        return !text.contains(|c: char| c.is_whitespace() || c.is_control());
    }
    text.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
            && !text.contains(|c: char| c.is_whitespace() || c.is_control())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_accept_and_refuse() {
        let check = |format: &str, good: &[&str], bad: &[&str]| {
            for text in good {
                assert!(is_valid(format, text), "{format} {text:?}");
            }
            for text in bad {
                assert!(!is_valid(format, text), "{format} {text:?}");
            }
        };
        check(
            "date-time",
            &["2026-11-21T02:43:45Z", "2026-11-21T02:43:45.123456+01:00"],
            &["2026-11-21", "", "x"],
        );
        check("date", &["2026-11-21"], &["2026-13-01", "2026-11-21T00:00:00Z"]);
        check("duration", &["1h", "1h30m", "0", "1.5s", "-2ms", "3 days"], &["", "1", "h", "1x", "1h3"]);
        check("byte", &["", "YWJj", "YQ=="], &["a", "***"]);
        check("ipv4", &["1.2.3.4"], &["1.2.3", "::1"]);
        check("ipv6", &["::1"], &["1.2.3.4"]);
        check("cidr", &["10.0.0.0/8", "fd00::/64"], &["10.0.0.0", "10.0.0.0/33", "x/8"]);
        check("mac", &["00:11:22:aa:bb:cc"], &["00:11:22", "00:11:22:aa:bb:zz"]);
        check(
            "uuid",
            &["123e4567-e89b-12d3-a456-426614174000"],
            &["123e4567", "zzze4567-e89b-12d3-a456-426614174000"],
        );
        check("hostname", &["a.example.com", "localhost"], &["", "-a", "a..b", "a b", "1.2.3.4", "a.b."]);
        check("email", &["a@b.cd"], &["a", "@b", "a b@c"]);
        check("uri", &["https://x/y", "urn:a:b", "/rel"], &["", "no scheme", "1a:b"]);
        check("k8s-short-name", &["a-b"], &["A", "a.b"]);
        check("k8s-long-name", &["a.b"], &["A", "a..b"]);
        check("made-up", &["anything"], &[]);
    }
}
