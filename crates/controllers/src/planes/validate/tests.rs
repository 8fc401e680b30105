use super::*;
use crate::planes::testing::{at, ca, ca_until, plane};
use buildplane_api::plane::ValueFrom;

fn verdict(client_ca: ClientCa, now: &str) -> (&'static str, &'static str) {
    let found = Dereferenced { client_ca, observability: Observability::NotConfigured };
    let validated = validate(&plane(ValueFrom::default()), found, at(now));
    assert_eq!(validated.bundle.is_some(), validated.client_ca.truth == crate::conditions::Truth::True);
    (validated.client_ca.truth.as_str(), validated.client_ca.reason)
}

fn inline(text: String) -> ClientCa {
    ClientCa::Inline { text, secret_ignored: false }
}

#[test]
fn every_source_of_a_ca_ends_in_a_condition() {
    let named = || ("org".to_owned(), "ca".to_owned());
    let now = "2026-01-01T00:00:00Z";
    for (source, expected) in [
        (inline(ca("a")), ("True", reason::CERTIFICATES_VALID)),
        (ClientCa::FromSecret { text: ca("a").into_bytes() }, ("True", reason::CERTIFICATES_VALID)),
        (inline("certificate".into()), ("False", reason::INVALID_CERTIFICATE)),
        (ClientCa::FromSecret { text: vec![0xff] }, ("False", reason::INVALID_CERTIFICATE)),
        (inline(ca_until("old", 2025)), ("False", reason::CERTIFICATE_EXPIRED)),
        (ClientCa::Absent, ("False", reason::CLIENT_CA_MISSING)),
        (ClientCa::NamespaceMissing, ("False", reason::SECRET_NAMESPACE_MISSING)),
        (ClientCa::NamespaceDenied { namespace: "x".into() }, ("False", reason::SECRET_NAMESPACE_DENIED)),
        (
            ClientCa::SecretNotFound { namespace: named().0, name: named().1 },
            ("False", reason::SECRET_NOT_FOUND),
        ),
        (
            ClientCa::KeyNotFound { namespace: named().0, name: named().1, key: "ca.crt".into() },
            ("False", reason::SECRET_KEY_NOT_FOUND),
        ),
    ] {
        let shown = format!("{source:?}");
        assert_eq!(verdict(source, now), expected, "{shown}");
    }
}

#[test]
fn the_end_of_a_ca_is_warned_of_fourteen_days_ahead() {
    let ca = || inline(ca_until("a", 2030));
    assert_eq!(verdict(ca(), "2029-12-17T00:00:00Z"), ("True", reason::CERTIFICATES_VALID));
    assert_eq!(verdict(ca(), "2029-12-19T00:00:00Z"), ("True", reason::CERTIFICATE_EXPIRING));
    assert_eq!(verdict(ca(), "2030-01-01T00:00:00Z"), ("False", reason::CERTIFICATE_EXPIRED));
}

#[test]
fn the_content_of_a_secret_is_never_told() {
    let found = Dereferenced {
        client_ca: ClientCa::FromSecret { text: b"hunter2".to_vec() },
        observability: Observability::NotConfigured,
    };
    let validated = validate(&plane(ValueFrom::default()), found, at("2026-01-01T00:00:00Z"));
    assert!(!validated.client_ca.message.contains("hunter2"), "{}", validated.client_ca.message);
}

#[test]
fn an_ignored_secret_is_mentioned() {
    let found = Dereferenced {
        client_ca: ClientCa::Inline { text: ca("a"), secret_ignored: true },
        observability: Observability::NotConfigured,
    };
    let validated = validate(&plane(ValueFrom::default()), found, at("2026-01-01T00:00:00Z"));
    assert!(validated.client_ca.message.contains("secretRef is ignored"), "{}", validated.client_ca.message);
}
