use http::Method;
use serde_json::{Value, json};

use crate::support::{CRDS, MAPS, WIDGETS, cluster, config_map, widget, widget_definition};

fn map(name: &str) -> String {
    format!("{MAPS}/{name}")
}

#[tokio::test]
async fn an_object_is_created_read_replaced_and_deleted() {
    let cluster = cluster().await;
    let admin = &cluster.admin;
    let created = admin.post(MAPS, &config_map("a", &json!({"k": "v"}))).await;
    assert_eq!(created.code, 201);
    let created = created.ok();
    let metadata = &created["metadata"];
    assert_eq!(metadata["namespace"], "default");
    assert_eq!(metadata["uid"].as_str().unwrap().len(), 36);
    assert_eq!(metadata["managedFields"][0]["manager"], "tests");
    assert!(metadata.get("generation").is_none());
    assert_eq!(admin.get(&map("a")).await.ok(), created);
    let mut changed = created.clone();
    changed["data"]["k"] = "w".into();
    let replaced = admin.put(&map("a"), &changed).await.ok();
    assert_eq!(replaced["data"]["k"], "w");
    assert_ne!(replaced["metadata"]["resourceVersion"], metadata["resourceVersion"]);
    // The same again writes nothing.
    assert_eq!(admin.put(&map("a"), &replaced).await.ok(), replaced);
    let gone = admin.delete(&map("a"), &Value::Null).await.ok();
    assert_eq!(gone["status"], "Success");
    assert_eq!(gone["details"]["uid"], metadata["uid"]);
    admin.get(&map("a")).await.fails(404, "NotFound", "configmaps \"a\" not found");
}

#[tokio::test]
async fn refusals_are_worded_as_kubernetes_words_them() {
    let cluster = cluster().await;
    let admin = &cluster.admin;
    let object = admin.post(MAPS, &config_map("a", &json!({}))).await.ok();
    let again = admin.post(MAPS, &config_map("a", &json!({}))).await;
    again.fails(409, "AlreadyExists", "configmaps \"a\" already exists");
    assert_eq!(again.body["details"], json!({"name": "a", "kind": "configmaps"}));
    let mut stale = object.clone();
    stale["metadata"]["resourceVersion"] = "1".into();
    admin.put(&map("a"), &stale).await.fails(
        409,
        "Conflict",
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again",
    );
    let mut other = object.clone();
    other["metadata"]["uid"] = "u".into();
    admin.put(&map("a"), &other).await.fails_with(409, "Precondition failed: UID in precondition: u");
    admin.put(&map("b"), &config_map("b", &json!({}))).await.fails(
        404,
        "NotFound",
        "configmaps \"b\" not found",
    );
    admin.put(&map("b"), &object).await.fails_with(400, "does not match the name on the URL");
    admin.post(MAPS, &object).await.fails_with(400, "resourceVersion should not be set");
    let bad = admin.post(MAPS, &config_map("Bad_Name", &json!({}))).await;
    bad.fails_with(422, "ConfigMap \"Bad_Name\" is invalid: metadata.name: Invalid value: \"Bad_Name\"");
    assert_eq!(bad.body["reason"], "Invalid");
    assert_eq!(bad.body["details"]["causes"][0]["field"], "metadata.name");
    assert_eq!(bad.body["details"]["causes"][0]["reason"], "FieldValueInvalid");
    admin.post("/api/v1/namespaces/none/configmaps", &config_map("a", &json!({}))).await.fails(
        404,
        "NotFound",
        "namespaces \"none\" not found",
    );
    let wrong = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}});
    admin
        .post(MAPS, &wrong)
        .await
        .fails_with(400, "Secret in version \"v1\" cannot be handled as a ConfigMap");
    let wrong = json!({"apiVersion": "v2", "kind": "ConfigMap", "metadata": {"name": "a"}});
    admin.post(MAPS, &wrong).await.fails(
        400,
        "BadRequest",
        "the API version in the data (v2) does not match the expected API version (v1)",
    );
    let elsewhere = json!({"metadata": {"name": "a", "namespace": "kube-system"}});
    admin.post(MAPS, &elsewhere).await.fails(
        400,
        "BadRequest",
        "the namespace of the provided object does not match the namespace sent on the request",
    );
    let nowhere = admin.get("/api/v1/things").await;
    nowhere.fails(404, "NotFound", "the server could not find the requested resource");
}

#[tokio::test]
async fn unknown_and_doubled_fields_are_refused_warned_of_or_ignored() {
    let cluster = cluster().await;
    let admin = &cluster.admin;
    let text = r#"{"metadata":{"name":"NAME"},"data":{"a":"1","a":"2"},"extra":1}"#;
    let send = |name: &str, validation: &str| {
        let path = format!("{MAPS}?fieldValidation={validation}");
        let body = text.replace("NAME", name);
        async move { admin.send(Method::POST, &path, "application/json", body).await }
    };
    send("strict", "Strict").await.fails(
        400,
        "BadRequest",
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"extra\", duplicate field \"data.a\"",
    );
    let warned = send("warn", "Warn").await;
    let warnings: Vec<_> = warned.headers.get_all("warning").iter().collect();
    assert_eq!(warnings, [r#"299 - "unknown field \"extra\"""#, r#"299 - "duplicate field \"data.a\"""#]);
    let stored = warned.ok();
    assert_eq!(stored["data"], json!({"a": "2"}));
    assert!(stored.get("extra").is_none());
    let ignored = send("ignore", "Ignore").await;
    assert!(ignored.headers.get("warning").is_none());
    ignored.ok();
}

#[tokio::test]
async fn generated_names_are_unlike_each_other() {
    let cluster = cluster().await;
    let body = json!({"metadata": {"generateName": "run-"}});
    let first = cluster.admin.post(MAPS, &body).await.ok();
    let second = cluster.admin.post(MAPS, &body).await.ok();
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(name(&first).starts_with("run-") && name(&first).len() == 9, "{first}");
    assert_ne!(name(&first), name(&second));
}

#[tokio::test]
async fn the_four_patches_change_what_they_say() {
    let cluster = cluster().await;
    let admin = &cluster.admin;
    admin.post(MAPS, &config_map("a", &json!({"k": "v", "l": "w"}))).await.ok();
    let merged = admin.merge(&map("a"), &json!({"data": {"k": null, "m": "x"}})).await.ok();
    assert_eq!(merged["data"], json!({"l": "w", "m": "x"}));
    let patch = json!([{"op": "test", "path": "/data/m", "value": "x"}, {"op": "remove", "path": "/data/l"}]);
    let json = "application/json-patch+json";
    let patched = admin.send(Method::PATCH, &map("a"), json, patch.to_string()).await.ok();
    assert_eq!(patched["data"], json!({"m": "x"}));
    let patch = json!([{"op": "test", "path": "/data/m", "value": "other"}]);
    assert_eq!(admin.send(Method::PATCH, &map("a"), json, patch.to_string()).await.code, 422);
    let strategic = "application/strategic-merge-patch+json";
    let pod = json!({
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "one", "image": "a:1"}, {"name": "two", "image": "b:1"}]},
    });
    let pods = "/api/v1/namespaces/default/pods";
    admin.post(pods, &pod).await.ok();
    let patch = json!({"spec": {"containers": [{"name": "two", "image": "b:2"}]}});
    let target = format!("{pods}/p");
    let patched = admin.send(Method::PATCH, &target, strategic, patch.to_string()).await.ok();
    let images: Vec<_> =
        patched["spec"]["containers"].as_array().unwrap().iter().map(|c| c["image"].clone()).collect();
    assert_eq!(images, ["a:1", "b:2"]);
    let unknown = admin.send(Method::PATCH, &map("a"), "text/plain", "{}").await;
    unknown.fails_with(415, "unknown format");
    let mut stale = json!({"metadata": {"resourceVersion": "1"}, "data": {"z": "z"}});
    admin.merge(&map("a"), &stale).await.fails_with(409, "the object has been modified");
    stale["metadata"] = json!({"name": "b"});
    admin.merge(&map("a"), &stale).await.fails_with(400, "does not match the name on the URL");
}

#[tokio::test]
async fn applies_own_fields_conflict_and_take_over_by_force() {
    let cluster = cluster().await;
    let admin = &cluster.admin;
    let path = |manager: &str| format!("{MAPS}/a?fieldManager={manager}");
    admin
        .apply(&map("a"), &config_map("a", &json!({})))
        .await
        .fails_with(400, "fieldManager: Required value");
    let made = admin.apply(&path("one"), &config_map("a", &json!({"k": "1", "l": "1"}))).await;
    assert_eq!(made.code, 201);
    let same = admin.apply(&path("one"), &config_map("a", &json!({"k": "1", "l": "1"}))).await;
    assert_eq!(same.code, 200);
    assert_eq!(same.ok()["metadata"]["resourceVersion"], made.body["metadata"]["resourceVersion"]);
    let conflict = admin.apply(&path("two"), &config_map("a", &json!({"k": "2"}))).await;
    conflict.fails(409, "Conflict", "Apply failed with 1 conflict: conflict with \"one\": .data.k");
    let cause = &conflict.body["details"]["causes"][0];
    assert_eq!(cause["reason"], "FieldManagerConflict");
    assert_eq!(cause["field"], ".data.k");
    let forced = format!("{}&force=true", path("two"));
    let taken = admin.apply(&forced, &config_map("a", &json!({"k": "2"}))).await.ok();
    assert_eq!(taken["data"], json!({"k": "2", "l": "1"}));
    // What a manager no longer applies goes, unless somebody else holds it.
    let left = admin.apply(&path("one"), &config_map("a", &json!({}))).await.ok();
    assert_eq!(left["data"], json!({"k": "2"}));
    let mut managed = config_map("a", &json!({}));
    managed["metadata"]["managedFields"] = json!([{"manager": "x"}]);
    admin.apply(&path("one"), &managed).await.fails(400, "BadRequest", "metadata.managedFields must be nil");
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  y: 'yes'\n";
    let applied = admin.send(Method::PATCH, &path("three"), "application/apply-patch+yaml", yaml).await.ok();
    assert_eq!(applied["data"]["y"], "yes");
}

#[tokio::test]
async fn status_is_written_through_its_own_door_and_generation_counts_desires() {
    let cluster = cluster().await;
    let admin = &cluster.admin;
    admin.post(CRDS, &widget_definition()).await.ok();
    let mut new = widget("a", &json!({"size": 1}));
    new["status"] = json!({"seen": 9});
    let created = admin.post(WIDGETS, &new).await.ok();
    assert_eq!(created["metadata"]["generation"], 1);
    assert_eq!(created["spec"]["color"], "red");
    assert!(created.get("status").is_none(), "{created}");
    let target = format!("{WIDGETS}/a");
    let status = format!("{target}/status");
    let patch = json!({"spec": {"size": 5}, "status": {"seen": 1}, "metadata": {"labels": {"a": "b"}}});
    let patched = admin.merge(&status, &patch).await.ok();
    assert_eq!(patched["spec"]["size"], 1);
    assert_eq!(patched["status"]["seen"], 1);
    assert!(patched["metadata"].get("labels").is_none());
    assert_eq!(patched["metadata"]["generation"], 1);
    let patched = admin.merge(&target, &json!({"spec": {"size": 5}, "status": {"seen": 7}})).await.ok();
    assert_eq!(patched["metadata"]["generation"], 2);
    assert_eq!(patched["status"]["seen"], 1);
    let patched = admin.merge(&target, &json!({"metadata": {"labels": {"a": "b"}}})).await.ok();
    assert_eq!(patched["metadata"]["generation"], 2);
    let mut unversioned = patched.clone();
    unversioned["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    admin.put(&target, &unversioned).await.fails_with(422, "metadata.resourceVersion: Invalid value: 0");
    admin.get(&format!("{MAPS}/a/status")).await.fails_with(404, "could not find");
}

#[tokio::test]
async fn a_dry_run_answers_and_changes_nothing() {
    let cluster = cluster().await;
    let admin = &cluster.admin;
    let before = cluster.server.store().revision();
    let made = admin.post(&format!("{MAPS}?dryRun=All"), &config_map("a", &json!({"k": "v"}))).await;
    assert_eq!(made.code, 201);
    assert_eq!(made.ok()["data"]["k"], "v");
    admin.get(&map("a")).await.fails_with(404, "not found");
    admin.post(&format!("{MAPS}?dryRun=Some"), &config_map("a", &json!({}))).await.fails_with(400, "dryRun");
    admin.post(MAPS, &config_map("a", &json!({"k": "v"}))).await.ok();
    let patched = admin.merge(&format!("{}?dryRun=All", map("a")), &json!({"data": {"k": "w"}})).await.ok();
    assert_eq!(patched["data"]["k"], "w");
    admin.delete(&format!("{}?dryRun=All", map("a")), &Value::Null).await.ok();
    assert_eq!(admin.get(&map("a")).await.ok()["data"]["k"], "v");
    assert!(cluster.server.store().revision().0 < before.0 + 8, "only the one create was written");
}

#[tokio::test]
async fn secrets_take_text_and_hold_base64() {
    let cluster = cluster().await;
    let secrets = "/api/v1/namespaces/default/secrets";
    let body = json!({"metadata": {"name": "s"}, "stringData": {"k": "v"}, "data": {"l": "dw=="}});
    let made = cluster.admin.post(secrets, &body).await.ok();
    assert_eq!(made["data"], json!({"k": "dg==", "l": "dw=="}));
    assert!(made.get("stringData").is_none());
    assert_eq!(made["type"], "Opaque");
    let bad = json!({"metadata": {"name": "t"}, "data": {"k": "no base64!"}});
    let refused = cluster.admin.post(secrets, &bad).await;
    assert!(refused.code.is_client_error(), "{refused:?}");
    let retyped = cluster.admin.merge(&format!("{secrets}/s"), &json!({"type": "other"})).await;
    retyped.fails_with(422, "field is immutable");
    let fixed = cluster.admin.merge(&format!("{secrets}/s"), &json!({"immutable": true})).await;
    fixed.ok();
    let late = cluster.admin.merge(&format!("{secrets}/s"), &json!({"data": {"k": "eA=="}})).await;
    late.fails_with(422, "field is immutable when `immutable` is set");
}

#[tokio::test]
async fn many_writers_of_one_object_lose_no_write() {
    let cluster = cluster().await;
    cluster.admin.post(MAPS, &config_map("a", &json!({}))).await.ok();
    let writes = (0..12).map(|n| {
        let admin = cluster.admin.clone();
        async move { admin.merge(&map("a"), &json!({"data": {format!("k{n}"): "v"}})).await.ok() }
    });
    futures::future::join_all(writes).await;
    assert_eq!(cluster.admin.get(&map("a")).await.ok()["data"].as_object().unwrap().len(), 12);
}

#[tokio::test]
async fn events_and_leases_are_held_against_the_rules_of_kubernetes() {
    let cluster = cluster().await;
    let admin = &cluster.admin;
    let events = |namespace: &str| format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events");
    let event = |of: &str| {
        json!({
            "metadata": {"name": "e"}, "eventTime": "2026-01-01T00:00:00.000000Z", "type": "Normal",
            "reportingController": "c.dev/x", "reportingInstance": "i", "action": "A", "reason": "R", "note": "n",
            "regarding": {"kind": "X", "namespace": of, "name": "a"},
        })
    };
    for field in ["eventTime", "reportingController", "reportingInstance", "action", "reason"] {
        let mut without = event("default");
        without.as_object_mut().unwrap().remove(field);
        let message = format!("{field}: Required value");
        admin.post(&events("default"), &without).await.fails_with(422, &message);
    }
    let mut odd = event("default");
    odd["type"] = json!("Odd");
    admin.post(&events("default"), &odd).await.fails_with(422, "type: Invalid value");
    for (namespace, of, fits) in [
        ("default", "default", true),
        ("default", "kube-system", false),
        ("kube-system", "", true),
        ("kube-public", "", false),
    ] {
        let mut event = event(of);
        event["metadata"]["name"] = format!("e-{namespace}").into();
        let answer = admin.post(&events(namespace), &event).await;
        assert_eq!(answer.code.is_success(), fits, "{namespace} {of}: {answer:?}");
    }
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    for (spec, message) in [
        (
            json!({"leaseDurationSeconds": 0}),
            "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
        ),
        (json!({"leaseTransitions": -1}), "spec.leaseTransitions: Invalid value: -1"),
    ] {
        admin.post(leases, &json!({"metadata": {"name": "l"}, "spec": spec})).await.fails_with(422, message);
    }
    // How a leader takes and keeps a lease: by server-side apply, with a conflict for the second.
    let lease = |holder: &str| {
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "leader"},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000000Z"},
        })
    };
    let path = |holder: &str| format!("{leases}/leader?fieldManager={holder}");
    admin.apply(&path("one"), &lease("one")).await.ok();
    admin.apply(&path("one"), &lease("one")).await.ok();
    let refused = admin.apply(&path("two"), &lease("two")).await;
    refused.fails_with(409, "conflict with \"one\": .spec.holderIdentity");
    admin.apply(&format!("{}&force=true", path("two")), &lease("two")).await.ok();
    admin.apply(&path("one"), &lease("one")).await.fails_with(409, "conflict with \"two\"");
}
