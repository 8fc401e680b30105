//! What of a request arrives at the cluster's API, and what of its answer comes back.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, StreamBody};

use crate::backend::TEAM;
use crate::rig::{CLUSTER_PROXY, Rig, TEAM_PROXY, json, text};

#[tokio::test]
async fn a_callers_identity_and_our_own_headers_stay_outside() {
    let (_rig, backend, _agent, mut controller) = Rig::connected().await;
    let hostile = [
        ("authorization", "Bearer stolen"),
        ("cookie", "session=1"),
        ("x-remote-user", "admin"),
        ("x-openchoreo-cr", "clusterbuildplane/_cluster/default"),
        ("x-openchoreo-target", "logs"),
        ("x-openchoreo-anything", "x"),
        ("x-request-id", "chosen-by-the-caller"),
        ("x-forwarded-for", "127.0.0.1"),
        ("accept", "application/json"),
        ("user-agent", "test"),
    ];
    let response = controller.send(Method::GET, &format!("{TEAM_PROXY}{TEAM}/pods"), &hostile, "").await;
    assert_eq!(response.status(), 200);
    let request_id = response.headers()["x-request-id"].clone();
    assert_ne!(request_id, "chosen-by-the-caller");
    let (_, arrived) = backend.seen.requests().pop().unwrap();
    let mut names: Vec<&str> = arrived.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept", "user-agent"], "{arrived:?}");
    // What the caller claimed about the custom resource had no effect either.
    let others = format!("{TEAM_PROXY}/api/v1/namespaces/openchoreo-ci-x/pods");
    assert_eq!(controller.send(Method::GET, &others, &hostile, "").await.status(), 403);
}

#[tokio::test]
async fn nobody_is_impersonated_through_the_gateway() {
    let (_rig, backend, _agent, mut controller) = Rig::connected().await;
    let path = format!("{TEAM_PROXY}{TEAM}/pods");
    for name in [
        "impersonate-user",
        "Impersonate-Group",
        "IMPERSONATE-UID",
        "impersonate-extra-scopes",
        "impersonate-anything",
    ] {
        let once = [(name, "system:masters")];
        let twice = [(name, "x"), (name, "system:masters")];
        for headers in [&once[..], &twice] {
            let response = controller.send(Method::GET, &path, headers, "").await;
            assert_eq!(response.status(), 403, "{name}");
            assert!(text(response).await.contains("nobody is impersonated"));
        }
    }
    assert!(backend.seen.requests().is_empty());
}

#[tokio::test]
async fn paths_are_judged_in_the_form_in_which_they_are_sent() {
    let (_rig, backend, _agent, mut controller) = Rig::connected().await;
    let before = backend.seen.requests().len();
    for (path, expected) in [
        ("//api/v1/namespaces/kube-system/secrets", 400),
        ("/./api/v1/namespaces/kube-system/secrets", 400),
        ("/api/v1/../v1/namespaces/kube-system/secrets", 400),
        ("/api/v1/%2e%2e/v1/secrets", 400),
        ("/api/v1/%252e%252e/v1/secrets", 400),
        ("/api/v1/namespaces/openchoreo-ci-team%2fsecrets", 400),
        ("/api/v1/namespaces/openchoreo-ci-team%252fsecrets", 400),
        ("/api/v1/namespaces/openchoreo-ci-team/pods;x=y", 400),
        ("/api/v1/namespaces/openchoreo-ci-team/pods%00", 400),
        ("/api/v1/namespaces/openchoreo-ci-team/pods%20", 400),
        ("/api/v1/namespaces/openchoreo-ci-team/pods.", 400),
        ("/api/v1/namespaces/openchoreo-ci-team/pods?watch=true;x", 400),
        ("/api/v1/namespaces/openchoreo-ci-team/pods?watch=yes", 400),
        ("/api/v1/namespaces/openchoreo-ci-team/pods%3Fwatch=true", 403),
        ("/api/v1/namespaces/openchoreo-ci-team/pods%23", 403),
        ("/api/v1/namespaces/openchoreo-ci-team/Pods", 403),
        ("/api/v1/NameSpaces/openchoreo-ci-team/pods", 403),
        ("/api/v1/namespaces/openchoreo-ci-team/secrets", 403),
        ("/api/v1/namespaces/openchoreo-ci-team/%73ecrets", 403),
        ("/api/v1/namespaces/openchoreo-ci-team/pods/x/exec?command=sh", 403),
        ("/api/v1/namespaces/openchoreo-ci-team/services/x:80/proxy/y", 403),
        ("/api/v1/watch/namespaces/openchoreo-ci-team/pods", 400),
        ("/metrics", 403),
    ] {
        let response = controller.get(&format!("{TEAM_PROXY}{path}")).await;
        let status = response.status().as_u16();
        let body = json(response).await;
        assert_eq!(status, expected, "{path}: {body}");
        assert_eq!((&body["kind"], &body["code"]), (&"Status".into(), &expected.into()), "{path}: {body}");
    }
    assert_eq!(backend.seen.requests().len(), before, "none of them arrived");
    // One that is merely spelled differently arrives in its canonical form.
    let spelled =
        controller.get(&format!("{TEAM_PROXY}/api/v1/%6eamespaces/openchoreo-ci-team/pods?limit=5")).await;
    assert_eq!(spelled.status(), 200);
    assert_eq!(backend.seen.requests().pop().unwrap().0, format!("{TEAM}/pods?limit=5"));
}

#[tokio::test]
async fn strange_methods_are_refused() {
    let (_rig, _backend, _agent, mut controller) = Rig::connected().await;
    let path = format!("{TEAM_PROXY}{TEAM}/pods");
    for (method, expected) in [("TRACE", 405), ("PROPFIND", 405), ("OPTIONS", 400), ("get", 405)] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let response = controller.send(method.clone(), &path, &[], "").await;
        assert_eq!(response.status().as_u16(), expected, "{method}");
    }
}

#[tokio::test]
async fn redirects_and_cookies_of_a_build_cluster_are_not_relayed() {
    let (_rig, _backend, _agent, mut controller) = Rig::connected().await;
    let response = controller.get(&format!("{TEAM_PROXY}{TEAM}/configmaps/redirect")).await;
    assert_eq!(response.status(), 502);
    assert!(!response.headers().contains_key("location"));
    assert!(!response.headers().contains_key("set-cookie"));
    assert!(text(response).await.contains("answered 302, which is not relayed"));
}

#[tokio::test]
async fn bodies_are_limited_while_they_stream() {
    let (_rig, _backend, _agent, mut controller) = Rig::connected().await;
    let path = format!("{TEAM_PROXY}{TEAM}/configmaps");
    let within = controller.send(Method::POST, &path, &[], vec![b'x'; 9 << 20]).await;
    assert_eq!(text(within).await, (9 << 20).to_string());
    let declared = controller.send(Method::POST, &path, &[], vec![b'x'; 11 << 20]).await;
    assert_eq!(declared.status(), 413);
    let endless =
        futures::stream::repeat_with(|| Ok(http_body::Frame::data(Bytes::from(vec![b'x'; 64 * 1024]))));
    let request =
        Request::post(format!("https://gateway.test{path}")).body(StreamBody::new(endless).boxed_unsync());
    let response = controller.request(request.unwrap()).await;
    assert_eq!(response.status(), 413);
    assert_eq!(json(response).await["reason"], "RequestEntityTooLarge");
}

#[tokio::test]
async fn a_namespace_is_created_under_a_build_namespaces_name_only() {
    let (_rig, backend, _agent, mut controller) = Rig::connected().await;
    let namespace = |name: &str| format!(r#"{{"kind":"Namespace","metadata":{{"name":"{name}"}}}}"#);
    let kind = [("content-type", "application/json")];
    let team = format!("{TEAM_PROXY}/api/v1/namespaces");
    let cluster = format!("{CLUSTER_PROXY}/api/v1/namespaces");
    for (path, headers, body, expected) in [
        (&team, kind, namespace("openchoreo-ci-team"), 201),
        (&cluster, kind, namespace("openchoreo-ci-other"), 201),
        (&team, kind, namespace("openchoreo-ci-other"), 403),
        (&team, kind, namespace("kube-system"), 403),
        (&cluster, kind, namespace("openchoreo-build-plane"), 403),
        (
            &team,
            kind,
            r#"{"metadata":{"generateName":"openchoreo-ci-","name":"openchoreo-ci-team"}}"#.to_owned(),
            403,
        ),
        (&team, kind, "{}".to_owned(), 403),
        (&team, kind, "{".to_owned(), 400),
        (&team, kind, "x".repeat(100_000), 413),
        (&team, [("content-type", "application/yaml")], namespace("openchoreo-ci-team"), 415),
    ] {
        let before = backend.seen.requests().len();
        let shown: String = body.chars().take(80).collect();
        let response = controller.send(Method::POST, path, &headers, body).await;
        assert_eq!(response.status().as_u16(), expected, "{path} {shown}: {}", text(response).await);
        assert_eq!(backend.seen.requests().len() - before, usize::from(expected == 201), "{shown}");
    }
}

#[tokio::test]
async fn what_is_not_registered_or_not_there_is_said_plainly() {
    let (_rig, _backend, _agent, mut controller) = Rig::connected().await;
    for (path, expected, message) in [
        (
            "/api/proxy/buildplane/shared/nobody/default/k8s/version",
            404,
            "is not registered with plane id shared",
        ),
        (
            "/api/proxy/buildplane/other/team/default/k8s/version",
            404,
            "is not registered with plane id other",
        ),
        ("/api/proxy/dataplane/shared/team/default/k8s/version", 404, "is not registered"),
        ("/api/proxy/buildplane/shared/team/default/logs/x", 403, "target"),
        ("/api/proxy/starship/shared/team/default/k8s/x", 400, "plane type"),
    ] {
        let response = controller.get(path).await;
        let status = response.status().as_u16();
        let body = json(response).await;
        assert_eq!(status, expected, "{path}: {body}");
        assert!(body["message"].as_str().unwrap().contains(message), "{path}: {body}");
    }
}
