use buildplane_store::Revision;
use http::Request;
use serde_json::{Value, json};

use crate::support::{Client, MAPS, cluster, config_map};

async fn ten(admin: &Client) {
    for n in 0..10 {
        let mut object = config_map(&format!("m{n}"), &json!({}));
        object["metadata"]["labels"] = json!({"parity": if n % 2 == 0 { "even" } else { "odd" }});
        admin.post(MAPS, &object).await.ok();
    }
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_list_is_told_in_pages_of_one_revision() {
    let cluster = cluster().await;
    let admin = &cluster.admin;
    ten(admin).await;
    let first = admin.get(&format!("{MAPS}?limit=4")).await.ok();
    assert_eq!(first["kind"], "ConfigMapList");
    assert_eq!(names(&first), ["m0", "m1", "m2", "m3"]);
    admin.delete(&format!("{MAPS}/m5"), &Value::Null).await.ok();
    admin.post(MAPS, &config_map("m55", &json!({}))).await.ok();
    let next = first["metadata"]["continue"].as_str().unwrap();
    let rest = admin.get(&format!("{MAPS}?limit=50&continue={next}")).await.ok();
    assert_eq!(names(&rest), ["m4", "m5", "m6", "m7", "m8", "m9"]);
    assert_eq!(rest["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    assert!(rest["metadata"].get("continue").is_none());
    let odd = admin.get(&format!("{MAPS}?limit=2&labelSelector=parity%3Dodd")).await.ok();
    assert_eq!(names(&odd), ["m1", "m3"]);
    let next = odd["metadata"]["continue"].as_str().unwrap();
    let odd = admin.get(&format!("{MAPS}?limit=9&labelSelector=parity%3Dodd&continue={next}")).await.ok();
    assert_eq!(names(&odd), ["m7", "m9"]);
}

#[tokio::test]
async fn an_expired_page_is_gone_and_offers_to_go_on_at_the_present() {
    let cluster = cluster().await;
    let admin = &cluster.admin;
    ten(admin).await;
    let first = admin.get(&format!("{MAPS}?limit=4")).await.ok();
    admin.post(MAPS, &config_map("m99", &json!({}))).await.ok();
    let store = cluster.server.store();
    store.compact(store.revision()).await.unwrap();
    let next = first["metadata"]["continue"].as_str().unwrap();
    let gone = admin.get(&format!("{MAPS}?limit=4&continue={next}")).await;
    gone.fails_with(410, "The provided continue parameter is too old");
    assert_eq!(gone.body["reason"], "Expired");
    let next = gone.body["metadata"]["continue"].as_str().unwrap();
    let rest = admin.get(&format!("{MAPS}?continue={next}")).await.ok();
    assert_eq!(names(&rest), ["m4", "m5", "m6", "m7", "m8", "m9", "m99"]);
    for bad in ["nonsense", "e30", "eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ"] {
        admin.get(&format!("{MAPS}?continue={bad}")).await.fails_with(400, "continue key is not valid");
    }
}

#[tokio::test]
async fn revisions_are_heeded_as_their_match_says() {
    let cluster = cluster().await;
    let admin = &cluster.admin;
    ten(admin).await;
    let then = cluster.server.store().revision();
    admin.post(MAPS, &config_map("new", &json!({}))).await.ok();
    let exact = admin.get(&format!("{MAPS}?resourceVersion={then}&resourceVersionMatch=Exact")).await.ok();
    assert_eq!(exact["items"].as_array().unwrap().len(), 10);
    assert_eq!(exact["metadata"]["resourceVersion"], then.to_string());
    for query in
        ["", "?resourceVersion=0", &format!("?resourceVersion={then}&resourceVersionMatch=NotOlderThan")]
    {
        let list = admin.get(&format!("{MAPS}{query}")).await.ok();
        assert_eq!(list["items"].as_array().unwrap().len(), 11, "{query}");
    }
    let ahead = Revision(then.0 + 1_000);
    let early = admin.get(&format!("{MAPS}?resourceVersion={ahead}&resourceVersionMatch=NotOlderThan")).await;
    early.fails_with(504, "Too large resource version");
    assert_eq!(early.body["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    for (query, part) in [
        ("resourceVersion=x", "invalid syntax"),
        ("resourceVersionMatch=Exact", "forbidden unless resourceVersion is provided"),
        ("resourceVersion=0&resourceVersionMatch=Exact", "forbidden for resourceVersion"),
        ("resourceVersion=5&resourceVersionMatch=Newer", "Unsupported value"),
        ("labelSelector=a%3D%3D%3Db", "unable to parse"),
        ("fieldSelector=data.k%3Dv", "field label not supported: data.k"),
        ("limit=-1", "limit"),
    ] {
        admin.get(&format!("{MAPS}?{query}")).await.fails_with(400, part);
    }
}

#[tokio::test]
async fn selectors_choose_across_namespaces() {
    let cluster = cluster().await;
    let admin = &cluster.admin;
    ten(admin).await;
    admin.post("/api/v1/namespaces/kube-system/configmaps", &config_map("m1", &json!({}))).await.ok();
    for (path, expected) in [
        ("/api/v1/configmaps?fieldSelector=metadata.name%3Dm1", 2),
        ("/api/v1/configmaps?fieldSelector=metadata.name%3Dm1,metadata.namespace%3Dkube-system", 1),
        ("/api/v1/namespaces/default/configmaps?fieldSelector=metadata.name%3Dm1", 1),
        ("/api/v1/configmaps?labelSelector=parity+in+(even)", 5),
        ("/api/v1/configmaps?labelSelector=!parity", 1),
        ("/api/v1/configmaps?labelSelector=parity%3Deven,parity!%3Deven", 0),
        ("/api/v1/namespaces/nowhere/configmaps", 0),
    ] {
        let list = admin.get(path).await.ok();
        assert_eq!(list["items"].as_array().unwrap().len(), expected, "{path}");
    }
}

#[tokio::test]
async fn answers_come_as_tables_metadata_or_yaml_when_asked() {
    let cluster = cluster().await;
    let admin = &cluster.admin;
    ten(admin).await;
    let ask = |path: String, accept: &'static str| async move {
        let request = Request::get(path).header("accept", accept).body(axum::body::Body::empty()).unwrap();
        let response = admin.raw(request).await;
        let code = response.status();
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        (code, kind, String::from_utf8(body.to_vec()).unwrap())
    };
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let (_, _, text) = ask(MAPS.to_owned(), table).await;
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["kind"], "Table");
    assert_eq!(value["columnDefinitions"][0]["name"], "Name");
    assert_eq!(value["rows"].as_array().unwrap().len(), 10);
    assert_eq!(value["rows"][0]["cells"][0], "m0");
    assert_eq!(value["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let (_, _, text) = ask(format!("{MAPS}/m0"), table).await;
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["rows"].as_array().unwrap().len(), 1);
    let partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let (_, _, text) = ask(MAPS.to_owned(), partial).await;
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["kind"], "PartialObjectMetadataList");
    assert!(value["items"][0].get("data").is_none());
    let (_, kind, text) = ask(format!("{MAPS}/m0"), "application/yaml").await;
    assert_eq!(kind, "application/yaml");
    assert!(text.contains("kind: ConfigMap\n"), "{text}");
    let (code, ..) = ask(MAPS.to_owned(), "application/vnd.kubernetes.protobuf").await;
    assert_eq!(code, 406);
    let (code, ..) = ask(MAPS.to_owned(), "application/vnd.kubernetes.protobuf,application/json").await;
    assert_eq!(code, 200);
}
