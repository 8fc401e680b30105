use super::*;
use crate::planes::testing::{ca, ca_until};

#[test]
fn what_is_taken() {
    let one = ca("one");
    let two = ca("two");
    let n = |text: &str| Bundle::parse(text.as_bytes()).map(|bundle| bundle.certificates.len());
    assert_eq!(n(&one), Ok(1));
    assert_eq!(n(&format!("# the old one\n{one}\n\n# and the new one\n{two}")), Ok(2));
    assert_eq!(n(&one.replace('\n', "\r\n")), Ok(1));
    assert_eq!(n(&format!("\n\n  {}  \n", STANDARD.encode(&one))), Ok(1));
    let folded: Vec<String> = STANDARD
        .encode(format!("{one}{two}"))
        .as_bytes()
        .chunks(76)
        .map(|c| String::from_utf8_lossy(c).into())
        .collect();
    assert_eq!(n(&folded.join("\n")), Ok(2));
}

#[test]
fn what_is_refused() {
    let key = rcgen::KeyPair::generate().expect("a key").serialize_pem();
    let good = ca("good");
    for (text, expected) in [
        (String::new(), BundleError::Empty),
        ("  \n".into(), BundleError::Empty),
        ("hello".into(), BundleError::NotPem),
        (STANDARD.encode("hello"), BundleError::NotPem),
        (key.clone(), BundleError::NotACertificate(1)),
        (format!("{good}{key}"), BundleError::NotACertificate(2)),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----".into(), BundleError::Unreadable(1)),
        (
            "-----BEGIN CERTIFICATE-----\n... (content) ...\n-----END CERTIFICATE-----".into(),
            BundleError::Malformed(1),
        ),
        (format!("{good}-----BEGIN CERTIFICATE-----\nAAAA"), BundleError::Malformed(2)),
        ("x".repeat(MAX_BYTES + 1), BundleError::TooLarge(MAX_BYTES + 1)),
        (good.repeat(MAX_CERTIFICATES + 1), BundleError::TooMany),
    ] {
        assert_eq!(Bundle::parse(text.as_bytes()), Err(expected), "{text:.80}");
    }
}

#[test]
fn canonical_text_reads_back_the_same() {
    let bundle = Bundle::parse(format!("junk before\n{}", ca("a")).as_bytes()).expect("a bundle");
    assert_eq!(Bundle::parse(bundle.pem.as_bytes()), Ok(bundle));
}

#[test]
fn a_bundle_lasts_as_long_as_its_last_certificate() {
    let (old, new) = (ca_until("old", 2030), ca_until("new", 2040));
    let bundle = Bundle::parse(format!("{old}{new}").as_bytes()).expect("a bundle");
    assert_eq!(bundle.last_not_after().map(|end| end.to_string()), Some("2040-01-01T00:00:00Z".into()));
}
