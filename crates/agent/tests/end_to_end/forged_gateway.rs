//! A gateway in the wrong hands: it has the real one's certificate and key, speaks to the agent directly, and asks for
//! everything that it should not get.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use buildplane_agent::{Agent, Config, Policy, PolicySource, ServerCa};
use buildplane_api::PlaneType;
use buildplane_tls::{Alpn, Authority, ClientAuth, LeafRequest, ServerIdentity};
use buildplane_tunnel::{GatewayEnd, Handle, Settings, Upgrade};
use buildplane_wire::AllowedPlanes;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::backend::{Backend, TEAM};
use crate::rig::HOUR;

const OURS: &str = "labelSelector=openchoreo.dev/managed-by%3Dworkflowrun-controller";
const CRS: [&str; 2] = ["buildplane/team/default", "clusterbuildplane/_cluster/default"];

struct Forged {
    backend: Backend,
    tunnel: Handle,
    _agent: DropGuard,
}

/// Who and what a request claims to be for, in headers that a forger writes as he likes.
type Claims<'a> = &'a [(&'a str, &'a str)];

impl Forged {
    /// The agent of a cluster whose owner lets one BuildPlane and one ClusterBuildPlane in.
    async fn start() -> Self {
        buildplane_tls::install_crypto();
        let stolen = Authority::generate("gateway", HOUR).unwrap();
        let backend = Backend::start().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("wss://127.0.0.1:{}/ws", listener.local_addr().unwrap().port()).parse().unwrap();
        let plane = (PlaneType::BuildPlane, "shared".parse().unwrap());
        let server_ca = ServerCa::Pem(stolen.cert_pem().to_owned());
        let mut config = Config::new(url, server_ca, plane, backend.kube_config().await);
        let admitted = CRS.iter().map(|cr| cr.parse().unwrap()).collect();
        config.policy =
            PolicySource::Fixed(Policy { allowed_planes: AllowedPlanes::only(admitted), ..Policy::builds() });
        let stop = CancellationToken::new();
        tokio::spawn(Agent::new(config).unwrap().run(stop.clone()));
        let tunnel = accept(&listener, &stolen).await;
        Self { backend, tunnel, _agent: stop.drop_guard() }
    }

    async fn send(&self, method: &str, target: &str, claims: Claims<'_>, body: &str) -> (StatusCode, Value) {
        let uri: Uri =
            format!("http://agent{target}").parse().unwrap_or_else(|error| panic!("{target}: {error}"));
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in claims {
            request = request.header(*name, *value);
        }
        let body = Full::new(Bytes::from(body.to_owned())).map_err(|never: Infallible| match never {});
        let sent = self.tunnel.send(request.body(body.boxed_unsync()).unwrap());
        let response = tokio::time::timeout(Duration::from_secs(10), sent).await.expect("an answer");
        let (head, body) =
            response.unwrap_or_else(|rejected| panic!("{target}: {:?}", rejected.error)).into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// Asks for a custom resource, as a gateway does.
    async fn ask(&self, cr: &str, method: &str, target: &str, body: &str) -> (StatusCode, Value) {
        let claims =
            [("x-openchoreo-cr", cr), ("x-openchoreo-target", "k8s"), ("content-type", "application/json")];
        self.send(method, target, &claims, body).await
    }

    /// Holds that the agent itself refuses, with a reason, and that the cluster's API hears nothing of it.
    async fn is_refused(&self, cr: &str, method: &str, target: &str, body: &str) {
        let before = self.backend.seen.requests().len();
        let (status, answer) = self.ask(cr, method, target, body).await;
        let what = format!("{cr}: {method} {target} {body}: {status} {answer}");
        assert!(matches!(status.as_u16(), 400 | 403 | 415 | 501), "{what}");
        assert_eq!(answer["kind"], "Status", "{what}");
        if status == StatusCode::FORBIDDEN {
            let message = answer["message"].as_str().unwrap();
            assert!(message.contains("rule"), "no rule is named: {what}");
        }
        assert_eq!(self.backend.seen.requests().len(), before, "it reached the cluster: {what}");
    }
}

/// Accepts one agent, as the gateway does.
async fn accept(listener: &TcpListener, authority: &Authority) -> Handle {
    let leaf =
        authority.issue(LeafRequest::server(&["127.0.0.1"], &["127.0.0.1".parse().unwrap()], HOUR)).unwrap();
    let tls = ServerIdentity::new(&leaf).server_config(ClientAuth::AnyCertificate, &[Alpn::Http1]).unwrap();
    let (tcp, _) =
        tokio::time::timeout(Duration::from_secs(10), listener.accept()).await.expect("it dials").unwrap();
    let stream = TlsAcceptor::from(tls).accept(tcp).await.unwrap();
    let (upgrades, mut accepted_ones) = tokio::sync::mpsc::channel(1);
    let service = hyper::service::service_fn(move |mut request: Request<hyper::body::Incoming>| {
        let upgrades = upgrades.clone();
        async move {
            let (response, accepted) = Upgrade::check(&mut request).unwrap().accept::<Empty<Bytes>>();
            upgrades.send(accepted).await.unwrap();
            Ok::<Response<_>, Infallible>(response)
        }
    });
    tokio::spawn(
        hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades(),
    );
    let settings = Settings::default();
    let stream = accepted_ones.recv().await.unwrap().byte_stream(&settings).await.unwrap();
    let end = GatewayEnd::connect(stream, &settings).await.unwrap();
    tokio::spawn(end.driver.run(CancellationToken::new()));
    end.handle
}

#[tokio::test]
async fn a_forged_gateway_gets_what_builds_need_and_no_secret_in_any_spelling() {
    let forged = Forged::start().await;
    let (status, _) = forged.ask(CRS[0], "GET", &format!("{TEAM}/pods"), "").await;
    assert_eq!(status, 200, "what is allowed works, or the rest of this test shows nothing");
    for target in [
        "/api/v1/namespaces/kube-system/secrets",
        "/api/v1/secrets",
        "/api/v1/namespaces/openchoreo-build-plane/secrets/cluster-agent-tls",
        "/api/v1/namespaces/openchoreo-ci-team/secrets",
        "/api/v1/namespaces/openchoreo-ci-team/secrets/x",
        "/api/v1/namespaces/openchoreo-ci-team/secrets?watch=true",
        "/api/v1/namespaces/kube-system/%73ecrets",
        "/api/v1/%6eamespaces/kube-system/secrets",
        "//api/v1/namespaces/kube-system/secrets",
        "/./api/v1/namespaces/kube-system/secrets",
        "/api/v1/../v1/namespaces/kube-system/secrets",
        "/api/v1/namespaces/openchoreo-ci-team/../kube-system/secrets",
        "/api/v1/namespaces/openchoreo-ci-team/pods/../../kube-system/secrets",
        "/api/v1/namespaces/openchoreo-ci-team/%2e%2e/kube-system/secrets",
        "/api/v1/namespaces/openchoreo-ci-team/%2E%2e/kube-system/secrets",
        "/api/v1/namespaces/openchoreo-ci-team/.%2e/kube-system/secrets",
        "/api/v1/namespaces/openchoreo-ci-team/%252e%252e/kube-system/secrets",
        "/api/v1/namespaces/openchoreo-ci-team%2f..%2fkube-system/secrets",
        "/api/v1/namespaces/openchoreo-ci-team/pods%2f..%2fsecrets",
        "/api/v1/namespaces/openchoreo-ci-team/pods%252f..%252fsecrets",
        "/api/v1/namespaces/openchoreo-ci-team%5c..%5ckube-system/secrets",
        "/api/v1/namespaces/openchoreo-ci-team;a=b/secrets",
        "/api/v1/namespaces/openchoreo-ci-team/pods;/../secrets",
        "/api/v1/namespaces/openchoreo-ci-team/secrets%00",
        "/api/v1/namespaces/openchoreo-ci-team/secrets%20",
        "/api/v1/namespaces/openchoreo-ci-team/secrets.",
        "/api/v1/namespaces/openchoreo-ci-team/%c0%ae%c0%ae/secrets",
        "/api/v1/namespaces/openchoreo-ci-team/%ef%bc%8e%ef%bc%8e/secrets",
        "/api/v1/namespaces/openchoreo-ci-team/%u002e%u002e/secrets",
        "/api/v1/NameSpaces/kube-system/Secrets",
        "/api/v1/namespaces/kube-system/secrets%3fx",
        "/api/v1/namespaces/kube-system/secrets%23x",
        "/api/v1/namespaces/openchoreo-ci-team/secrets/",
        "/api/v1/watch/namespaces/kube-system/secrets",
        "/api/v1/proxy/namespaces/kube-system/services/x",
    ] {
        for cr in CRS {
            forged.is_refused(cr, "GET", target, "").await;
        }
    }
}

#[tokio::test]
async fn a_forged_gateway_stays_in_the_namespaces_and_verbs_of_builds() {
    let forged = Forged::start().await;
    let argo = "/apis/argoproj.io/v1alpha1";
    for (method, target) in [
        ("GET", "/api/v1/namespaces/kube-system/pods".to_owned()),
        ("GET", "/api/v1/namespaces/openchoreo-build-plane/pods".to_owned()),
        ("GET", "/api/v1/namespaces/openchoreo-ci-/pods".to_owned()),
        ("GET", "/api/v1/namespaces/default/configmaps/x".to_owned()),
        ("GET", "/api/v1/pods".to_owned()),
        ("GET", "/api/v1/namespaces".to_owned()),
        ("GET", "/api/v1/nodes".to_owned()),
        ("GET", format!("{argo}/workflows")),
        ("GET", format!("{argo}/workflows?watch=true")),
        (
            "GET",
            format!(
                "{argo}/workflows?labelSelector=a+in+(b,openchoreo.dev/managed-by%3Dworkflowrun-controller)"
            ),
        ),
        ("GET", format!("/api/v1/pods?{OURS}")),
        ("GET", format!("/api/v1/secrets?{OURS}")),
        ("DELETE", format!("{argo}/workflows?{OURS}")),
        ("DELETE", format!("{argo}/namespaces/openchoreo-ci-team/workflows")),
        ("POST", format!("{argo}/namespaces/kube-system/workflows")),
        ("DELETE", TEAM.to_owned()),
        ("PATCH", TEAM.to_owned()),
        ("PUT", format!("{TEAM}/finalize")),
        ("PUT", format!("{TEAM}/status")),
        ("POST", format!("{TEAM}/pods")),
        ("DELETE", format!("{TEAM}/pods/x")),
        ("POST", format!("{TEAM}/pods/x/eviction")),
        ("POST", format!("{TEAM}/pods/x/binding")),
        ("POST", format!("{TEAM}/bindings")),
        ("PATCH", format!("{TEAM}/pods/x/ephemeralcontainers")),
        ("GET", format!("{TEAM}/pods/x/exec?command=sh")),
        ("POST", format!("{TEAM}/pods/x/exec?command=sh")),
        ("GET", format!("{TEAM}/pods/x/attach")),
        ("GET", format!("{TEAM}/pods/x/portforward?ports=80")),
        ("GET", format!("{TEAM}/pods/x/proxy/metrics")),
        ("GET", format!("{TEAM}/services/x:80/proxy/")),
        ("GET", "/api/v1/nodes/n/proxy/exec/team/x/main?command=id".to_owned()),
        ("GET", format!("{TEAM}/pods/x/log?insecureSkipTLSVerifyBackend=true")),
        ("POST", format!("{TEAM}/serviceaccounts/x/token")),
        ("PATCH", format!("{TEAM}/serviceaccounts/x")),
        ("POST", "/apis/authentication.k8s.io/v1/tokenreviews".to_owned()),
        ("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews".to_owned()),
        ("POST", "/apis/certificates.k8s.io/v1/certificatesigningrequests".to_owned()),
        ("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles".to_owned()),
        ("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings".to_owned()),
        ("PATCH", "/apis/rbac.authorization.k8s.io/v1/namespaces/openchoreo-ci-team/roles/x".to_owned()),
        ("GET", "/apis/apps/v1/namespaces/openchoreo-ci-team/deployments".to_owned()),
        ("GET", "/metrics".to_owned()),
        ("GET", "/logs/syslog".to_owned()),
        ("GET", "/debug/pprof/heap".to_owned()),
        ("POST", "/version".to_owned()),
        ("TRACE", "/version".to_owned()),
    ] {
        for cr in CRS {
            forged.is_refused(cr, method, &target, "{}").await;
        }
    }
    // What the ClusterBuildPlane may, the BuildPlane may not.
    let all = format!("{argo}/workflows?watch=true&{OURS}");
    forged.is_refused(CRS[0], "GET", &all, "").await;
    forged.is_refused(CRS[0], "GET", "/api/v1/namespaces/openchoreo-ci-other/pods", "").await;
    assert_eq!(forged.ask(CRS[1], "GET", &all, "").await.0, 200);
}

#[tokio::test]
async fn a_forged_gateway_grants_nobody_anything() {
    let forged = Forged::start().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/openchoreo-ci-team";
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "x"});
    let agents =
        json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "buildplane-agent"});
    let account = json!({"kind": "ServiceAccount", "name": "workflow-sa", "namespace": "openchoreo-ci-team"});
    let anybody =
        json!({"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:unauthenticated"});
    let all = json!([{"apiGroups": ["argoproj.io"], "resources": ["workflows"], "verbs": ["*"]}]);
    for (target, body) in [
        ("/api/v1/namespaces", json!({"metadata": {"name": "kube-system"}})),
        ("/api/v1/namespaces", json!({"metadata": {"generateName": "openchoreo-ci-team"}})),
        (
            "/api/v1/namespaces",
            json!({"metadata": {"name": "openchoreo-ci-team", "labels": {"pod-security.kubernetes.io/enforce": "privileged"}}}),
        ),
        (&*format!("{rbac}/roles"), json!({"metadata": {"name": "x"}, "rules": all})),
        (
            &*format!("{rbac}/rolebindings"),
            json!({"metadata": {"name": "x"}, "roleRef": agents, "subjects": [account]}),
        ),
        (
            &*format!("{rbac}/rolebindings"),
            json!({"metadata": {"name": "x"}, "roleRef": role, "subjects": [anybody]}),
        ),
    ] {
        for cr in CRS {
            forged.is_refused(cr, "POST", target, &body.to_string()).await;
        }
    }
    // Two names in one text: the one that was judged is the one that arrives.
    let twice = r#"{"metadata":{"name":"kube-system","name":"openchoreo-ci-team"}}"#;
    let (status, arrived) = forged.ask(CRS[0], "POST", "/api/v1/namespaces", twice).await;
    assert_eq!((status, arrived), (StatusCode::CREATED, json!({"metadata": {"name": "openchoreo-ci-team"}})));
    let swapped = r#"{"metadata":{"name":"openchoreo-ci-team","name":"kube-system"}}"#;
    forged.is_refused(CRS[0], "POST", "/api/v1/namespaces", swapped).await;
    // In a form that is not read, nothing is written.
    let claims: Claims<'_> = &[
        ("x-openchoreo-cr", CRS[0]),
        ("x-openchoreo-target", "k8s"),
        ("content-type", "application/vnd.kubernetes.protobuf"),
    ];
    let before = forged.backend.seen.requests().len();
    assert_eq!(forged.send("POST", "/api/v1/namespaces", claims, "k8s").await.0, 415);
    assert_eq!(forged.backend.seen.requests().len(), before);
}

#[tokio::test]
async fn a_forged_gateway_poses_as_nobody_else() {
    let forged = Forged::start().await;
    let before = forged.backend.seen.requests().len();
    let pods = format!("{TEAM}/pods");
    let (cr, k8s) = ("x-openchoreo-cr", ("x-openchoreo-target", "k8s"));
    let cases: &[(&str, Claims<'_>)] = &[
        ("not admitted", &[(cr, "buildplane/team/other"), k8s]),
        ("not admitted, of another namespace", &[(cr, "buildplane/kube-system/default"), k8s]),
        ("not admitted, cluster-scoped", &[(cr, "clusterbuildplane/_cluster/other"), k8s]),
        ("of another plane type", &[(cr, "dataplane/team/default"), k8s]),
        ("no custom resource", &[k8s]),
        ("two", &[(cr, CRS[0]), (cr, CRS[1]), k8s]),
        ("the same twice", &[(cr, CRS[0]), (cr, CRS[0]), k8s]),
        ("two in one", &[(cr, "buildplane/team/default,clusterbuildplane/_cluster/default"), k8s]),
        ("of no kind", &[(cr, "secret/team/default"), k8s]),
        ("in another case", &[(cr, "buildplane/Team/default"), k8s]),
        ("with a way up", &[(cr, "buildplane/../team/default"), k8s]),
        ("namespaced in the cluster", &[(cr, "buildplane/_cluster/default"), k8s]),
        ("cluster-scoped in a namespace", &[(cr, "clusterbuildplane/team/default"), k8s]),
        ("no target", &[(cr, CRS[0])]),
        ("another target", &[(cr, CRS[0]), ("x-openchoreo-target", "logs")]),
        ("the address of another target", &[(cr, CRS[0]), ("x-openchoreo-target", "http://169.254.169.254")]),
        ("two targets", &[(cr, CRS[0]), k8s, k8s]),
        ("the agent as a caller's target", &[(cr, CRS[0]), ("x-openchoreo-target", "agent")]),
    ];
    for (what, claims) in cases {
        let (status, answer) = forged.send("GET", &pods, claims, "").await;
        assert!(matches!(status.as_u16(), 400 | 403 | 404), "{what}: {status} {answer}");
    }
    // Nobody's credentials and identities get through, whoever sends them.
    let hostile: Claims<'_> = &[
        (cr, CRS[0]),
        k8s,
        ("authorization", "Bearer stolen"),
        ("cookie", "a=b"),
        ("impersonate-user", "system:admin"),
        ("impersonate-group", "system:masters"),
        ("x-remote-user", "system:admin"),
        ("x-remote-group", "system:masters"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-http-method-override", "DELETE"),
    ];
    assert_eq!(forged.backend.seen.requests().len(), before, "it reached the cluster");
    assert_eq!(forged.send("GET", &pods, hostile, "").await.0, 200);
    let (_, arrived) = forged.backend.seen.requests().pop().unwrap();
    assert!(arrived.is_empty(), "{arrived:?}");
}

#[tokio::test]
async fn a_forged_gateway_opens_no_connection_into_a_pod() {
    let forged = Forged::start().await;
    let before = forged.backend.seen.requests().len();
    for subresource in ["exec?command=sh", "attach", "portforward?ports=80", "proxy", "log?follow=true"] {
        for cr in CRS {
            let mut request = Request::builder()
                .method(Method::CONNECT)
                .uri(format!("http://agent{TEAM}/pods/x/{subresource}"))
                .header("x-openchoreo-cr", cr)
                .header("x-openchoreo-target", "k8s")
                .header("sec-websocket-protocol", "v5.channel.k8s.io")
                .body(Empty::new().map_err(|never: Infallible| match never {}).boxed_unsync())
                .unwrap();
            request.extensions_mut().insert(hyper::ext::Protocol::from_static("websocket"));
            let sent = tokio::time::timeout(Duration::from_secs(10), forged.tunnel.send(request));
            let Ok(response) = sent.await.expect("an answer") else { panic!("{subresource}: no answer") };
            assert!(
                matches!(response.status().as_u16(), 400 | 403 | 501),
                "{subresource}: {}",
                response.status()
            );
        }
    }
    assert_eq!(forged.backend.seen.requests().len(), before, "it reached the cluster");
}
