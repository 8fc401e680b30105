use serde_json::{Value, json};

use crate::support::{CRDS, WIDGETS, cluster, widget, widget_definition};

#[tokio::test]
async fn a_definition_is_served_at_once_and_goes_with_its_objects() {
    let cluster = cluster().await;
    let admin = &cluster.admin;
    admin.get(WIDGETS).await.fails_with(404, "could not find");
    let made = admin.post(CRDS, &widget_definition()).await.ok();
    let conditions = made["status"]["conditions"].as_array().unwrap();
    assert!(conditions.iter().any(|c| c["type"] == "Established" && c["status"] == "True"), "{made}");
    assert_eq!(made["spec"]["names"]["listKind"], "WidgetList");
    assert_eq!(made["status"]["storedVersions"], json!(["v1"]));
    admin.post(WIDGETS, &widget("a", &json!({"size": 1}))).await.ok();
    let list = admin.get(WIDGETS).await.ok();
    assert_eq!(list["kind"], "WidgetList");
    let group = admin.get("/apis/example.dev/v1").await.ok();
    let names: Vec<_> = group["resources"].as_array().unwrap().iter().map(|r| r["name"].clone()).collect();
    assert_eq!(names, ["widgets", "widgets/status"]);
    let document = admin.get("/openapi/v3/apis/example.dev/v1").await.ok();
    let schema = &document["components"]["schemas"]["dev.example.v1.Widget"];
    assert_eq!(schema["properties"]["spec"]["properties"]["size"]["type"], "integer");
    let mut held = widget("held", &json!({"size": 1}));
    held["metadata"]["finalizers"] = json!(["example.dev/hold"]);
    admin.post(WIDGETS, &held).await.ok();
    let marked = admin.delete(&format!("{CRDS}/widgets.example.dev"), &Value::Null).await.ok();
    assert_eq!(marked["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    admin.gone(&format!("{WIDGETS}/a")).await;
    let late = admin.post(WIDGETS, &widget("late", &json!({"size": 1}))).await;
    late.fails_with(405, "create not allowed while custom resource definition is terminating");
    admin.merge(&format!("{WIDGETS}/held"), &json!({"metadata": {"finalizers": null}})).await.ok();
    admin.gone(&format!("{CRDS}/widgets.example.dev")).await;
    admin.gone(WIDGETS).await;
    admin.get("/apis/example.dev").await.fails_with(404, "could not find");
    // Nothing of the old ones is left for a definition of the same name.
    admin.post(CRDS, &widget_definition()).await.ok();
    assert_eq!(admin.get(WIDGETS).await.ok()["items"], json!([]));
}

#[tokio::test]
async fn objects_are_judged_by_their_schema() {
    let cluster = cluster().await;
    let admin = &cluster.admin;
    admin.post(CRDS, &widget_definition()).await.ok();
    let refused = admin.post(WIDGETS, &widget("a", &json!({"size": 11}))).await;
    refused.fails_with(422, "Widget.example.dev \"a\" is invalid: spec.size: Invalid value: 11");
    assert_eq!(refused.body["details"]["group"], "example.dev");
    let refused = admin.post(WIDGETS, &widget("a", &json!({}))).await;
    refused.fails_with(422, "spec.size: Required value");
    let twice = json!({"size": 1, "parts": [{"name": "x"}, {"name": "x"}]});
    admin.post(WIDGETS, &widget("a", &twice)).await.fails_with(422, "Duplicate value");
    let unknown = widget("a", &json!({"size": 1, "sise": 2}));
    admin.post(&format!("{WIDGETS}?fieldValidation=Strict"), &unknown).await.fails(
        400,
        "BadRequest",
        "Widget in version \"v1\" cannot be handled as a Widget: strict decoding error: unknown field \"spec.sise\"",
    );
    let pruned = admin.post(WIDGETS, &unknown).await.ok();
    assert_eq!(pruned["spec"], json!({"size": 1, "color": "red"}));
    let strategic = admin
        .send(http::Method::PATCH, &format!("{WIDGETS}/a"), "application/strategic-merge-patch+json", "{}")
        .await;
    strategic.fails_with(415, "unknown format");
}

#[tokio::test]
async fn definitions_with_faults_are_refused_by_name() {
    let cluster = cluster().await;
    let admin = &cluster.admin;
    let faulty = |change: &dyn Fn(&mut Value)| {
        let mut definition = widget_definition();
        change(&mut definition);
        definition
    };
    for (definition, part) in [
        (faulty(&|d| d["metadata"]["name"] = "other.example.dev".into()), "spec.names.plural"),
        (faulty(&|d| d["spec"]["scope"] = "Everywhere".into()), "spec.scope"),
        (faulty(&|d| d["spec"]["versions"][0]["storage"] = false.into()), "storage version"),
        (faulty(&|d| d["spec"]["versions"][0]["schema"] = json!({})), "schemas are required"),
        (
            faulty(&|d| d["spec"]["conversion"] = json!({"strategy": "Webhook"})),
            "conversion webhooks are not supported",
        ),
    ] {
        admin.post(CRDS, &definition).await.fails_with(422, part);
    }
    admin.post(CRDS, &widget_definition()).await.ok();
    let mut rival = faulty(&|d| {
        d["metadata"]["name"] = "rivals.example.dev".into();
        d["spec"]["names"]["plural"] = "rivals".into();
    });
    rival["spec"]["names"]["singular"] = "rival".into();
    let made = admin.post(CRDS, &rival).await.ok();
    let accepted =
        made["status"]["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "NamesAccepted");
    assert_eq!(accepted.unwrap()["status"], "False");
    admin.get("/apis/example.dev/v1/rivals").await.fails_with(404, "could not find");
}

#[tokio::test]
async fn every_served_version_shows_the_same_objects() {
    let cluster = cluster().await;
    let admin = &cluster.admin;
    let mut definition = widget_definition();
    let mut second = definition["spec"]["versions"][0].clone();
    second["name"] = "v2".into();
    second["storage"] = false.into();
    definition["spec"]["versions"].as_array_mut().unwrap().push(second);
    admin.post(CRDS, &definition).await.ok();
    let newer = WIDGETS.replace("/v1/", "/v2/");
    let mut object = widget("a", &json!({"size": 1}));
    object["apiVersion"] = "example.dev/v2".into();
    let made = admin.post(&newer, &object).await.ok();
    assert_eq!(made["apiVersion"], "example.dev/v2");
    assert_eq!(admin.get(&format!("{WIDGETS}/a")).await.ok()["apiVersion"], "example.dev/v1");
    assert_eq!(admin.get(&newer).await.ok()["items"][0]["apiVersion"], "example.dev/v2");
    let group = admin.get("/apis/example.dev").await.ok();
    assert_eq!(group["preferredVersion"]["version"], "v2");
    let patched = admin.merge(&format!("{newer}/a"), &json!({"spec": {"size": 2}})).await.ok();
    assert_eq!((&patched["apiVersion"], &patched["spec"]["size"]), (&json!("example.dev/v2"), &json!(2)));
}

#[tokio::test]
async fn events_are_the_same_in_both_groups() {
    let cluster = cluster().await;
    let admin = &cluster.admin;
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"},
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "c", "reportingInstance": "i",
        "action": "a", "reason": "r", "note": "n", "type": "Normal",
        "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
    });
    let made = admin.post("/apis/events.k8s.io/v1/namespaces/default/events", &event).await.ok();
    assert_eq!(made["note"], "n");
    let core = admin.get("/api/v1/namespaces/default/events/e").await.ok();
    assert_eq!(core["apiVersion"], "v1");
    assert_eq!((&core["message"], &core["reportingComponent"]), (&json!("n"), &json!("c")));
    let chosen = admin
        .get("/api/v1/events?fieldSelector=involvedObject.name%3Dp,involvedObject.kind%3DPod")
        .await
        .ok();
    assert_eq!(chosen["items"].as_array().unwrap().len(), 1);
    let other = admin.get("/api/v1/events?fieldSelector=involvedObject.name%3Dq").await.ok();
    assert_eq!(other["items"].as_array().unwrap().len(), 0);
}
