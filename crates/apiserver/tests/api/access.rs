use axum::body::Body;
use buildplane_apiserver::Config;
use http::Request;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::support::{Client, MAPS, cluster, config_map, with};

const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";

fn role(name: &str, rules: &Value) -> Value {
    json!({"metadata": {"name": name}, "rules": rules})
}

fn binding(name: &str, role: &str, user: &str) -> Value {
    json!({
        "metadata": {"name": name}, "roleRef": {"kind": "Role", "name": role},
        "subjects": [{"kind": "User", "name": user}],
    })
}

async fn grant(admin: &Client, user: &str, rules: &Value) {
    let name = format!("for-{user}");
    admin.post(ROLES, &role(&name, rules)).await.ok();
    admin.post(BINDINGS, &binding(&name, &name, user)).await.ok();
}

#[tokio::test]
async fn nothing_is_allowed_until_a_role_says_so() {
    let cluster = cluster().await;
    let (admin, eve) = (&cluster.admin, cluster.user("eve", &["readers"]));
    let refused = eve.get(&format!("{MAPS}/a")).await;
    refused.fails(
        403,
        "Forbidden",
        "configmaps \"a\" is forbidden: User \"eve\" cannot get resource \"configmaps\" in API group \"\" in the namespace \"default\"",
    );
    eve.get("/api/v1/configmaps").await.fails(
        403,
        "Forbidden",
        "configmaps is forbidden: User \"eve\" cannot list resource \"configmaps\" in API group \"\" at the cluster scope",
    );
    grant(admin, "eve", &json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}]))
        .await;
    eve.get(MAPS).await.ok();
    eve.get("/api/v1/configmaps").await.fails_with(403, "at the cluster scope");
    eve.get("/api/v1/namespaces/kube-system/configmaps").await.fails_with(403, "kube-system");
    eve.post(MAPS, &config_map("a", &json!({}))).await.fails_with(403, "cannot create");
    eve.get(&format!("{MAPS}?watch=true")).await.fails_with(403, "cannot watch");
    admin.delete(&format!("{BINDINGS}/for-eve"), &Value::Null).await.ok();
    eve.get(MAPS).await.fails_with(403, "cannot list");
    // What there is may be asked by everybody who is somebody.
    for path in ["/api", "/apis", "/api/v1", "/version", "/openapi/v3", "/healthz"] {
        assert_eq!(eve.get(path).await.code, 200, "{path}");
    }
}

#[tokio::test]
async fn an_apply_that_creates_needs_the_right_to_create() {
    let cluster = cluster().await;
    let bob = cluster.user("bob", &[]);
    grant(
        &cluster.admin,
        "bob",
        &json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch"]}]),
    )
    .await;
    let path = format!("{MAPS}/a?fieldManager=bob");
    bob.apply(&path, &config_map("a", &json!({}))).await.fails_with(403, "cannot create");
    cluster.admin.post(MAPS, &config_map("a", &json!({}))).await.ok();
    bob.apply(&path, &config_map("a", &json!({"k": "v"}))).await.ok();
}

#[tokio::test]
async fn nobody_grants_more_than_they_have() {
    let cluster = cluster().await;
    let bob = cluster.user("bob", &[]);
    grant(
        &cluster.admin,
        "bob",
        &json!([
            {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"], "verbs": ["*"]},
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
        ]),
    )
    .await;
    let within = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    // The wildcard over roles covers `escalate` and `bind` too, so bob's own grant is narrowed first.
    let verbs = json!(["get", "create", "update", "patch"]);
    cluster
        .admin
        .merge(
            &format!("{ROLES}/for-bob"),
            &json!({"rules": [
                {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"], "verbs": verbs},
                {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
            ]}),
        )
        .await
        .ok();
    bob.post(ROLES, &role("small", &within)).await.ok();
    let beyond = json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]);
    bob.post(ROLES, &role("big", &beyond)).await.fails_with(403, "attempting to grant RBAC permissions");
    cluster.admin.post(ROLES, &role("big", &beyond)).await.ok();
    bob.post(BINDINGS, &binding("b", "big", "bob"))
        .await
        .fails_with(403, "attempting to grant RBAC permissions");
    bob.post(BINDINGS, &binding("b", "small", "eve")).await.ok();
    let roles = json!({"kind": "ClusterRole", "name": "cluster-admin"});
    let mut all = binding("c", "x", "bob");
    all["roleRef"] = roles;
    bob.post(BINDINGS, &all).await.fails_with(403, "attempting to grant RBAC permissions");
}

#[tokio::test]
async fn reviews_answer_what_a_request_would_meet() {
    let cluster = cluster().await;
    let bob = cluster.user("bob", &["devs"]);
    grant(&cluster.admin, "bob", &json!([{"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]}]))
        .await;
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    for (attributes, allowed) in [
        (json!({"verb": "get", "resource": "pods", "subresource": "log", "namespace": "default"}), true),
        (json!({"verb": "get", "resource": "pods", "namespace": "default"}), false),
        (json!({"verb": "get", "resource": "pods", "subresource": "log", "namespace": "other"}), false),
    ] {
        let review = bob.post(path, &json!({"spec": {"resourceAttributes": attributes}})).await.ok();
        assert_eq!(review["status"]["allowed"], allowed, "{review}");
    }
    let question = json!({"spec": {"nonResourceAttributes": {"verb": "get", "path": "/version"}}});
    assert_eq!(bob.post(path, &question).await.ok()["status"]["allowed"], true);
    let who = bob.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", &json!({})).await.ok();
    assert_eq!(
        who["status"]["userInfo"],
        json!({"username": "bob", "groups": ["devs", "system:authenticated"]})
    );
    let rules = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let rules = bob.post(rules, &json!({"spec": {"namespace": "default"}})).await.ok();
    let found = rules["status"]["resourceRules"].as_array().unwrap();
    assert!(found.iter().any(|rule| rule["resources"] == json!(["pods/log"])), "{rules}");
    let others = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let question = json!({"spec": {
        "user": "bob", "resourceAttributes": {"verb": "list", "resource": "secrets", "namespace": "default"},
    }});
    bob.post(others, &question).await.fails_with(403, "cannot create");
    assert_eq!(cluster.admin.post(others, &question).await.ok()["status"]["allowed"], false);
}

#[tokio::test]
async fn speaking_for_others_needs_the_right_to() {
    let cluster = cluster().await;
    let as_user = |client: &Client, user: &str| {
        let request = Request::get(MAPS).header("impersonate-user", user).body(Body::empty()).unwrap();
        let client = client.clone();
        async move { client.raw(request).await.status().as_u16() }
    };
    assert_eq!(as_user(&cluster.admin, "nobody").await, 403);
    grant(
        &cluster.admin,
        "bob",
        &json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]),
    )
    .await;
    assert_eq!(as_user(&cluster.admin, "bob").await, 200);
    assert_eq!(as_user(&cluster.user("eve", &[]), "bob").await, 403);
}

#[tokio::test]
async fn without_a_certificate_nothing_is_answered() {
    let cluster = with(Config::default()).await;
    let router = cluster.server.router();
    for path in ["/", "/healthz", "/version", "/api", "/openapi/v3", "/api/v1/namespaces"] {
        let request = Request::get(path).header("host", "localhost:6443").body(Body::empty()).unwrap();
        assert_eq!(router.clone().oneshot(request).await.unwrap().status(), 401, "{path}");
    }
    for host in ["evil.example", "evil.example:6443", "localhost.evil.example", "10.0.0.1"] {
        let request = Request::get("/version").header("host", host).body(Body::empty()).unwrap();
        assert_eq!(router.clone().oneshot(request).await.unwrap().status(), 421, "{host}");
    }
}
