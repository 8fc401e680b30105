//! Who may call the internal listener, and what each may do.

use http::Method;

use buildplane_tls::{Authority, ClientIdentity, LeafRequest};

use crate::rig::{HOUR, Rig, SHARED, TEAM_PROXY, full, json};

#[tokio::test]
async fn callers_are_known_by_certificate_and_allowed_by_role() {
    let (rig, backend, _agent, mut controller) = Rig::connected().await;
    let ca = serde_json::json!({ "clientCA": Rig::agent_ca(&backend).await }).to_string();
    let proxy = format!("{TEAM_PROXY}/version");
    let cr = format!("{SHARED}/team/default");
    let mut user = rig.caller("alice", &["users"]).await;
    let mut stranger = rig.caller("mallory", &["strangers"]).await;
    let mut nobody = rig.caller_with(ClientIdentity::anonymous()).await.unwrap();
    let unnamed = rig.callers_ca.issue(LeafRequest::client(" ", HOUR)).unwrap();
    let mut unnamed = rig.caller_with(ClientIdentity::new(&unnamed)).await.unwrap();
    for (name, caller, expected) in [
        ("controller", &mut controller, [200, 200, 200, 200]),
        ("user", &mut user, [200, 403, 403, 403]),
        ("stranger", &mut stranger, [403, 403, 403, 403]),
        ("nobody", &mut nobody, [401, 401, 401, 401]),
        ("unnamed", &mut unnamed, [401, 401, 401, 401]),
    ] {
        let statuses = [
            caller.get(&proxy).await.status().as_u16(),
            caller.send(Method::PUT, &cr, &[], ca.clone()).await.status().as_u16(),
            caller.get("/api/v1/planes/status").await.status().as_u16(),
            caller.send(Method::DELETE, &format!("{SHARED}/nobody/nothing"), &[], "").await.status().as_u16(),
        ];
        assert_eq!(statuses, expected, "{name}: proxy, register, read, remove");
    }
    let refused = json(stranger.get(&proxy).await).await;
    assert_eq!(refused["kind"], "Status");
    assert_eq!(refused["reason"], "Forbidden");
    assert_eq!(refused["message"], "user \"mallory\" may not send requests to planes");
}

#[tokio::test]
async fn a_certificate_of_another_ca_does_not_pass_the_handshake() {
    let rig = Rig::start().await;
    let other = Authority::generate("control plane", HOUR).unwrap();
    let request =
        LeafRequest { organizations: vec!["controllers".into()], ..LeafRequest::client("manager", HOUR) };
    let forged = ClientIdentity::new(&other.issue(request).unwrap());
    if let Ok(mut caller) = rig.caller_with(forged).await {
        // TLS 1.3 lets a client begin before it hears that it was refused.
        let request = http::Request::get("https://gateway.test/api/v1/planes/status").body(full("")).unwrap();
        let sent = tokio::spawn(async move { caller.request(request).await.status() }).await;
        assert!(sent.is_err(), "a forged controller was answered");
    }
}

#[tokio::test]
async fn another_host_name_is_not_served() {
    let rig = Rig::start().await;
    let mut controller = rig.controller().await;
    let request = http::Request::get("https://evil.example/api/v1/planes/status").body(full("")).unwrap();
    assert_eq!(controller.request(request).await.status(), 421);
}

#[tokio::test]
async fn registrations_are_read_strictly() {
    let rig = Rig::start().await;
    let mut controller = rig.controller().await;
    let good = Authority::generate("ca", HOUR).unwrap();
    let body = |ca: &str| serde_json::json!({ "clientCA": ca }).to_string();
    let key = format!("{}{}", good.cert_pem(), good.key_pem());
    for (path, body, expected) in [
        (format!("{SHARED}/team/default"), body(good.cert_pem()), 200),
        (format!("{SHARED}/_cluster/default"), body(good.cert_pem()), 200),
        (format!("{SHARED}/team/default"), body(""), 422),
        (format!("{SHARED}/team/default"), body(&key), 422),
        (format!("{SHARED}/team/default"), "{}".to_owned(), 400),
        (format!("{SHARED}/team/default"), "{\"clientCA\":\"x\",\"more\":1}".to_owned(), 400),
        (format!("{SHARED}/team/default"), "[".repeat(100_000), 400),
        (format!("{SHARED}/team/default"), "x".repeat(2 << 20), 413),
        (format!("{SHARED}/Team/default"), body(good.cert_pem()), 400),
        (format!("{SHARED}/team/de%2Ffault"), body(good.cert_pem()), 400),
        ("/api/v1/planes/starship/shared/team/default".to_owned(), body(good.cert_pem()), 400),
        ("/api/v1/planes/buildplane/SHARED/team/default".to_owned(), body(good.cert_pem()), 400),
        ("/api/v1/nothing".to_owned(), String::new(), 404),
    ] {
        let shown: String = body.chars().take(40).collect();
        let response = controller.send(Method::PUT, &path, &[], body).await;
        assert_eq!(response.status().as_u16(), expected, "{path} {shown}");
    }
}

#[tokio::test]
async fn what_is_counted_names_no_caller_and_nothing_of_his() {
    let (rig, _backend, _agent, mut controller) = Rig::connected().await;
    let mut mallory = rig.caller("mallory", &["strangers"]).await;
    assert_eq!(controller.get(&format!("{TEAM_PROXY}/version")).await.status(), 200);
    assert_eq!(mallory.get(&format!("{TEAM_PROXY}/version")).await.status(), 403);
    assert_eq!(mallory.get("/api/proxy/buildplane/shared/team/default/evil/x").await.status(), 403);
    let mut nobody = rig.caller_with(ClientIdentity::anonymous()).await.unwrap();
    assert_eq!(nobody.get(&format!("{TEAM_PROXY}/version")).await.status(), 401);
    let counted = rig.counted();
    for line in [
        "buildplane_gateway_requests_refused_total{reason=\"Forbidden\"} 2",
        "buildplane_gateway_requests_refused_total{reason=\"Unauthorized\"} 1",
        "buildplane_gateway_head_seconds_count{target=\"k8s\"} 2",
        "buildplane_gateway_head_seconds_count{target=\"none\"} 1",
        "buildplane_gateway_requests_total{code=\"200\"} 1",
        "buildplane_gateway_upgraded_streams 0",
    ] {
        assert!(counted.lines().any(|found| found == line), "{line}\n{counted}");
    }
    assert!(!counted.contains("mallory") && !counted.contains("evil"), "{counted}");
}
