//! Bearer tokens: asked for, used, reviewed, and refused.

use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use buildplane_apiserver::{Config, Identity, Server, TokenKey};
use buildplane_store::Store;
use http::Request;
use http_body_util::BodyExt as _;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::support::{Client, Cluster, MAPS, cluster, with};

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

async fn account(admin: &Client, name: &str) -> String {
    let made = admin.post(ACCOUNTS, &json!({"metadata": {"name": name}})).await.ok();
    made["metadata"]["uid"].as_str().unwrap().to_owned()
}

async fn token(admin: &Client, name: &str, spec: Value) -> String {
    let made = admin.post(&format!("{ACCOUNTS}/{name}/token"), &json!({"spec": spec})).await.ok();
    made["status"]["token"].as_str().unwrap().to_owned()
}

/// The status of a request that carries these `Authorization` headers and no certificate.
async fn status(router: &Router, path: &str, credentials: &[&str]) -> u16 {
    let mut request = Request::get(path).header("host", "localhost");
    for value in credentials {
        request = request.header("authorization", *value);
    }
    router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap().status().as_u16()
}

async fn accepted(cluster: &Cluster, token: &str) -> bool {
    let answer = status(&cluster.server.router(), "/version", &[&format!("Bearer {token}")]).await;
    assert!(matches!(answer, 200 | 401), "{answer}");
    answer == 200
}

async fn review(cluster: &Cluster, token: &str, audiences: &Value) -> Value {
    let spec = json!({"spec": {"token": token, "audiences": audiences}});
    cluster.admin.post(REVIEWS, &spec).await.ok()["status"].clone()
}

fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[tokio::test]
async fn an_account_speaks_by_its_token_with_its_own_rights() {
    let cluster = cluster().await;
    let (admin, uid) = (&cluster.admin, account(&cluster.admin, "robot").await);
    let made = admin.post(&format!("{ACCOUNTS}/robot/token"), &json!({})).await.ok();
    assert_eq!(made["kind"], "TokenRequest");
    assert_eq!(made["metadata"]["name"], "robot");
    assert_eq!(made["spec"]["expirationSeconds"], 3600);
    assert_eq!(made["spec"]["audiences"], json!([ISSUER]));
    let token = made["status"]["token"].as_str().unwrap();
    let claims = claims(token);
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
    assert_eq!(claims["sub"], "system:serviceaccount:default:robot");
    assert_eq!(
        claims["kubernetes.io"],
        json!({"namespace": "default", "serviceaccount": {"name": "robot", "uid": uid}})
    );
    let (router, bearer) = (cluster.server.router(), format!("Bearer {token}"));
    assert_eq!(status(&router, "/version", &[&bearer]).await, 200);
    assert_eq!(status(&router, MAPS, &[&bearer]).await, 403);
    let binding = json!({
        "metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": "default"}],
    });
    let bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
    admin.post(bindings, &binding).await.ok();
    assert_eq!(status(&router, MAPS, &[&bearer]).await, 200);
    assert_eq!(status(&router, "/api/v1/namespaces/kube-system/configmaps", &[&bearer]).await, 403);
    assert_eq!(status(&router, &format!("{ACCOUNTS}/robot/token"), &[&bearer]).await, 403);
    // The account itself is not what lies below it.
    for verb in ["PUT", "PATCH", "DELETE", "GET"] {
        let method = http::Method::from_bytes(verb.as_bytes()).unwrap();
        let body = json!({"metadata": {"name": "robot"}}).to_string();
        let answer = admin
            .send(method, &format!("{ACCOUNTS}/robot/token"), "application/merge-patch+json", body)
            .await;
        assert_eq!(answer.code, 405, "{verb}");
    }
}

#[tokio::test]
async fn a_review_tells_whose_a_token_is_and_for_whom() {
    let cluster = cluster().await;
    let uid = account(&cluster.admin, "robot").await;
    let mine = token(&cluster.admin, "robot", json!({"audiences": ["gateway", "vault"]})).await;
    let status = review(&cluster, &mine, &json!(["gateway", "other"])).await;
    assert_eq!(status["authenticated"], true);
    assert_eq!(status["audiences"], json!(["gateway"]));
    assert_eq!(status["user"]["username"], "system:serviceaccount:default:robot");
    assert_eq!(status["user"]["uid"], uid);
    assert_eq!(
        status["user"]["groups"],
        json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"])
    );
    let jti = &claims(&mine)["jti"];
    assert_eq!(
        status["user"]["extra"]["authentication.kubernetes.io/credential-id"],
        json!([format!("JTI={}", jti.as_str().unwrap())])
    );
    for audiences in [json!([]), Value::Null, json!(["other"]), json!(["gate"]), json!([ISSUER])] {
        let status = review(&cluster, &mine, &audiences).await;
        assert_eq!(status["authenticated"], Value::Null, "{audiences}");
        assert!(status["error"].as_str().unwrap().contains("not for the audiences"), "{status}");
        assert_eq!(status["user"], json!({}));
    }
    assert!(!accepted(&cluster, &mine).await, "it is for others");
    cluster.admin.post(REVIEWS, &json!({"spec": {}})).await.fails_with(400, "token is required");
    let eve = cluster.user("eve", &[]);
    eve.post(REVIEWS, &json!({"spec": {"token": mine}})).await.fails_with(403, "cannot create");
    eve.post(&format!("{ACCOUNTS}/robot/token"), &json!({}))
        .await
        .fails_with(403, "cannot create resource \"serviceaccounts/token\"");
}

#[tokio::test]
async fn a_token_ends_with_what_it_was_made_for() {
    let cluster = cluster().await;
    let admin = &cluster.admin;
    account(admin, "robot").await;
    let old = token(admin, "robot", json!({})).await;
    assert!(accepted(&cluster, &old).await);
    admin.delete(&format!("{ACCOUNTS}/robot"), &Value::Null).await.ok();
    assert!(!accepted(&cluster, &old).await);
    account(admin, "robot").await;
    assert!(!accepted(&cluster, &old).await, "another account of the same name");
    assert!(review(&cluster, &old, &json!([])).await["error"].as_str().unwrap().contains("made again"));
    let secrets = "/api/v1/namespaces/default/secrets";
    let secret = admin.post(secrets, &json!({"metadata": {"name": "s"}})).await.ok();
    let bound = json!({"apiVersion": "v1", "kind": "Secret", "name": "s"});
    let bound = token(admin, "robot", json!({"boundObjectRef": bound})).await;
    assert_eq!(
        claims(&bound)["kubernetes.io"]["secret"],
        json!({"name": "s", "uid": secret["metadata"]["uid"]})
    );
    assert!(accepted(&cluster, &bound).await);
    admin.delete(&format!("{secrets}/s"), &Value::Null).await.ok();
    assert!(!accepted(&cluster, &bound).await);
    // One that waits for a finalizer is as good as gone.
    let fresh = token(admin, "robot", json!({})).await;
    admin.merge(&format!("{ACCOUNTS}/robot"), &json!({"metadata": {"finalizers": ["a.b/c"]}})).await.ok();
    assert!(accepted(&cluster, &fresh).await);
    admin.delete(&format!("{ACCOUNTS}/robot"), &Value::Null).await.ok();
    assert!(!accepted(&cluster, &fresh).await);
}

#[tokio::test]
async fn requests_for_tokens_are_checked() {
    let cluster = cluster().await;
    let admin = &cluster.admin;
    account(admin, "robot").await;
    let path = format!("{ACCOUNTS}/robot/token");
    for (spec, code, message) in [
        (
            json!({"expirationSeconds": 599}),
            422,
            "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes",
        ),
        (json!({"expirationSeconds": -1}), 422, "less than 10 minutes"),
        (json!({"expirationSeconds": 4_294_967_297_i64}), 422, "larger than 2^32 seconds"),
        (json!({"expirationSeconds": "600"}), 422, "expirationSeconds"),
        (json!({"audiences": [""]}), 422, "spec.audiences[0]: Required value"),
        (json!({"audiences": ["x".repeat(300)]}), 422, "spec.audiences[0]: Too long"),
        (json!({"audiences": vec!["x"; 17]}), 422, "spec.audiences: Too many"),
        (
            json!({"boundObjectRef": {"apiVersion": "v1", "kind": "ConfigMap", "name": "x"}}),
            400,
            "cannot bind token",
        ),
        (
            json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "x"}}),
            404,
            "pods \"x\" not found",
        ),
    ] {
        admin.post(&path, &json!({"spec": spec})).await.fails_with(code, message);
    }
    admin.post("/api/v1/namespaces/default/secrets", &json!({"metadata": {"name": "s"}})).await.ok();
    let bound =
        json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": "s", "uid": "other"}});
    admin.post(&path, &json!({"spec": bound})).await.fails_with(409, "does not match the UID in record");
    admin.post(&format!("{ACCOUNTS}/nobody/token"), &json!({})).await.fails(
        404,
        "NotFound",
        "serviceaccounts \"nobody\" not found",
    );
    let made = admin.post(&path, &json!({"spec": {"expirationSeconds": 1_000_000_000}})).await.ok();
    assert_eq!(made["spec"]["expirationSeconds"], 86_400, "a day is the most this server gives");
    let rehearsed = admin.post(&format!("{path}?dryRun=All"), &json!({})).await.ok();
    assert_eq!(rehearsed["status"]["token"], "");
}

/// A token with these changes to the header and claims of a good one, signed with `key`.
fn forged(good: &str, key: &TokenKey, header: impl Fn(&mut Header), change: impl Fn(&mut Value)) -> String {
    let mut head = jsonwebtoken::decode_header(good).unwrap();
    header(&mut head);
    let mut claims = claims(good);
    change(&mut claims);
    let pem = key.to_pem();
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let signing = EncodingKey::from_ec_der(&STANDARD.decode(body).unwrap());
    jsonwebtoken::encode(&head, &claims, &signing).unwrap()
}

#[tokio::test]
async fn tokens_that_are_not_ours_are_not_believed() {
    let key = TokenKey::generate().unwrap();
    let cluster = with(Config { token_key: Some(key.clone()), ..Config::default() }).await;
    account(&cluster.admin, "robot").await;
    account(&cluster.admin, "other").await;
    let good = token(&cluster.admin, "robot", json!({})).await;
    let now = jiff::Timestamp::now().as_second();
    let same = |_: &mut Header| ();
    assert!(accepted(&cluster, &forged(&good, &key, same, |_| ())).await, "the forger's hand is steady");
    let changed = |field: &'static str, value: Value| {
        forged(&good, &key, same, move |claims| claims[field] = value.clone())
    };
    let without = |field: &'static str| {
        forged(&good, &key, same, move |claims| drop(claims.as_object_mut().unwrap().remove(field)))
    };
    let parts: Vec<&str> = good.split('.').collect();
    let none = |alg: &str| {
        let head = URL_SAFE_NO_PAD.encode(json!({"alg": alg}).to_string());
        [format!("{head}.{}.", parts[1]), format!("{head}.{}.{}", parts[1], parts[2])]
    };
    let hmac = {
        let mut head = Header::new(Algorithm::HS256);
        head.kid = jsonwebtoken::decode_header(&good).unwrap().kid;
        let secret = EncodingKey::from_secret(key.to_pem().as_bytes());
        jsonwebtoken::encode(&head, &claims(&good), &secret).unwrap()
    };
    let mut flipped = good.clone().into_bytes();
    let last = flipped.len() - 20;
    flipped[last] = if flipped[last] == b'A' { b'B' } else { b'A' };
    let mut bad = vec![
        ("expired", changed("exp", json!(now - 60))),
        ("not yet valid", changed("nbf", json!(now + 600))),
        ("another issuer", changed("iss", json!("https://evil.example"))),
        ("another audience", changed("aud", json!(["vault"]))),
        ("no audience", changed("aud", json!([]))),
        ("somebody else's subject", changed("sub", json!("system:serviceaccount:default:other"))),
        ("a person's subject", changed("sub", json!("admin"))),
        ("no end", without("exp")),
        ("no beginning", without("nbf")),
        ("no issuer", without("iss")),
        ("no audience at all", without("aud")),
        ("no account", without("kubernetes.io")),
        ("another key", forged(&good, &TokenKey::generate().unwrap(), same, |_| ())),
        ("a key id of nobody", forged(&good, &key, |head| head.kid = Some("x".into()), |_| ())),
        ("no key id", forged(&good, &key, |head| head.kid = None, |_| ())),
        ("a shared secret", hmac),
        ("a changed signature", String::from_utf8(flipped).unwrap()),
        (
            "a changed claim",
            format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(json!({"aud": []}).to_string()), parts[2]),
        ),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{good}.x")),
        (
            "another uid",
            forged(&good, &key, same, |claims| claims["kubernetes.io"]["serviceaccount"]["uid"] = json!("x")),
        ),
        ("a long one", format!("{good}{}", "x".repeat(20_000))),
    ];
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        bad.extend(none(alg).map(|token| ("no algorithm", token)));
    }
    for (what, token) in bad {
        assert!(!accepted(&cluster, &token).await, "{what}: {token}");
        let status = review(&cluster, &token, &json!([])).await;
        assert_eq!(status["authenticated"], Value::Null, "{what}");
        assert!(!status["error"].as_str().unwrap().contains(&token), "{what}: the token is told");
    }
    assert!(accepted(&cluster, &good).await);
    // Another server with the same accounts has another key.
    let second = with(Config::default()).await;
    account(&second.admin, "robot").await;
    assert!(!accepted(&second, &good).await);
}

#[tokio::test]
async fn credentials_that_are_not_one_bearer_token_are_refused() {
    let cluster = cluster().await;
    account(&cluster.admin, "robot").await;
    let good = token(&cluster.admin, "robot", json!({})).await;
    let router = cluster.server.router();
    let bearer = format!("Bearer {good}");
    for accepted in [bearer.clone(), format!("bearer {good}"), format!("BEARER {good}")] {
        assert_eq!(status(&router, "/version", &[&accepted]).await, 200, "{accepted}");
    }
    for refused in [
        vec![""],
        vec![" "],
        vec!["Bearer"],
        vec!["Bearer "],
        vec!["Bearer    "],
        vec![good.as_str()],
        vec![&format!("Basic {good}")],
        vec![&format!("Bearer  {good}")],
        vec![&format!("Bearer {good} {good}")],
        vec![&format!("Bearer {good},{good}")],
        vec![&format!("Bearer\t{good}")],
        vec![&bearer, &bearer],
        vec![&bearer, "Bearer x"],
        vec!["Bearer x", &bearer],
        vec![&bearer, ""],
    ] {
        assert_eq!(status(&router, "/version", &refused).await, 401, "{refused:?}");
    }
    assert_eq!(status(&router, &format!("/version?access_token={good}"), &[]).await, 401);
}

#[tokio::test]
async fn a_token_outlives_a_restart_where_the_key_does() {
    let directory = tempfile::tempdir().unwrap();
    let key = TokenKey::generate().unwrap();
    let open = async |key: Option<TokenKey>| {
        let store = Store::open(directory.path(), buildplane_store::Config::default()).unwrap();
        Server::new(store, Config { token_key: key, ..Config::default() }).await.unwrap()
    };
    let first = open(Some(key.clone())).await;
    let admin = first.client(Identity::master("admin"));
    let post = async |path: String, body: Value| {
        let request = Request::post(path).header("content-type", "application/json");
        let response =
            admin.clone().oneshot(request.body(Body::from(body.to_string())).unwrap()).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice::<Value>(&body).unwrap()
    };
    post(ACCOUNTS.to_owned(), json!({"metadata": {"name": "robot"}})).await;
    let made = post(format!("{ACCOUNTS}/robot/token"), json!({})).await;
    let bearer = format!("Bearer {}", made["status"]["token"].as_str().unwrap());
    for (key, expected) in [(Some(key), 200), (None, 401)] {
        first.store().close().await;
        let server = open(key).await;
        assert_eq!(status(&server.router(), "/version", &[&bearer]).await, expected);
        server.store().close().await;
    }
}
