//! Peers that mean no good: weak certificates, forbidden names, chains that cost, and handshakes that never end.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use buildplane_tls::{
    Alpn, Authority, ClientAuth, ClientIdentity, ConnectError, LeafRequest, PeerCertificates, ServerIdentity,
    TrustAnchors, VerifyError, connect, verify_client,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    KeyPair, KeyUsagePurpose, NameConstraints, SanType,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf};

const HOUR: Duration = Duration::from_hours(1);

fn peer(pem: &str) -> PeerCertificates {
    PeerCertificates::new(vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()]).unwrap()
}

#[test]
fn weak_signatures_and_keys_vouch_for_nobody() {
    let ca = TrustAnchors::parse(include_str!("weak/ca.crt")).unwrap();
    let weak_ca = TrustAnchors::parse(include_str!("weak/weakca.crt")).unwrap();
    let now = SystemTime::now();
    assert!(
        verify_client(&ca, &peer(include_str!("weak/good.crt")), now).is_ok(),
        "or the rest shows nothing"
    );
    for (name, anchors, leaf) in [
        ("SHA-1", &ca, include_str!("weak/sha1.crt")),
        ("MD5", &ca, include_str!("weak/md5.crt")),
        ("RSA-1024", &weak_ca, include_str!("weak/underweak.crt")),
    ] {
        let verdict = verify_client(anchors, &peer(leaf), now);
        assert!(matches!(verdict, Err(VerifyError::Refused(_))), "{name}: {verdict:?}");
    }
}

#[test]
fn names_that_the_authority_may_not_vouch_for_are_refused() {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("ours.test".to_owned())],
        excluded_subtrees: Vec::new(),
    });
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let anchors = TrustAnchors::parse(ca.pem()).unwrap();
    for (name, accepted) in [("agent.ours.test", true), ("agent.theirs.test", false)] {
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
        let leaf = params.signed_by(&KeyPair::generate().unwrap(), &ca).unwrap();
        let verdict = verify_client(&anchors, &peer(&leaf.pem()), SystemTime::now());
        assert_eq!(verdict.is_ok(), accepted, "{name}: {verdict:?}");
    }
}

#[test]
fn a_certificate_is_judged_quickly_however_many_are_trusted_and_sent() {
    // Same names and no key identifiers that tell them apart: every authority is a candidate for every certificate.
    let twins: Vec<Authority> = (0..64).map(|_| Authority::generate("twin", HOUR).unwrap()).collect();
    let bundle: String = twins.iter().map(Authority::cert_pem).collect();
    let anchors = TrustAnchors::parse(bundle).unwrap();
    let stranger = Authority::generate("twin", HOUR).unwrap();
    let leaf = stranger.issue(LeafRequest::client("x", HOUR)).unwrap();
    let chain = |length: usize| {
        let twins = std::iter::repeat_n(&stranger, length - 1);
        let twins = twins.map(|twin| CertificateDer::from_pem_slice(twin.cert_pem().as_bytes()).unwrap());
        PeerCertificates::new(std::iter::once(leaf.cert_der().to_vec().into()).chain(twins).collect())
            .unwrap()
    };
    for length in [1, 8, 200] {
        let peer = chain(length);
        let begun = Instant::now();
        for _ in 0..10 {
            assert!(verify_client(&anchors, &peer, SystemTime::now()).is_err());
        }
        // A few milliseconds each, and seconds if chains were searched without a limit.
        assert!(begun.elapsed() < Duration::from_secs(5), "{length}: {:?}", begun.elapsed());
    }
}

/// Gives every byte a write and a read of its own.
struct ByteByByte(DuplexStream);

impl AsyncRead for ByteByByte {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut byte = [0];
        let mut one = ReadBuf::new(&mut byte);
        std::task::ready!(Pin::new(&mut self.0).poll_read(cx, &mut one))?;
        buf.put_slice(one.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ByteByByte {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf.get(..1).unwrap_or_default())
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn a_handshake_in_single_bytes_is_a_handshake() {
    let ca = Authority::generate("ca", HOUR).unwrap();
    let leaf = ca.issue(LeafRequest::server(&["gateway.test"], &[], HOUR)).unwrap();
    let agent = ca.issue(LeafRequest::client("agent", HOUR)).unwrap();
    let (client, server) = tokio::io::duplex(64 * 1024);
    let tls = ServerIdentity::new(&leaf).server_config(ClientAuth::AnyCertificate, &[Alpn::Http1]).unwrap();
    let offered = ClientIdentity::new(&agent).client_config(&ca.anchors().unwrap(), &[Alpn::Http1]).unwrap();
    let (accepted, connected) = tokio::join!(
        tokio_rustls::TlsAcceptor::from(tls).accept(ByteByByte(server)),
        connect(offered, "gateway.test", ByteByByte(client), Duration::from_secs(20)),
    );
    assert!(connected.is_ok(), "{:?}", connected.err());
    let peer = PeerCertificates::of_connection(accepted.unwrap().get_ref().1).unwrap();
    assert_eq!(peer.common_name(), Some("agent"));
}

#[tokio::test]
async fn a_server_that_only_trickles_is_given_up() {
    let ca = Authority::generate("ca", HOUR).unwrap();
    let (client, mut server) = tokio::io::duplex(1024);
    let config = ClientIdentity::anonymous().client_config(&ca.anchors().unwrap(), &[Alpn::Http1]).unwrap();
    let trickle = async {
        // The head of a record of 16 KiB, and then its bytes as slowly as anybody can bear.
        server.write_all(&[22, 3, 3, 0x40, 0]).await.unwrap();
        while server.write_all(&[0]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let deadline = Duration::from_millis(300);
    let (_ended, outcome) = tokio::join!(trickle, connect(config, "gateway.test", client, deadline));
    assert!(matches!(outcome.map(drop), Err(ConnectError::Timeout { .. })));
}
