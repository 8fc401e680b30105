use std::time::Duration;

use axum::body::Body;
use buildplane_apiserver::Config;
use futures::StreamExt as _;
use http::Request;
use serde_json::{Value, json};

use crate::support::{Client, MAPS, cluster, config_map, with};

/// The lines of a watch.
struct Lines {
    body: axum::body::BodyDataStream,
    buffer: Vec<u8>,
}

async fn watch(client: &Client, query: &str) -> Lines {
    watch_as(client, query, "application/json").await
}

async fn watch_as(client: &Client, query: &str, accept: &str) -> Lines {
    let uri = format!("{MAPS}?watch=true&{query}");
    let request = Request::get(uri).header("accept", accept).body(Body::empty()).unwrap();
    let response = client.raw(request).await;
    assert_eq!(response.status(), 200);
    Lines { body: response.into_body().into_data_stream(), buffer: Vec::new() }
}

impl Lines {
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let chunk = tokio::time::timeout(Duration::from_secs(20), self.body.next());
            self.buffer.extend_from_slice(&chunk.await.expect("a frame in time")?.unwrap());
        }
    }

    async fn brief(&mut self) -> String {
        let event = self.next().await.expect("the watch goes on");
        let object = &event["object"];
        format!("{} {}", event["type"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap_or("-"))
    }
}

fn labelled(name: &str, label: &str) -> Value {
    let mut object = config_map(name, &json!({}));
    object["metadata"]["labels"] = json!({"l": label});
    object
}

#[tokio::test]
async fn a_watch_tells_of_changes_after_its_revision() {
    let cluster = cluster().await;
    let admin = &cluster.admin;
    let first = admin.post(MAPS, &labelled("a", "x")).await.ok();
    let from = first["metadata"]["resourceVersion"].as_str().unwrap();
    admin.post(MAPS, &labelled("b", "x")).await.ok();
    let mut lines = watch(admin, &format!("resourceVersion={from}")).await;
    assert_eq!(lines.brief().await, "ADDED b");
    let changed = admin.merge(&format!("{MAPS}/a"), &json!({"data": {"k": "v"}})).await.ok();
    assert_eq!(lines.next().await.unwrap(), json!({"type": "MODIFIED", "object": changed}));
    admin.delete(&format!("{MAPS}/a"), &Value::Null).await.ok();
    let deleted = lines.next().await.unwrap();
    assert_eq!(deleted["type"], "DELETED");
    assert_eq!(deleted["object"]["data"], json!({"k": "v"}));
    let version =
        |object: &Value| object["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap();
    assert!(version(&deleted["object"]) > version(&changed));
}

#[tokio::test]
async fn objects_come_and_go_as_they_match_the_selector() {
    let cluster = cluster().await;
    let admin = &cluster.admin;
    admin.post(MAPS, &labelled("a", "x")).await.ok();
    let mut lines = watch(admin, "labelSelector=l%3Dx").await;
    assert_eq!(lines.brief().await, "ADDED a");
    let path = format!("{MAPS}/a");
    admin.merge(&path, &json!({"metadata": {"labels": {"l": "y"}}})).await.ok();
    let left = lines.next().await.unwrap();
    assert_eq!(left["type"], "DELETED");
    assert_eq!(left["object"]["metadata"]["labels"]["l"], "x");
    admin.merge(&path, &json!({"data": {"unseen": "1"}})).await.ok();
    admin.merge(&path, &json!({"metadata": {"labels": {"l": "x"}}})).await.ok();
    assert_eq!(lines.brief().await, "ADDED a");
    let mut lines = watch(admin, "fieldSelector=metadata.name%3Db").await;
    admin.post(MAPS, &labelled("bb", "x")).await.ok();
    admin.post(MAPS, &labelled("b", "x")).await.ok();
    assert_eq!(lines.brief().await, "ADDED b");
}

#[tokio::test]
async fn a_watch_list_sends_the_state_then_says_that_it_is_complete() {
    let cluster = cluster().await;
    let admin = &cluster.admin;
    admin.post(MAPS, &labelled("a", "x")).await.ok();
    admin.post(MAPS, &labelled("b", "x")).await.ok();
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    // The server's own controllers write as well, so the state is from some revision between these two.
    let before = cluster.server.store().revision().0;
    let mut lines = watch(admin, query).await;
    assert_eq!(lines.brief().await, "ADDED a");
    assert_eq!(lines.brief().await, "ADDED b");
    let mark = lines.next().await.unwrap();
    assert_eq!(mark["type"], "BOOKMARK");
    assert_eq!(mark["object"]["kind"], "ConfigMap");
    assert_eq!(mark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    let marked: u64 = mark["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    assert!((before..=cluster.server.store().revision().0).contains(&marked), "{marked} after {before}");
    admin.post(MAPS, &labelled("c", "x")).await.ok();
    assert_eq!(lines.brief().await, "ADDED c");
    let wrong = admin.get(&format!("{MAPS}?watch=1&sendInitialEvents=true")).await;
    wrong.fails_with(400, "sendInitialEvents requires setting resourceVersionMatch");
    let wrong = admin.get(&format!("{MAPS}?watch=1&resourceVersionMatch=Exact&resourceVersion=1")).await;
    wrong.fails_with(400, "forbidden for watch unless sendInitialEvents is provided");
}

#[tokio::test]
async fn a_watch_from_forgotten_history_says_so() {
    let cluster = cluster().await;
    let admin = &cluster.admin;
    let old = admin.post(MAPS, &labelled("a", "x")).await.ok();
    admin.post(MAPS, &labelled("b", "x")).await.ok();
    let store = cluster.server.store();
    store.compact(store.revision()).await.unwrap();
    let from = old["metadata"]["resourceVersion"].as_str().unwrap();
    let mut lines = watch(admin, &format!("resourceVersion={from}")).await;
    let event = lines.next().await.unwrap();
    assert_eq!(event["type"], "ERROR");
    assert_eq!(event["object"]["code"], 410);
    assert_eq!(event["object"]["reason"], "Expired");
    assert!(lines.next().await.is_none());
}

#[tokio::test]
async fn a_watch_ends_at_its_time_and_sends_bookmarks_until_then() {
    let config = Config { bookmark_interval: Duration::from_millis(50), ..Config::default() };
    let cluster = with(config).await;
    let from = cluster.server.store().revision();
    let query = format!("timeoutSeconds=1&allowWatchBookmarks=true&resourceVersion={from}");
    let mut lines = watch(&cluster.admin, &query).await;
    let mut bookmarks = 0;
    while let Some(event) = lines.next().await {
        assert_eq!(event["type"], "BOOKMARK");
        bookmarks += 1;
    }
    assert!((2..=20).contains(&bookmarks), "{bookmarks}");
}

#[tokio::test]
async fn tables_are_watched_with_their_columns_once() {
    let cluster = cluster().await;
    let admin = &cluster.admin;
    admin.post(MAPS, &labelled("a", "x")).await.ok();
    admin.post(MAPS, &labelled("b", "x")).await.ok();
    let mut lines = watch_as(admin, "", "application/json;as=Table;v=v1;g=meta.k8s.io").await;
    let first = lines.next().await.unwrap();
    assert_eq!(first["object"]["kind"], "Table");
    assert_eq!(first["object"]["columnDefinitions"][0]["name"], "Name");
    assert_eq!(first["object"]["rows"][0]["cells"][0], "a");
    let second = lines.next().await.unwrap();
    assert_eq!(second["object"]["columnDefinitions"], Value::Null);
    assert_eq!(second["object"]["rows"][0]["cells"][0], "b");
}
