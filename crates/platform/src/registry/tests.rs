//! The real registry behind the front, asked as builds of two namespaces ask it.

use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode, header};
use buildplane_tls::{Alpn, ClientAuth};
use bytes::Bytes;
use futures::StreamExt as _;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::front::{Backend, Exchange, router};
use super::{Certificate, Registry, reserve};
use crate::credentials::Login;
use crate::layout::Layout;
use crate::pki::Pki;

struct Fixture {
    _home: tempfile::TempDir,
    address: std::net::SocketAddr,
    backend: std::net::SocketAddr,
    login: Login,
    send: Exchange,
    _stop: DropGuard,
}

/// `sha256:` of `alice's layer`, and of the empty JSON object, which stands for a configuration.
const LAYER: (&[u8], &str) =
    (b"alice's layer", "sha256:7912bd595a5dee3a3d8078084ff28a78168b3ddd51152d2eb7533a3b2dacdea5");
const CONFIG: (&[u8], &str) =
    (b"{}", "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");

async fn registry() -> Fixture {
    buildplane_tls::install_crypto();
    let home = tempfile::tempdir().unwrap();
    let layout = Layout::new(home.path().join("data"));
    layout.create().unwrap();
    let pki = Pki::ensure(&layout).unwrap();
    let own = pki.services.server(&[]).unwrap();
    let certificate = Certificate { chain: own.cert_pem(), key: own.key_pem() };
    let (reserved, backend) = reserve().unwrap();
    let between = Login::generate("front").unwrap();
    let registry = Registry::start(&layout, (reserved, backend), certificate, &between).await.unwrap();
    let login = Login::generate("builds").unwrap();
    let front = router(
        login.clone(),
        Backend {
            address: format!("https://{backend}"),
            login: between,
            send: pki.services.http_client(backend).unwrap(),
        },
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tls = pki.services.server_config(&[], ClientAuth::None, &[Alpn::H2, Alpn::Http1]).unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(registry.keep(stop.clone()));
    let limits = buildplane_serve::Limits::default();
    tokio::spawn(buildplane_serve::serve(listener, tls, front, limits, stop.clone()));
    let send = pki.services.http_client(address).unwrap();
    Fixture { _home: home, address, backend, login, send, _stop: stop.drop_guard() }
}

impl Fixture {
    async fn ask(&self, login: Option<&Login>, method: &str, target: &str, body: Body) -> Response<Body> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
        *request.uri_mut() = format!("https://{}{target}", self.address).parse().unwrap();
        if let Some(login) = login {
            request.headers_mut().insert(header::AUTHORIZATION, login.basic().parse().unwrap());
        }
        let kind = if target.contains("/manifests/") { MANIFEST } else { "application/octet-stream" };
        request.headers_mut().insert(header::CONTENT_TYPE, kind.parse().unwrap());
        request.headers_mut().insert(header::ACCEPT, MANIFEST.parse().unwrap());
        (self.send)(request).await.unwrap()
    }

    async fn status(&self, login: &Login, method: &str, target: &str) -> u16 {
        self.ask(Some(login), method, target, Body::empty()).await.status().as_u16()
    }

    fn builds_of(&self, namespace: &str) -> Login {
        self.login.for_namespace(namespace)
    }

    /// Begins an upload and returns where it goes on.
    async fn begin(&self, login: &Login, repository: &str) -> String {
        let target = format!("/v2/{repository}/blobs/uploads/");
        let begun = self.ask(Some(login), "POST", &target, Body::empty()).await;
        assert_eq!(begun.status(), StatusCode::ACCEPTED);
        let location = begun.headers()[header::LOCATION].to_str().unwrap().to_owned();
        assert!(location.starts_with(&target), "{location}");
        location
    }

    async fn push(&self, login: &Login, repository: &str) {
        for (blob, digest) in [LAYER, CONFIG] {
            let at = self.begin(login, repository).await;
            let put = self.ask(Some(login), "PUT", &format!("{at}&digest={digest}"), Body::from(blob)).await;
            assert_eq!(put.status(), StatusCode::CREATED, "{digest}");
        }
        let put = self.put_manifest(login, repository).await;
        assert_eq!(put, StatusCode::CREATED);
    }

    async fn put_manifest(&self, login: &Login, repository: &str) -> StatusCode {
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": CONFIG.1, "size": CONFIG.0.len() },
            "layers": [
                { "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": LAYER.1, "size": LAYER.0.len() },
            ],
        });
        let target = format!("/v2/{repository}/manifests/v1");
        self.ask(Some(login), "PUT", &target, Body::from(manifest.to_string())).await.status()
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

#[tokio::test]
async fn a_namespace_neither_reads_nor_changes_what_is_anothers() {
    let registry = registry().await;
    let (alice, mallory) = (registry.builds_of("alice"), registry.builds_of("mallory"));
    registry.push(&alice, "alice.p.app").await;
    registry.push(&registry.login, "library/base").await;

    let layer = format!("/blobs/{}", LAYER.1);
    for (path, own, shared, others) in
        [("/manifests/v1", 200, 200, 403), ("/tags/list", 200, 200, 403), (layer.as_str(), 200, 200, 403)]
    {
        assert_eq!(registry.status(&alice, "GET", &format!("/v2/alice.p.app{path}")).await, own, "{path}");
        assert_eq!(
            registry.status(&mallory, "GET", &format!("/v2/library/base{path}")).await,
            shared,
            "{path}"
        );
        assert_eq!(
            registry.status(&mallory, "GET", &format!("/v2/alice.p.app{path}")).await,
            others,
            "{path}"
        );
    }
    // Not by overwriting, not by deleting, not by a catalog, not by going on with an upload that is another's.
    assert_eq!(registry.put_manifest(&mallory, "alice.p.app").await, StatusCode::FORBIDDEN);
    assert_eq!(registry.put_manifest(&mallory, "library/base").await, StatusCode::FORBIDDEN);
    assert_eq!(registry.status(&mallory, "DELETE", "/v2/alice.p.app/manifests/v1").await, 403);
    assert_eq!(registry.status(&mallory, "GET", "/v2/_catalog").await, 403);
    let begun = registry.begin(&alice, "alice.p.app").await;
    assert_eq!(registry.status(&mallory, "GET", &begun).await, 403);
    assert_eq!(registry.status(&mallory, "PATCH", &begun).await, 403);
    // Nor under a name of one's own: the session is the repository's.
    let moved = begun.replace("alice.p.app", "mallory.app");
    assert_eq!(registry.status(&mallory, "PATCH", &moved).await, 404);
    assert_eq!(registry.status(&registry.login, "GET", "/v2/_catalog").await, 200);
}

#[tokio::test]
async fn a_blob_is_nobodys_by_its_digest() {
    let registry = registry().await;
    let (alice, mallory) = (registry.builds_of("alice"), registry.builds_of("mallory"));
    registry.push(&alice, "alice.p.app").await;
    // The registry has the bytes; who has not brought them has not got them.
    let own = format!("/v2/mallory.app/blobs/{}", LAYER.1);
    assert_eq!(registry.status(&mallory, "GET", &own).await, 404);
    assert_ne!(registry.put_manifest(&mallory, "mallory.app").await, StatusCode::CREATED);
    let mount = |to: &str, from: &str| format!("/v2/{to}/blobs/uploads/?mount={}&from={from}", LAYER.1);
    // A mount that may not be is an upload that begins, as if there were no such blob.
    assert_eq!(registry.status(&mallory, "POST", &mount("mallory.app", "alice.p.app")).await, 202);
    assert_eq!(registry.status(&mallory, "GET", &own).await, 404);
    assert_eq!(registry.status(&alice, "POST", &mount("alice.p.other", "alice.p.app")).await, 201);
}

#[tokio::test]
async fn only_logins_that_are_somebodys_are_taken() {
    let registry = registry().await;
    let alice = registry.builds_of("alice");
    let login =
        |username: &str, password: &str| Login { username: username.into(), password: password.into() };
    for stranger in [
        login("alice", ""),
        login("mallory", &alice.password),
        login("builds", &alice.password),
        login("", &registry.login.password),
        login("alice", &registry.login.password),
        registry.login.for_namespace("not/a.namespace"),
    ] {
        assert_eq!(registry.status(&stranger, "GET", "/v2/").await, 401, "{}", stranger.username);
    }
    let refused = registry.ask(None, "GET", "/v2/", Body::empty()).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert!(refused.headers().contains_key(header::WWW_AUTHENTICATE));
    assert_eq!(registry.status(&alice, "GET", "/v2/").await, 200);
    // Nor is there a way round the front.
    for login in [&alice, &registry.login] {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = format!("https://{}/v2/", registry.backend).parse().unwrap();
        request.headers_mut().insert(header::AUTHORIZATION, login.basic().parse().unwrap());
        assert_eq!((registry.send)(request).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    }
}

/// A layer larger than any buffer goes through, both ways.
#[tokio::test(flavor = "multi_thread")]
async fn layers_stream() {
    use sha2::{Digest as _, Sha256};
    const PIECES: usize = 1024;
    let piece = Bytes::from(vec![7_u8; 64 * 1024]);
    let mut hash = Sha256::new();
    (0..PIECES).for_each(|_| hash.update(&piece));
    let hex = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();

    let registry = registry().await;
    let alice = registry.builds_of("alice");
    let at = registry.begin(&alice, "alice.p.app").await;
    let pieces = futures::stream::iter(std::iter::repeat_n(piece, PIECES).map(Ok::<_, std::io::Error>));
    let target = format!("{at}&digest=sha256:{hex}");
    let put = registry.ask(Some(&alice), "PUT", &target, Body::from_stream(pieces)).await;
    assert_eq!(put.status(), StatusCode::CREATED);
    let got = registry
        .ask(Some(&alice), "GET", &format!("/v2/alice.p.app/blobs/sha256:{hex}"), Body::empty())
        .await;
    assert_eq!(got.status(), StatusCode::OK);
    let mut length = 0;
    let mut body = got.into_body().into_data_stream();
    while let Some(piece) = body.next().await {
        length += piece.unwrap().len();
    }
    assert_eq!(length, PIECES * 64 * 1024);
}
