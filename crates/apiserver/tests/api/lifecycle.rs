use serde_json::{Value, json};

use crate::support::{Client, MAPS, cluster, config_map, eventually};

const NAMESPACES: &str = "/api/v1/namespaces";

async fn owned(admin: &Client, name: &str, owners: &[&Value]) -> Value {
    let mut object = config_map(name, &json!({}));
    let references: Vec<Value> = owners
        .iter()
        .map(|owner| {
            json!({
                "apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"],
                "uid": owner["metadata"]["uid"], "blockOwnerDeletion": true,
            })
        })
        .collect();
    object["metadata"]["ownerReferences"] = references.into();
    admin.post(MAPS, &object).await.ok()
}

fn map(name: &str) -> String {
    format!("{MAPS}/{name}")
}

#[tokio::test]
async fn dependents_go_with_their_last_owner() {
    let cluster = cluster().await;
    let admin = &cluster.admin;
    let one = admin.post(MAPS, &config_map("one", &json!({}))).await.ok();
    let two = admin.post(MAPS, &config_map("two", &json!({}))).await.ok();
    let child = owned(admin, "child", &[&one]).await;
    owned(admin, "grandchild", &[&child]).await;
    owned(admin, "shared", &[&one, &two]).await;
    admin.delete(&map("one"), &Value::Null).await.ok();
    admin.gone(&map("child")).await;
    admin.gone(&map("grandchild")).await;
    admin.get(&map("shared")).await.ok();
    admin.delete(&map("two"), &Value::Null).await.ok();
    admin.gone(&map("shared")).await;
}

#[tokio::test]
async fn an_object_of_an_owner_that_never_was_is_removed() {
    let cluster = cluster().await;
    let ghost = json!({"metadata": {"name": "ghost", "uid": "00000000-0000-0000-0000-000000000000"}});
    owned(&cluster.admin, "orphan", &[&ghost]).await;
    cluster.admin.gone(&map("orphan")).await;
}

#[tokio::test]
async fn foreground_deletion_waits_for_the_dependents() {
    let cluster = cluster().await;
    let admin = &cluster.admin;
    let owner = admin.post(MAPS, &config_map("owner", &json!({}))).await.ok();
    let child = owned(admin, "child", &[&owner]).await;
    let held = json!({"metadata": {"finalizers": ["example.dev/hold"], "uid": child["metadata"]["uid"]}});
    admin.merge(&map("child"), &held).await.ok();
    let answer = admin.delete(&map("owner"), &json!({"propagationPolicy": "Foreground"})).await.ok();
    assert_eq!(answer["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    assert!(answer["metadata"]["deletionTimestamp"].is_string());
    eventually("the child is being deleted", async || {
        admin.get(&map("child")).await.ok()["metadata"]["deletionTimestamp"].is_string()
    })
    .await;
    admin.get(&map("owner")).await.ok();
    admin.merge(&map("child"), &json!({"metadata": {"finalizers": null}})).await.ok();
    admin.gone(&map("child")).await;
    admin.gone(&map("owner")).await;
}

#[tokio::test]
async fn orphans_stay_without_their_owner() {
    let cluster = cluster().await;
    let admin = &cluster.admin;
    let owner = admin.post(MAPS, &config_map("owner", &json!({}))).await.ok();
    owned(admin, "child", &[&owner]).await;
    admin.delete(&map("owner"), &json!({"propagationPolicy": "Orphan"})).await.ok();
    admin.gone(&map("owner")).await;
    let child = admin.get(&map("child")).await.ok();
    assert!(child["metadata"].get("ownerReferences").is_none(), "{child}");
}

#[tokio::test]
async fn finalizers_hold_an_object_until_they_are_removed() {
    let cluster = cluster().await;
    let admin = &cluster.admin;
    let mut object = config_map("a", &json!({}));
    object["metadata"]["finalizers"] = json!(["example.dev/hold"]);
    admin.post(MAPS, &object).await.ok();
    let marked = admin.delete(&map("a"), &Value::Null).await.ok();
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    let more = json!({"metadata": {"finalizers": ["example.dev/hold", "example.dev/b"]}});
    let more = admin.merge(&map("a"), &more).await;
    more.fails_with(422, "no new finalizers can be added if the object is being deleted");
    let again = admin.delete(&map("a"), &Value::Null).await.ok();
    assert_eq!(again["metadata"]["deletionTimestamp"], marked["metadata"]["deletionTimestamp"]);
    admin.merge(&map("a"), &json!({"metadata": {"finalizers": []}})).await.ok();
    admin.get(&map("a")).await.fails_with(404, "not found");
}

#[tokio::test]
async fn deletions_heed_their_preconditions() {
    let cluster = cluster().await;
    let admin = &cluster.admin;
    let object = admin.post(MAPS, &config_map("a", &json!({}))).await.ok();
    let wrong = admin.delete(&map("a"), &json!({"preconditions": {"uid": "other"}})).await;
    wrong.fails_with(409, "Precondition failed: UID in precondition: other");
    let wrong = admin.delete(&map("a"), &json!({"preconditions": {"resourceVersion": "1"}})).await;
    wrong.fails_with(409, "Precondition failed: ResourceVersion in precondition: 1");
    let right = json!({"preconditions": {
        "uid": object["metadata"]["uid"], "resourceVersion": object["metadata"]["resourceVersion"],
    }});
    admin.delete(&map("a"), &right).await.ok();
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let cluster = cluster().await;
    let admin = &cluster.admin;
    for (name, label) in [("a", "x"), ("b", "x"), ("c", "y")] {
        let mut object = config_map(name, &json!({}));
        object["metadata"]["labels"] = json!({"l": label});
        admin.post(MAPS, &object).await.ok();
    }
    let deleted = admin.delete(&format!("{MAPS}?labelSelector=l%3Dx"), &Value::Null).await.ok();
    assert_eq!(deleted["items"].as_array().unwrap().len(), 2);
    let left = admin.get(MAPS).await.ok();
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_deleted_namespace_takes_its_content_and_admits_nothing_new() {
    let cluster = cluster().await;
    let admin = &cluster.admin;
    let made = admin.post(NAMESPACES, &json!({"metadata": {"name": "n"}})).await.ok();
    assert_eq!(made["status"]["phase"], "Active");
    assert_eq!(made["metadata"]["labels"]["kubernetes.io/metadata.name"], "n");
    let maps = "/api/v1/namespaces/n/configmaps";
    let mut held = config_map("held", &json!({}));
    held["metadata"]["finalizers"] = json!(["example.dev/hold"]);
    admin.post(maps, &held).await.ok();
    admin.post(maps, &config_map("free", &json!({}))).await.ok();
    let marked = admin.delete("/api/v1/namespaces/n", &Value::Null).await.ok();
    assert_eq!(marked["status"]["phase"], "Terminating");
    admin.gone(&format!("{maps}/free")).await;
    let late = admin.post(maps, &config_map("late", &json!({}))).await;
    late.fails(
        403,
        "Forbidden",
        "configmaps \"late\" is forbidden: unable to create new content in namespace n because it is being terminated",
    );
    assert_eq!(late.body["details"]["causes"][0]["reason"], "NamespaceTerminating");
    admin.get("/api/v1/namespaces/n").await.ok();
    admin.merge(&format!("{maps}/held"), &json!({"metadata": {"finalizers": null}})).await.ok();
    admin.gone("/api/v1/namespaces/n").await;
    admin.post(NAMESPACES, &json!({"metadata": {"name": "n"}})).await.ok();
}

#[tokio::test]
async fn the_first_namespaces_are_there_and_keep_their_identity() {
    let directory = tempfile::tempdir().unwrap();
    let open =
        || buildplane_store::Store::open(directory.path(), buildplane_store::Config::default()).unwrap();
    let mut uids = Vec::new();
    for _ in 0..2 {
        let store = open();
        let server =
            buildplane_apiserver::Server::new(store.clone(), buildplane_apiserver::Config::default());
        let server = server.await.unwrap();
        let entry = server.store().get("/core/namespaces/kube-system").unwrap();
        let object: Value = serde_json::from_slice(&entry.value).unwrap();
        uids.push(object["metadata"]["uid"].as_str().unwrap().to_owned());
        store.close().await;
    }
    assert_eq!(uids[0], uids[1]);
}
