//! What names, label keys and label values may look like, with the messages Kubernetes prints.
//!
//! Every check returns the list of what is wrong (empty: nothing), because Kubernetes reports all of it; the
//! caller makes field errors of them with [`as_errors`].

use crate::field::FieldError;

/// Longest DNS label.
pub const DNS1123_LABEL_MAX: usize = 63;
/// Longest DNS subdomain.
pub const DNS1123_SUBDOMAIN_MAX: usize = 253;
/// Longest name part of a qualified name (a label key without its prefix).
pub const QUALIFIED_NAME_MAX: usize = 63;
/// Longest label value.
pub const LABEL_VALUE_MAX: usize = 63;
/// All annotations of an object together.
pub const ANNOTATIONS_MAX_BYTES: usize = 256 * 1024;
/// `generateName` is cut to this, so that a five-character suffix fits into a DNS label.
pub const GENERATE_NAME_MAX: usize = DNS1123_LABEL_MAX - 5;

const LABEL_PATTERN: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const LABEL_MESSAGE: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', \
     and must start and end with an alphanumeric character";
const SUBDOMAIN_PATTERN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const SUBDOMAIN_MESSAGE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, \
     '-' or '.', and must start and end with an alphanumeric character";
const DNS1035_PATTERN: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const DNS1035_MESSAGE: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start \
     with an alphabetic character, and end with an alphanumeric character";
const QUALIFIED_PATTERN: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const QUALIFIED_MESSAGE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const LABEL_VALUE_PATTERN: &str = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";
const LABEL_VALUE_MESSAGE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', \
     '_' or '.', and must start and end with an alphanumeric character";
const CONFIG_KEY_PATTERN: &str = "[-._a-zA-Z0-9]+";
const CONFIG_KEY_MESSAGE: &str =
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";

/// Each message as an `Invalid value` error about `field`.
pub fn as_errors(field: &str, value: &str, messages: &[String]) -> Vec<FieldError> {
    messages.iter().map(|message| FieldError::invalid(field, value, message.clone())).collect()
}

/// A lowercase RFC 1123 label: the name of a namespace.
pub fn dns1123_label(value: &str) -> Vec<String> {
    let mut wrong = too_long(value, DNS1123_LABEL_MAX);
    if !is_label(value) {
        wrong.push(pattern_message(LABEL_MESSAGE, LABEL_PATTERN, &["my-name", "123-abc"]));
    }
    wrong
}

/// A lowercase RFC 1123 subdomain: the name of most objects.
pub fn dns1123_subdomain(value: &str) -> Vec<String> {
    let mut wrong = too_long(value, DNS1123_SUBDOMAIN_MAX);
    if !is_subdomain(value) {
        wrong.push(pattern_message(SUBDOMAIN_MESSAGE, SUBDOMAIN_PATTERN, &["example.com"]));
    }
    wrong
}

/// An RFC 1035 label: the name of a service.
pub fn dns1035_label(value: &str) -> Vec<String> {
    let mut wrong = too_long(value, DNS1123_LABEL_MAX);
    if !is_label(value) || !value.starts_with(|first: char| first.is_ascii_lowercase()) {
        wrong.push(pattern_message(DNS1035_MESSAGE, DNS1035_PATTERN, &["my-name", "abc-123"]));
    }
    wrong
}

/// A name that may stand as one segment of a URL path: the names of RBAC objects.
pub fn path_segment(value: &str) -> Vec<String> {
    if value == "." || value == ".." {
        return vec![format!("may not be '{value}'")];
    }
    ["/", "%"]
        .into_iter()
        .filter(|part| value.contains(part))
        .map(|part| format!("may not contain '{part}'"))
        .collect()
}

/// `[prefix/]name`: label and annotation keys, finalizers.
pub fn qualified_name(value: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut parts = value.split('/');
    let (prefix, name) = match (parts.next(), parts.next(), parts.next()) {
        (Some(name), None, _) => (None, name),
        (Some(prefix), Some(name), None) => (Some(prefix), name),
        _ => {
            let text =
                pattern_message(QUALIFIED_MESSAGE, QUALIFIED_PATTERN, &["MyName", "my.name", "123-abc"]);
            return vec![format!(
                "a qualified name {text} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    match prefix {
        Some("") => wrong.push("prefix part must be non-empty".to_owned()),
        Some(prefix) => {
            wrong.extend(dns1123_subdomain(prefix).iter().map(|text| format!("prefix part {text}")));
        }
        None => {}
    }
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else if name.len() > QUALIFIED_NAME_MAX {
        wrong.push(format!("name part {}", max_len_message(QUALIFIED_NAME_MAX)));
    }
    if !is_word(name) {
        let text = pattern_message(QUALIFIED_MESSAGE, QUALIFIED_PATTERN, &["MyName", "my.name", "123-abc"]);
        wrong.push(format!("name part {text}"));
    }
    wrong
}

/// A label value; may be empty.
pub fn label_value(value: &str) -> Vec<String> {
    let mut wrong = too_long(value, LABEL_VALUE_MAX);
    if !value.is_empty() && !is_word(value) {
        wrong.push(pattern_message(
            LABEL_VALUE_MESSAGE,
            LABEL_VALUE_PATTERN,
            &["MyValue", "my_value", "12345"],
        ));
    }
    wrong
}

/// A key of a ConfigMap or Secret.
pub fn config_key(value: &str) -> Vec<String> {
    let mut wrong = too_long(value, DNS1123_SUBDOMAIN_MAX);
    let fits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if !fits {
        wrong.push(pattern_message(
            CONFIG_KEY_MESSAGE,
            CONFIG_KEY_PATTERN,
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    if value == "." {
        wrong.push("must not be '.'".to_owned());
    } else if value == ".." {
        wrong.push("must not be '..'".to_owned());
    } else if value.starts_with("..") {
        wrong.push("must not start with '..'".to_owned());
    }
    wrong
}

/// Errors of a label map, as `metadata.labels` holds it.
pub fn labels(field: &str, labels: &serde_json::Map<String, serde_json::Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (key, value) in labels {
        errors.extend(as_errors(field, key, &qualified_name(key)));
        match value.as_str() {
            Some(value) => errors.extend(as_errors(field, value, &label_value(value))),
            None => errors.push(FieldError::type_invalid(field, value.clone(), "must be a string")),
        }
    }
    errors
}

/// Errors of an annotation map: keys (compared in lower case) and the size of all together.
pub fn annotations(field: &str, annotations: &serde_json::Map<String, serde_json::Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut bytes = 0;
    for (key, value) in annotations {
        errors.extend(as_errors(field, key, &qualified_name(&key.to_lowercase())));
        bytes += key.len();
        match value.as_str() {
            Some(value) => bytes += value.len(),
            None => errors.push(FieldError::type_invalid(field, value.clone(), "must be a string")),
        }
    }
    if bytes > ANNOTATIONS_MAX_BYTES {
        errors.push(FieldError::too_long(field, ANNOTATIONS_MAX_BYTES as u64));
    }
    errors
}

/// The name made from `generateName` and a random suffix the caller drew; the base is cut so that both fit.
pub fn generated_name(base: &str, suffix: &str) -> String {
    let mut end = base.len().min(DNS1123_LABEL_MAX.saturating_sub(suffix.len()));
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{suffix}", &base[..end])
}

fn is_label(value: &str) -> bool {
    let bytes = value.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    alphanumeric(first) && alphanumeric(last) && bytes.iter().all(|b| alphanumeric(b) || *b == b'-')
}

fn is_subdomain(value: &str) -> bool {
    value.split('.').all(is_label)
}

fn is_word(value: &str) -> bool {
    let bytes = value.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

fn too_long(value: &str, max: usize) -> Vec<String> {
    if value.len() > max { vec![max_len_message(max)] } else { Vec::new() }
}

fn max_len_message(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

fn pattern_message(message: &str, pattern: &str, examples: &[&str]) -> String {
    let examples: Vec<String> = examples.iter().map(|example| format!("'{example}'")).collect();
    let examples = examples.join(",  or ");
    format!("{message} (e.g. {examples}, regex used for validation is '{pattern}')")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(judge: fn(&str) -> Vec<String>, good: &[&str], bad: &[(&str, &str)]) {
        for name in good {
            assert_eq!(judge(name), [""; 0], "{name:?} should be fine");
        }
        for (name, expected) in bad {
            let wrong = judge(name);
            assert!(wrong.iter().any(|text| text.contains(expected)), "{name:?}: {wrong:?}");
        }
    }

    #[test]
    fn labels_follow_rfc_1123() {
        let long = "a".repeat(64);
        check(
            dns1123_label,
            &["a", "ab", "a1", "a--1", "0", "123-abc", &"a".repeat(63)],
            &[
                ("", "a lowercase RFC 1123 label must"),
                ("A", "a lowercase RFC 1123 label must"),
                ("-a", "regex used"),
                ("a-", "regex used"),
                ("a.b", "regex used"),
                ("a_b", "regex used"),
                ("a\n", "regex used"),
                (&long, "must be no more than 63 bytes"),
            ],
        );
    }

    #[test]
    fn the_label_message_is_kubernetes_own() {
        assert_eq!(
            dns1123_label("Bad"),
            [
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
              and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
              '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ]
        );
    }

    #[test]
    fn subdomains_are_labels_joined_by_dots() {
        check(
            dns1123_subdomain,
            &["a.b", "a-1.c", "example.com", &format!("{0}.{0}.{0}.{0}", "a".repeat(62))],
            &[
                ("a..b", "subdomain"),
                (".a", "subdomain"),
                ("a.", "subdomain"),
                (&"a".repeat(254), "253 bytes"),
            ],
        );
    }

    #[test]
    fn qualified_names_have_at_most_one_prefix() {
        check(
            qualified_name,
            &["simple", "a.b_c-D", "example.com/Name", "1-num.2-num/3-num", "a/b"],
            &[
                ("", "name part must be non-empty"),
                ("a/", "name part must be non-empty"),
                ("/a", "prefix part must be non-empty"),
                ("a/b/c", "with an optional DNS subdomain prefix"),
                ("Cap/b", "prefix part a lowercase RFC 1123 subdomain"),
                ("-a", "name part must consist"),
                ("no spaces", "name part must consist"),
                (&"a".repeat(64), "name part must be no more than 63 bytes"),
            ],
        );
    }

    #[test]
    fn label_values_may_be_empty() {
        check(
            label_value,
            &["", "a", "A_b.c-1"],
            &[("-a", "a valid label must"), ("a b", "a valid label must"), (&"a".repeat(64), "63 bytes")],
        );
    }

    #[test]
    fn config_keys_are_not_paths() {
        check(
            config_key,
            &["a", "ca.crt", ".dockerconfigjson", "_x-1"],
            &[
                ("", "a valid config key"),
                ("a/b", "a valid config key"),
                ("..", "must not be '..'"),
                ("..a", "must not start"),
            ],
        );
        check(
            path_segment,
            &["system:admin", "a.b"],
            &[("..", "may not be"), ("a/b", "may not contain '/'")],
        );
    }

    #[test]
    fn a_generated_name_never_outgrows_a_label() {
        assert_eq!(generated_name("run-", "x1y2z"), "run-x1y2z");
        let name = generated_name(&"a".repeat(80), "x1y2z");
        assert_eq!(name.len(), DNS1123_LABEL_MAX);
        assert!(name.ends_with("ax1y2z"));
        assert!(generated_name(&"ä".repeat(60), "x1y2z").len() <= DNS1123_LABEL_MAX);
    }
}
