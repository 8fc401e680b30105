//! A bundle of trusted certificates is read whole or refused; it never holds less than what stands in it.
#![no_main]

use buildplane_tls::TrustAnchors;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(anchors) = TrustAnchors::parse(bytes) else { return };
    let n_begun = bytes.windows(27).filter(|found| found == b"-----BEGIN CERTIFICATE-----").count();
    // Base64 of PEM shows no boundary; then there is nothing to count.
    if n_begun > 0 {
        assert!(anchors.fingerprints().len() <= n_begun);
    }
    assert!(!anchors.fingerprints().is_empty(), "an empty bundle trusts nobody and is refused");
    let again = TrustAnchors::parse(anchors.pem()).expect("what we write we read");
    assert_eq!(again.fingerprints(), anchors.fingerprints());
});
