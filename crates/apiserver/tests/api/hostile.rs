use buildplane_apiserver::{Config, Limits};
use http::Method;
use serde_json::{Value, json};

use crate::support::{CRDS, MAPS, cluster, config_map, widget_definition, with};

#[tokio::test]
async fn bodies_that_are_no_objects_are_refused_and_told_why() {
    let cluster = cluster().await;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let yaml_bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: [*f,*f,*f,*f,*f,*f,*f,*f,*f,*f]\n";
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("application/json", b"".to_vec()),
        ("application/json", b"{".to_vec()),
        ("application/json", b"null".to_vec()),
        ("application/json", b"[]".to_vec()),
        ("application/json", b"\"text\"".to_vec()),
        ("application/json", b"{}{}".to_vec()),
        ("application/json", b"{\"metadata\":7}".to_vec()),
        ("application/json", b"{\"metadata\":{\"name\":\"\xff\"}}".to_vec()),
        ("application/json", b"{\"metadata\":{\"name\":\"a\",\"labels\":[]}}".to_vec()),
        ("application/json", b"{\"metadata\":{\"name\":7}}".to_vec()),
        ("application/json", deep.clone().into_bytes()),
        ("application/json", format!("{{\"data\":{deep}}}").into_bytes()),
        ("application/yaml", b"a: [".to_vec()),
        ("application/yaml", b"\xff\xfe".to_vec()),
        ("application/yaml", yaml_bomb.as_bytes().to_vec()),
        ("application/vnd.kubernetes.protobuf", b"k8s\0garbage".to_vec()),
        ("application/vnd.kubernetes.protobuf", b"{}".to_vec()),
        ("application/xml", b"<a/>".to_vec()),
    ];
    for (content_type, body) in cases {
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        let answer = cluster.admin.send(Method::POST, MAPS, content_type, body).await;
        assert!(answer.code.is_client_error(), "{content_type} {shown}: {answer:?}");
        assert_eq!(answer.body["kind"], "Status", "{content_type} {shown}");
        assert!(!answer.body["message"].as_str().unwrap().is_empty());
    }
    assert_eq!(cluster.admin.get(MAPS).await.ok()["items"], json!([]));
}

#[tokio::test]
async fn sizes_are_bounded() {
    let limits = Limits { body_bytes: 20_000, object_bytes: 10_000, uri_bytes: 2_000, ..Limits::default() };
    let cluster = with(Config { limits, ..Config::default() }).await;
    let admin = &cluster.admin;
    let huge = config_map("a", &json!({"k": "x".repeat(30_000)}));
    admin.post(MAPS, &huge).await.fails_with(413, "Request entity too large: limit is 20000");
    let big = config_map("a", &json!({"k": "x".repeat(12_000)}));
    admin.post(MAPS, &big).await.fails_with(413, "limit is 10000");
    // Not by many small steps either.
    admin.post(MAPS, &config_map("a", &json!({"k": "x".repeat(8_000)}))).await.ok();
    let grown = admin.merge(&format!("{MAPS}/a"), &json!({"data": {"l": "x".repeat(4_000)}})).await;
    grown.fails_with(413, "limit is 10000");
    assert_eq!(admin.get(&format!("{MAPS}?labelSelector={}", "a".repeat(3_000))).await.code, 414);
}

#[tokio::test]
async fn paths_have_one_reading() {
    let cluster = cluster().await;
    for path in [
        "/api/v1/namespaces/default/../kube-system/secrets",
        "/api/v1/namespaces/default%2f..%2fkube-system/secrets",
        "/api/v1/namespaces/default/secrets/%2e%2e",
        "/api/v1/namespaces//secrets",
        "/api/v1/namespaces/default/secrets/a%00b",
        "/api/v1/namespaces/default/secrets/%",
        "/api/v1/namespaces/default/secrets/%C3%28",
    ] {
        assert_eq!(cluster.admin.get(path).await.code, 400, "{path}");
    }
    for (method, path) in [
        (Method::POST, "/api/v1/namespaces/default/configmaps/a"),
        (Method::PUT, MAPS),
        (Method::PATCH, MAPS),
        (Method::OPTIONS, MAPS),
        (Method::DELETE, "/api/v1/configmaps"),
        (Method::POST, "/api/v1/configmaps"),
        (Method::DELETE, "/api/v1/namespaces"),
        (Method::POST, "/version"),
        (Method::from_bytes(b"BREW").unwrap(), MAPS),
    ] {
        let answer = cluster.admin.send(method.clone(), path, "application/json", "{}").await;
        assert_eq!(answer.code, 405, "{method} {path}: {answer:?}");
    }
    for path in
        ["/api/v1/namespaces/default/namespaces/x", "/apis/x/y/z", "/api/v2", "/openapi/v2", "/metrics"]
    {
        assert_eq!(cluster.admin.get(path).await.code, 404, "{path}");
    }
}

#[tokio::test]
async fn odd_definitions_do_not_take_the_server_down() {
    let cluster = cluster().await;
    let admin = &cluster.admin;
    let mut shapes = Vec::new();
    for pointer in [
        "/spec",
        "/spec/names",
        "/spec/versions",
        "/spec/versions/0",
        "/spec/versions/0/schema",
        "/spec/names/kind",
    ] {
        for value in [json!(null), json!(1), json!("x"), json!([]), json!({}), json!([[1]])] {
            let mut definition = widget_definition();
            *definition.pointer_mut(pointer).unwrap() = value;
            shapes.push(definition);
        }
    }
    let mut nested = json!({"type": "object"});
    for _ in 0..60 {
        nested = json!({"type": "object", "properties": {"a": nested}});
    }
    let mut deep = widget_definition();
    deep["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = nested;
    shapes.push(deep);
    for shape in shapes {
        let answer = admin.post(CRDS, &shape).await;
        assert!(!answer.code.is_server_error(), "{shape}: {answer:?}");
        if answer.code.is_success() {
            admin.delete(&format!("{CRDS}/widgets.example.dev"), &Value::Null).await.ok();
            admin.gone(&format!("{CRDS}/widgets.example.dev")).await;
        }
    }
    admin.get("/openapi/v3").await.ok();
    admin.get("/apis").await.ok();
}

#[tokio::test]
async fn watches_are_counted() {
    let limits = Limits { watches: 1, ..Limits::default() };
    let cluster = with(Config { limits, ..Config::default() }).await;
    let request =
        || http::Request::get(format!("{MAPS}?watch=true")).body(axum::body::Body::empty()).unwrap();
    let open = cluster.admin.raw(request()).await;
    assert_eq!(open.status(), 200);
    let refused = cluster.admin.raw(request()).await;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    drop(open);
    assert_eq!(cluster.admin.raw(request()).await.status(), 200);
}
