//! Verdicts on client certificates, and on bundles of trusted certificates.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use buildplane_tls::{
    Alpn, AnchorError, Authority, CertifiedKey, ClientAuth, ClientIdentity, LeafRequest, PeerCertificates,
    PlaneSan, ServerCertificates, ServerIdentity, TrustAnchors, Usage, VerifyError, connect, verify_client,
};

const HOUR: Duration = Duration::from_hours(1);

fn authority(name: &str) -> Authority {
    Authority::generate(name, HOUR * 1000).unwrap()
}

fn peer(leaf: &CertifiedKey) -> PeerCertificates {
    PeerCertificates::new(vec![leaf.cert_der().to_vec().into()]).unwrap()
}

fn plane() -> PlaneSan {
    PlaneSan { plane_type: "buildplane".into(), plane_id: "default".into() }
}

#[test]
fn a_leaf_is_judged_by_one_authority_its_validity_and_its_usage() {
    let ours = authority("ours");
    let theirs = authority("theirs");
    let anchors = ours.anchors().unwrap();
    let now = SystemTime::now();
    let agent = ours.issue(LeafRequest::plane(&plane(), HOUR)).unwrap();
    let server = ours.issue(LeafRequest::server(&["x"], &[], HOUR)).unwrap();
    let both = ours.issue(LeafRequest { usage: Usage::Both, ..LeafRequest::client("x", HOUR) }).unwrap();
    let foreign = theirs.issue(LeafRequest::plane(&plane(), HOUR)).unwrap();
    let authority_itself = CertifiedKey::from_pem(ours.cert_pem(), ours.key_pem()).unwrap();

    let verdict = |leaf: &CertifiedKey, now| verify_client(&anchors, &peer(leaf), now);
    assert!(verdict(&agent, now).is_ok());
    assert!(verdict(&both, now).is_ok());
    assert!(matches!(verdict(&server, now), Err(VerifyError::WrongUsage)));
    assert!(matches!(verdict(&foreign, now), Err(VerifyError::UnknownIssuer)));
    assert!(matches!(verdict(&authority_itself, now), Err(VerifyError::AuthorityAsLeaf)));
    assert!(matches!(verdict(&agent, now + 2 * HOUR), Err(VerifyError::Expired)));
    assert!(matches!(
        verdict(&agent, now - HOUR),
        Err(VerifyError::AnchorsExpired | VerifyError::NotYetValid)
    ));
    assert!(matches!(verdict(&agent, now + 2000 * HOUR), Err(VerifyError::AnchorsExpired)));
}

#[test]
fn an_authority_of_the_same_name_vouches_for_nothing() {
    let ours = authority("twin");
    let twin = authority("twin");
    let leaf = twin.issue(LeafRequest::plane(&plane(), HOUR)).unwrap();
    let verdict = verify_client(&ours.anchors().unwrap(), &peer(&leaf), SystemTime::now());
    assert!(verdict.is_err());
}

#[test]
fn a_leaf_that_is_an_entry_of_the_bundle_is_trusted_as_itself_alone() {
    let ours = authority("ours");
    let now = SystemTime::now();
    let listed = ours.issue(LeafRequest::client("listed", HOUR)).unwrap();
    let sibling = ours.issue(LeafRequest::client("sibling", HOUR)).unwrap();
    let server = ours.issue(LeafRequest::server(&["x"], &[], HOUR)).unwrap();
    let bundle = TrustAnchors::parse(format!("{}{}", listed.cert_pem(), server.cert_pem())).unwrap();

    assert!(verify_client(&bundle, &peer(&listed), now).is_ok());
    assert!(matches!(verify_client(&bundle, &peer(&listed), now + 2 * HOUR), Err(VerifyError::Expired)));
    assert!(matches!(verify_client(&bundle, &peer(&server), now), Err(VerifyError::WrongUsage)));
    assert!(matches!(verify_client(&bundle, &peer(&sibling), now), Err(VerifyError::UnknownIssuer)));
}

#[test]
fn a_certificate_signed_by_a_listed_leaf_is_not_trusted() {
    // A leaf in `clientCA` must not become an authority: whoever holds its key could make more of itself.
    let ours = authority("ours");
    let listed = ours.issue(LeafRequest::client("listed", HOUR)).unwrap();
    assert!(Authority::from_pem(listed.cert_pem(), listed.key_pem()).is_err());

    let key = rcgen::KeyPair::from_pem(listed.key_pem()).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_der(&listed.cert_der().into(), key).unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let forged = params.signed_by(&rcgen::KeyPair::generate().unwrap(), &issuer).unwrap();
    let forged = PeerCertificates::new(vec![forged.der().clone()]).unwrap();
    let bundle = TrustAnchors::parse(listed.cert_pem()).unwrap();
    assert!(matches!(verify_client(&bundle, &forged, SystemTime::now()), Err(VerifyError::UnknownIssuer)));
}

#[test]
fn a_long_chain_is_refused_unread() {
    let ours = authority("ours");
    let leaf = ours.issue(LeafRequest::client("x", HOUR)).unwrap();
    let chain = vec![leaf.cert_der().to_vec().into(); 200];
    let peer = PeerCertificates::new(chain).unwrap();
    let verdict = verify_client(&ours.anchors().unwrap(), &peer, SystemTime::now());
    assert!(matches!(verdict, Err(VerifyError::ChainTooLong { length: 200 })));
}

#[test]
fn a_bundle_of_old_and_new_authority_accepts_leaves_of_both() {
    let (old, new) = (authority("ca"), authority("ca"));
    let bundle =
        TrustAnchors::parse(format!("# old\n{}\n# new\n{}", old.cert_pem(), new.cert_pem())).unwrap();
    for authority in [&old, &new] {
        let leaf = authority.issue(LeafRequest::plane(&plane(), HOUR)).unwrap();
        assert!(verify_client(&bundle, &peer(&leaf), SystemTime::now()).is_ok());
    }
    assert_eq!(bundle.fingerprints().len(), 2);
}

#[test]
fn trust_ends_with_the_first_certificate_of_the_path() {
    let short_lived = Authority::generate("short", HOUR).unwrap();
    let leaf = short_lived.issue(LeafRequest::client("x", 10 * HOUR)).unwrap();
    let anchors = short_lived.anchors().unwrap();
    let verified = verify_client(&anchors, &peer(&leaf), SystemTime::now()).unwrap();
    assert_eq!(verified.valid_until, anchors.not_after());

    let long_lived = authority("long");
    let leaf = long_lived.issue(LeafRequest::client("x", HOUR)).unwrap();
    let verified = verify_client(&long_lived.anchors().unwrap(), &peer(&leaf), SystemTime::now()).unwrap();
    assert_eq!(verified.valid_until, leaf.expiry());
}

#[test]
fn the_leaf_names_its_subject_and_plane() {
    let ours = authority("ours");
    let request = LeafRequest {
        organizations: vec!["system:masters".into(), "openchoreo:controllers".into()],
        uris: vec![plane().to_string()],
        ..LeafRequest::client("alice", HOUR)
    };
    let leaf = peer(&ours.issue(request).unwrap());
    assert_eq!(leaf.common_name(), Some("alice"));
    assert_eq!(leaf.organizations(), ["system:masters", "openchoreo:controllers"]);
    assert_eq!(leaf.planes().unwrap(), [plane()]);
}

#[test]
fn a_malformed_plane_name_is_an_error_not_an_absence() {
    for uri in
        ["openchoreo:plane:", "openchoreo:plane:buildplane", "openchoreo:plane::x", "openchoreo:plane:a:b:c"]
    {
        assert!(uri.parse::<PlaneSan>().is_err(), "{uri}");
    }
}

/// What a client sees of a server under `leaf`, whom it verifies under `roots` for `name`.
async fn handshake(leaf: &CertifiedKey, roots: &TrustAnchors, name: &str) -> Option<ServerCertificates> {
    let (client, server) = tokio::io::duplex(16 * 1024);
    let accepted = ServerIdentity::new(leaf).server_config(ClientAuth::None, &[Alpn::Http1]).unwrap();
    let offered = ClientIdentity::anonymous().client_config(roots, &[Alpn::Http1]).unwrap();
    let (_served, connected) = tokio::join!(
        tokio_rustls::TlsAcceptor::from(accepted).accept(server),
        connect(offered, name, client, Duration::from_secs(5)),
    );
    ServerCertificates::of_connection(connected.ok()?.get_ref().1, name)
}

#[tokio::test]
async fn a_server_is_judged_again_when_trust_changes() {
    let (old, new) = (authority("gateway"), authority("gateway"));
    let leaf = old.issue(LeafRequest::server(&["gateway.test"], &[], HOUR)).unwrap();
    let server = handshake(&leaf, &old.anchors().unwrap(), "gateway.test").await.unwrap();
    assert!(handshake(&leaf, &old.anchors().unwrap(), "other.test").await.is_none());
    let both = TrustAnchors::parse(format!("{}{}", old.cert_pem(), new.cert_pem())).unwrap();
    let now = SystemTime::now();
    assert!(server.verify(&both, now).is_ok());
    assert!(server.verify(&new.anchors().unwrap(), now).is_err(), "its authority was removed");
    assert!(server.verify(&both, now + 2 * HOUR).is_err(), "it has expired");
    let leaves_only = TrustAnchors::parse(leaf.cert_pem()).unwrap();
    assert!(server.verify(&leaves_only, now).is_err(), "a leaf is no authority");
}

type Expected = fn(&AnchorError) -> bool;

#[test]
fn bundles_are_read_whole_or_refused() {
    let ca = authority("ca");
    let good = ca.cert_pem().to_owned();
    let cut = &good[..good.len() / 2];
    let wrapped = base64::engine::general_purpose::STANDARD.encode(&good);
    let broken = good.replace("MII", "M!I");
    let der_in_pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

    let refused: &[(&str, Vec<u8>, Expected)] = &[
        ("empty", b"".to_vec(), |e| matches!(e, AnchorError::Empty)),
        ("blank", b" \n\t".to_vec(), |e| matches!(e, AnchorError::Empty)),
        ("garbage", b"not a certificate".to_vec(), |e| matches!(e, AnchorError::NotPem)),
        ("der", ca.anchors().unwrap().fingerprints()[0].to_string().into_bytes(), |e| {
            matches!(e, AnchorError::NotPem | AnchorError::NotText)
        }),
        ("nul", format!("{good}\0").into_bytes(), |e| matches!(e, AnchorError::NotText)),
        ("not utf-8", vec![0xff, 0xfe], |e| matches!(e, AnchorError::NotText)),
        ("private key", ca.key_pem().as_bytes().to_vec(), |e| {
            matches!(e, AnchorError::NotACertificate { .. })
        }),
        ("certificate and key", format!("{good}{}", ca.key_pem()).into_bytes(), |e| {
            matches!(e, AnchorError::NotACertificate { .. })
        }),
        ("cut off", cut.as_bytes().to_vec(), |e| matches!(e, AnchorError::Unterminated { .. })),
        ("good, then cut off", format!("{good}{cut}").into_bytes(), |e| {
            matches!(e, AnchorError::Unterminated { .. })
        }),
        ("cut off, then good", format!("{cut}\n{good}").into_bytes(), |e| {
            matches!(e, AnchorError::Unterminated { .. })
        }),
        ("bad base64", broken.into_bytes(), |e| matches!(e, AnchorError::BadBase64 { .. })),
        ("not X.509", der_in_pem.into(), |e| matches!(e, AnchorError::BadCertificate { number: 1, .. })),
        ("second not X.509", format!("{good}{der_in_pem}").into_bytes(), |e| {
            matches!(e, AnchorError::BadCertificate { number: 2, .. })
        }),
        ("stray end", b"-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----".to_vec(), |e| {
            matches!(e, AnchorError::StrayBoundary { line: 1 })
        }),
        ("ten megabytes", vec![b'A'; 10 << 20], |e| matches!(e, AnchorError::TooLarge { .. })),
        ("too many", good.repeat(65).into_bytes(), |e| matches!(e, AnchorError::TooMany { limit: 64 })),
    ];
    for (name, input, expected) in refused {
        let error = TrustAnchors::parse(input).expect_err(name);
        assert!(expected(&error), "{name}: {error}");
    }
    for (name, input) in [
        ("pem", good.clone()),
        ("base64 of pem", wrapped.clone()),
        (
            "base64 in lines",
            wrapped
                .as_bytes()
                .chunks(76)
                .map(|l| std::str::from_utf8(l).unwrap())
                .collect::<Vec<_>>()
                .join("\n"),
        ),
        ("CRLF", good.replace('\n', "\r\n")),
        ("with text around", format!("subject=CN = ca\n{good}trailing remark\n")),
        ("twice the same", good.repeat(2)),
    ] {
        let anchors = TrustAnchors::parse(&input).expect(name);
        assert_eq!(anchors.fingerprints(), ca.anchors().unwrap().fingerprints(), "{name}");
    }
}

#[test]
fn a_key_must_belong_to_its_certificate() {
    let (one, two) = (authority("one"), authority("two"));
    assert!(CertifiedKey::from_pem(one.cert_pem(), two.key_pem()).is_err());
    let shown = format!("{:?}", CertifiedKey::from_pem(one.cert_pem(), one.key_pem()).unwrap());
    assert!(!shown.contains("PRIVATE"), "{shown}");
}

#[test]
fn a_kept_authority_issues_under_the_same_certificate() {
    let first = authority("kept");
    let again = Authority::from_pem(first.cert_pem(), first.key_pem()).unwrap();
    let leaf = again.issue(LeafRequest::plane(&plane(), HOUR)).unwrap();
    assert!(verify_client(&first.anchors().unwrap(), &peer(&leaf), SystemTime::now()).is_ok());
    assert!(!leaf.wants_renewal(SystemTime::now()));
    assert!(leaf.wants_renewal(SystemTime::now() + HOUR * 3 / 4));
}
