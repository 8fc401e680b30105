//! People with a token and rights of their own, before a real API that knows both.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use kube::Client;
use serde_json::{Value, json};
use tokio_util::sync::DropGuard;

use buildplane_apiserver::{Config, Identity, Server};
use buildplane_gateway::{AUDIENCE, ControlPlane};
use buildplane_store::Store;
use buildplane_testing::{Kubectl, Tools};
use buildplane_tls::ClientIdentity;

use crate::backend::{Backend, TEAM};
use crate::rig::{CLUSTER_PROXY, Caller, Rig, TEAM_PROXY, json as read, text};

struct ControlPlaneApi {
    admin: Client,
    _directory: tempfile::TempDir,
}

impl ControlPlaneApi {
    async fn start() -> Self {
        buildplane_tls::install_crypto();
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), buildplane_store::Config::default()).unwrap();
        let server = Server::new(store, Config::default()).await.unwrap();
        let admin = Client::new(server.client(Identity::master("admin")), "default");
        let api = Self { admin, _directory: directory };
        api.post("/api/v1/namespaces", json!({ "metadata": { "name": "team" }})).await;
        api.post("/api/v1/namespaces/team/serviceaccounts", json!({ "metadata": { "name": "alice" }})).await;
        api
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let request = http::Request::post(path).header("content-type", "application/json");
        self.admin.request(request.body(body.to_string().into_bytes()).unwrap()).await.unwrap()
    }

    async fn token(&self, audience: &str) -> String {
        let path = "/api/v1/namespaces/team/serviceaccounts/alice/token";
        let made = self.post(path, json!({ "spec": { "audiences": [audience] }})).await;
        made["status"]["token"].as_str().unwrap().to_owned()
    }

    /// Lets alice do this through plane `default` of her namespace.
    async fn allow(&self, verbs: &[&str]) {
        let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/team";
        let rule = json!({
            "apiGroups": ["openchoreo.dev"], "resources": ["buildplanes/proxy"],
            "resourceNames": ["default"], "verbs": verbs,
        });
        self.post(&format!("{rbac}/roles"), json!({ "metadata": { "name": "r" }, "rules": [rule] })).await;
        let subject = json!({ "kind": "ServiceAccount", "name": "alice", "namespace": "team" });
        let named = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r" });
        let binding = json!({ "metadata": { "name": "b" }, "roleRef": named, "subjects": [subject] });
        self.post(&format!("{rbac}/rolebindings"), binding).await;
    }
}

/// Gateway and agent connected, where the gateway asks this API.
async fn connected(control_plane: Client) -> (Rig, Backend, DropGuard) {
    let control_plane = Arc::new(ControlPlane::new(control_plane, AUDIENCE));
    let (rig, backend, agent, _controller) = Rig::connected_asking(control_plane).await;
    (rig, backend, agent)
}

async fn ask(caller: &mut Caller, method: Method, path: &str, authorization: &str) -> u16 {
    let headers = [("authorization", authorization)];
    caller.send(method, path, &headers, "").await.status().as_u16()
}

#[tokio::test]
async fn a_token_with_rights_of_its_own_reaches_exactly_what_they_cover() {
    let api = ControlPlaneApi::start().await;
    let (rig, backend, _agent) = connected(api.admin.clone()).await;
    let mut caller = rig.caller_with(ClientIdentity::anonymous()).await.unwrap();
    let token = format!("Bearer {}", api.token(AUDIENCE).await);
    let pods = format!("{TEAM_PROXY}{TEAM}/pods");

    let refused = caller.send(Method::GET, &pods, &[("authorization", &token)], "").await;
    assert_eq!(refused.status(), 403);
    let message = read(refused).await["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains(
            "user \"system:serviceaccount:team:alice\" cannot list buildplanes/proxy \"default\" in namespace \"team\""
        ),
        "{message}"
    );

    api.allow(&["list", "get"]).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while ask(&mut caller, Method::GET, &pods, &token).await != 200 {
        assert!(Instant::now() < deadline, "the right takes effect");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (method, path, expected) in [
        (Method::GET, format!("{pods}/x"), 200),
        (Method::GET, format!("{pods}?watch=true"), 403),
        (Method::POST, format!("{TEAM_PROXY}{TEAM}/configmaps"), 403),
        (Method::DELETE, format!("{TEAM_PROXY}{TEAM}/configmaps/x"), 403),
        // What a GET does is read from its path.
        (Method::GET, format!("{pods}/x/exec?command=sh"), 403),
        (Method::GET, format!("{CLUSTER_PROXY}{TEAM}/pods"), 403),
        (Method::GET, "/api/v1/planes/status".to_owned(), 403),
        (Method::PUT, "/api/v1/planes/buildplane/shared/team/default".to_owned(), 403),
    ] {
        assert_eq!(ask(&mut caller, method.clone(), &path, &token).await, expected, "{method} {path}");
    }
    // No token and nothing of its bearer's arrived.
    for (path, headers) in backend.seen.requests() {
        assert!(!headers.contains_key("authorization"), "{path}");
        assert!(!format!("{headers:?}").contains("alice"), "{path}: {headers:?}");
    }
}

#[tokio::test]
async fn what_is_no_token_of_ours_is_nobodys() {
    let api = ControlPlaneApi::start().await;
    api.allow(&["*"]).await;
    let (rig, _backend, _agent) = connected(api.admin.clone()).await;
    let mut caller = rig.caller_with(ClientIdentity::anonymous()).await.unwrap();
    let good = api.token(AUDIENCE).await;
    let path = format!("{TEAM_PROXY}{TEAM}/pods");
    let for_others = api.token("vault").await;
    for authorization in [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Bearer    ".to_owned(),
        format!("Basic {good}"),
        format!("Bearer {good} x"),
        format!("Bearer {for_others}"),
        format!("Bearer {}", &good[..good.len() - 2]),
        format!("Bearer {}", "x".repeat(20_000)),
    ] {
        let code = ask(&mut caller, Method::GET, &path, &authorization).await;
        let shown: String = authorization.chars().take(20).collect();
        assert_eq!(code, 401, "{shown}");
    }
    let twice = [("authorization", "Bearer x"), ("authorization", good.as_str())];
    assert_eq!(caller.send(Method::GET, &path, &twice, "").await.status(), 401);
    assert_eq!(ask(&mut caller, Method::GET, &path, &format!("Bearer {good}")).await, 200);
}

#[tokio::test]
async fn nobody_is_let_in_while_nobody_can_be_asked() {
    let nowhere = kube::Config::new("http://127.0.0.1:1/".parse().unwrap());
    let (rig, _backend, _agent) = connected(Client::try_from(nowhere).unwrap()).await;
    let path = format!("{TEAM_PROXY}{TEAM}/pods");
    let mut anonymous = rig.caller_with(ClientIdentity::anonymous()).await.unwrap();
    let answer = anonymous.send(Method::GET, &path, &[("authorization", "Bearer x")], "").await;
    assert_eq!(answer.status(), 503);
    assert!(text(answer).await.contains("cannot be asked"));
    let mut stranger = rig.caller("mallory", &["strangers"]).await;
    assert_eq!(stranger.get(&path).await.status(), 503);
    // Who is allowed by name is not asked about.
    assert_eq!(rig.caller("alice", &["users"]).await.get(&path).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_reads_a_plane_with_its_users_token() {
    let api = ControlPlaneApi::start().await;
    api.allow(&["get", "list"]).await;
    let (rig, _backend, _agent) = connected(api.admin.clone()).await;
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("data")).unwrap();
    let file = directory.path().join("data/kubeconfig");
    let server = format!("https://127.0.0.1:{}{TEAM_PROXY}", rig.internal.port());
    let mut kubeconfig = crate::rig::kubeconfig(
        &server,
        &rig.gateway_ca,
        &rig.callers_ca.issue(buildplane_tls::LeafRequest::client("unused", crate::rig::HOUR)).unwrap(),
    );
    kubeconfig["users"][0]["user"] = json!({ "token": api.token(AUDIENCE).await });
    std::fs::write(&file, kubeconfig.to_string()).unwrap();
    let said = tokio::task::spawn_blocking(move || {
        let kubectl = Kubectl::new(&Tools::newest(), &file, "x");
        let found = kubectl.run(&["-n", "openchoreo-ci-team", "get", "pod", "x", "-o", "name"]);
        let refused = kubectl.run(&["-n", "openchoreo-ci-team", "delete", "pod", "x", "--wait=false"]);
        (found, refused)
    });
    let (found, refused) = said.await.unwrap();
    assert_eq!(found.ok(), "pod/x\n");
    assert!(refused.failed().contains("cannot delete buildplanes/proxy"));
}
