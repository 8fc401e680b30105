use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// A ConfigMap-like kind with every way to merge.
fn schema() -> Schema {
    Schema::from_crd(&json!({
        "type": "object",
        "properties": {
            "data": {"type": "object", "additionalProperties": {"type": "string"}},
            "spec": {
                "type": "object",
                "properties": {
                    "replicas": {"type": "integer"},
                    "image": {"type": "string"},
                    "atomic": {"type": "array", "items": {"type": "string"}},
                    "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
                    "selector": {
                        "type": "object", "additionalProperties": {"type": "string"},
                        "x-kubernetes-map-type": "atomic",
                    },
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    "containers": {
                        "type": "array",
                        "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                        "items": {
                            "type": "object",
                            "required": ["name"],
                            "properties": {
                                "name": {"type": "string"},
                                "image": {"type": "string"},
                                "env": {"type": "object", "additionalProperties": {"type": "string"}},
                                "ports": {
                                    "type": "array",
                                    "x-kubernetes-list-type": "map",
                                    "x-kubernetes-list-map-keys": ["port", "protocol"],
                                    "items": {"type": "object", "properties": {
                                        "port": {"type": "integer"},
                                        "protocol": {"type": "string", "default": "TCP"},
                                        "name": {"type": "string"},
                                    }},
                                },
                            },
                        },
                    },
                },
            },
            "status": {"type": "object", "properties": {"phase": {"type": "string"}}},
        },
    }))
    .unwrap()
}

/// One object and the writes it sees, one second apart.
struct Cluster {
    schema: Schema,
    live: Option<Value>,
    seconds: i64,
    scope: Scope,
    subresource: &'static str,
}

impl Cluster {
    fn new() -> Self {
        Self { schema: schema(), live: None, seconds: 1_700_000_000, scope: Scope::Whole, subresource: "" }
    }

    fn writer<'a>(&mut self, manager: &'a str) -> Writer<'a> {
        self.seconds += 1;
        let time = Timestamp::from_second(self.seconds).unwrap();
        Writer { manager, api_version: "test/v1", subresource: self.subresource, time }
    }

    fn try_apply(&mut self, manager: &str, on_conflict: OnConflict, body: Value) -> Result<bool, ApplyError> {
        let writer = self.writer(manager);
        let body = whole(body);
        let applied = apply(self.live.as_ref(), &body, &writer, on_conflict, &self.schema, self.scope)?;
        self.live = Some(applied.object);
        Ok(applied.changed)
    }

    fn apply(&mut self, manager: &str, body: Value) -> bool {
        self.try_apply(manager, OnConflict::Fail, body).unwrap_or_else(|error| panic!("{error}"))
    }

    fn force(&mut self, manager: &str, body: Value) -> bool {
        self.try_apply(manager, OnConflict::Force, body).unwrap()
    }

    /// What is refused, as Kubernetes words it.
    fn refused(&mut self, manager: &str, body: Value) -> String {
        self.try_apply(manager, OnConflict::Fail, body).unwrap_err().to_string()
    }

    /// Replaces the object; the client does not send managed fields.
    fn update(&mut self, manager: &str, body: Value) {
        let writer = self.writer(manager);
        self.live = Some(update(self.live.as_ref(), whole(body), &writer, &self.schema, self.scope));
    }

    fn live(&self) -> Value {
        let mut live = self.live.clone().unwrap();
        let members = live.as_object_mut().unwrap();
        for name in ["apiVersion", "kind", "metadata"] {
            members.remove(name);
        }
        live
    }

    /// `manager operation: paths` for each manager.
    fn owners(&self) -> Vec<String> {
        let list = self.live.as_ref().unwrap().pointer("/metadata/managedFields");
        let list = list.and_then(Value::as_array).cloned().unwrap_or_default();
        let describe = |entry: &Value| {
            let fields = FieldSet::from_fields_v1(&entry["fieldsV1"]).unwrap().to_string();
            let fields: Vec<&str> = fields.lines().collect();
            let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            format!("{} {}: {}", text("manager"), text("operation"), fields.join(" "))
        };
        list.iter().map(describe).collect()
    }
}

fn whole(body: Value) -> Value {
    let mut object = json!({"apiVersion": "test/v1", "kind": "Test", "metadata": {"name": "test"}});
    let Value::Object(members) = body else { panic!("a body is an object") };
    for (name, value) in members {
        object[name] = value;
    }
    object
}

#[test]
fn the_documented_example_of_conflict_and_transfer() {
    let mut cluster = Cluster::new();
    cluster.apply("user", json!({"spec": {"replicas": 3, "image": "nginx"}}));
    assert_eq!(cluster.owners(), ["user Apply: .spec.image .spec.replicas"]);
    // An autoscaler takes over the count, the user's configuration must let go of it.
    assert_eq!(
        cluster.refused("scaler", json!({"spec": {"replicas": 5}})),
        r#"Apply failed with 1 conflict: conflict with "user": .spec.replicas"#
    );
    cluster.force("scaler", json!({"spec": {"replicas": 5}}));
    assert_eq!(cluster.owners(), ["user Apply: .spec.image", "scaler Apply: .spec.replicas"]);
    assert_eq!(
        cluster.refused("user", json!({"spec": {"replicas": 3, "image": "nginx"}})),
        r#"Apply failed with 1 conflict: conflict with "scaler": .spec.replicas"#
    );
    cluster.apply("user", json!({"spec": {"image": "nginx:2"}}));
    assert_eq!(cluster.live(), json!({"spec": {"replicas": 5, "image": "nginx:2"}}));
}

#[test]
fn conflicts_name_updaters_with_their_version() {
    let mut cluster = Cluster::new();
    cluster.update("kubectl-client-side-apply", json!({"data": {"foo": "1", "bar": "1"}}));
    assert_eq!(
        cluster.refused("me", json!({"data": {"foo": "2"}})),
        "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using test/v1: .data.foo"
    );
    assert_eq!(
        cluster.refused("me", json!({"data": {"foo": "2", "bar": "2"}})),
        "Apply failed with 2 conflicts: conflicts with \"kubectl-client-side-apply\" using test/v1:\n- .data.bar\n- .data.foo"
    );
    assert_eq!(
        cluster.owners(),
        ["kubectl-client-side-apply Update: .data .data.bar .data.foo"],
        "a refused apply changes nothing"
    );
}

#[test]
fn equal_values_are_shared_without_conflict() {
    let mut cluster = Cluster::new();
    cluster.apply("a", json!({"data": {"x": "1", "y": "1"}}));
    cluster.apply("b", json!({"data": {"x": "1"}}));
    assert_eq!(cluster.owners(), ["a Apply: .data.x .data.y", "b Apply: .data.x"]);
    // What a lets go of, b still holds; what nobody holds goes.
    cluster.apply("a", json!({}));
    assert_eq!(cluster.live(), json!({"data": {"x": "1"}}));
    cluster.apply("b", json!({}));
    assert_eq!(cluster.live(), json!({}));
    assert_eq!(cluster.owners(), [""; 0]);
}

#[test]
fn what_others_added_below_a_removed_item_stays() {
    let mut cluster = Cluster::new();
    cluster.apply("a", json!({"spec": {"containers": [{"name": "x", "image": "1"}, {"name": "y"}]}}));
    cluster.apply("b", json!({"spec": {"containers": [{"name": "x", "env": {"K": "v"}}]}}));
    cluster.apply("a", json!({"spec": {"containers": [{"name": "y"}]}}));
    assert_eq!(
        cluster.live(),
        json!({"spec": {"containers": [{"name": "x", "env": {"K": "v"}}, {"name": "y"}]}})
    );
    cluster.apply("b", json!({}));
    assert_eq!(cluster.live(), json!({"spec": {"containers": [{"name": "y"}]}}));
}

#[test]
fn lists_take_the_applied_order_and_keep_the_rest_in_place() {
    let check = |live: &[&str], applied: &[&str], expected: &[&str]| {
        let mut cluster = Cluster::new();
        cluster.update("other", json!({"spec": {"set": live}}));
        cluster.apply("me", json!({"spec": {"set": applied}}));
        assert_eq!(cluster.live(), json!({"spec": {"set": expected}}), "{live:?} {applied:?}");
    };
    check(&["a", "b"], &["c"], &["a", "b", "c"]);
    check(&["a", "b", "c"], &["c", "a"], &["b", "c", "a"]);
    check(&["a", "c", "e"], &["b", "c", "d"], &["a", "b", "c", "e", "d"]);
    check(&[], &["b", "a"], &["b", "a"]);
    check(&["a", "b", "c", "d"], &["d", "b"], &["a", "c", "d", "b"]);
}

#[test]
fn atomic_lists_and_maps_have_one_owner() {
    let mut cluster = Cluster::new();
    cluster.apply("a", json!({"spec": {"atomic": ["1", "2"], "selector": {"k": "v"}}}));
    assert_eq!(cluster.owners(), ["a Apply: .spec.atomic .spec.selector"]);
    assert!(cluster.refused("b", json!({"spec": {"atomic": ["1"]}})).ends_with("\"a\": .spec.atomic"));
    cluster.force("b", json!({"spec": {"atomic": ["1"], "selector": {"k": "w"}}}));
    assert_eq!(cluster.live(), json!({"spec": {"atomic": ["1"], "selector": {"k": "w"}}}));
    assert_eq!(cluster.owners(), ["b Apply: .spec.atomic .spec.selector"]);
}

#[test]
fn keys_may_have_defaults() {
    let mut cluster = Cluster::new();
    let port = |port: Value| json!({"spec": {"containers": [{"name": "x", "ports": [port]}]}});
    cluster.apply("a", port(json!({"port": 80})));
    let changed = cluster.apply("b", port(json!({"port": 80, "protocol": "TCP", "name": "web"})));
    assert!(changed);
    assert_eq!(
        cluster.live()["spec"]["containers"][0]["ports"],
        json!([{"port": 80, "protocol": "TCP", "name": "web"}])
    );
    cluster.apply("b", port(json!({"port": 80, "protocol": "UDP"})));
    assert_eq!(cluster.live()["spec"]["containers"][0]["ports"].as_array().unwrap().len(), 2);
}

#[test]
fn ambiguous_lists_are_refused() {
    let mut cluster = Cluster::new();
    assert_eq!(
        cluster.refused("a", json!({"spec": {"set": ["x", "x"]}})),
        r#"failed to merge: .spec.set: duplicate entries for key [="x"]"#
    );
    assert!(
        cluster
            .refused("a", json!({"spec": {"containers": [{"image": "1"}]}}))
            .contains("omits all key fields")
    );
    assert!(
        cluster.refused("a", json!({"spec": {"containers": [null]}})).contains("may not have a null element")
    );
}

#[test]
fn updates_move_changed_fields_to_the_updater() {
    let mut cluster = Cluster::new();
    cluster.apply("a", json!({"data": {"x": "1", "y": "1"}, "spec": {"set": ["p"]}}));
    cluster.update("u", json!({"data": {"x": "2", "y": "1", "z": "3"}, "spec": {"set": ["p", "q"]}}));
    assert_eq!(
        cluster.owners(),
        [r#"a Apply: .data.y .spec.set[="p"]"#, r#"u Update: .data.x .data.z .spec.set[="q"]"#]
    );
    cluster.update("u", json!({"data": {"y": "1"}}));
    assert_eq!(cluster.owners(), ["a Apply: .data.y"]);
}

#[test]
fn a_write_that_changes_nothing_leaves_everything_as_it_is() {
    let mut cluster = Cluster::new();
    assert!(cluster.apply("a", json!({"data": {"x": "1"}})));
    let before = cluster.live.clone();
    assert!(!cluster.apply("a", json!({"data": {"x": "1"}})));
    assert_eq!(cluster.live, before);
    cluster.update("u", json!({"data": {"x": "1"}}));
    assert_eq!(cluster.live, before);
    // Owning what another owns too is a change, once.
    assert!(cluster.apply("b", json!({"data": {"x": "1"}})));
    assert!(!cluster.apply("b", json!({"data": {"x": "1"}})));
}

#[test]
fn times_change_only_with_the_set() {
    let mut cluster = Cluster::new();
    cluster.apply("a", json!({"data": {"x": "1"}}));
    let time = |cluster: &Cluster, index: usize| {
        cluster.live.as_ref().unwrap()["metadata"]["managedFields"][index]["time"].clone()
    };
    let first = time(&cluster, 0);
    assert_eq!(first, json!("2023-11-14T22:13:21Z"));
    cluster.apply("b", json!({"data": {"y": "1"}}));
    assert_eq!(time(&cluster, 0), first);
    assert_ne!(time(&cluster, 1), first);
    cluster.apply("a", json!({"data": {"x": "2"}}));
    assert_ne!(time(&cluster, 1), first, "a's entry is the later one now");
}

#[test]
fn status_is_managed_apart() {
    let mut cluster = Cluster::new();
    cluster.scope = Scope::ExceptStatus;
    cluster.apply("a", json!({"data": {"x": "1"}, "status": {"phase": "Made up"}}));
    assert_eq!(cluster.live(), json!({"data": {"x": "1"}}));
    cluster.scope = Scope::OnlyStatus;
    cluster.subresource = "status";
    cluster.apply("c", json!({"data": {"x": "ignored"}, "status": {"phase": "Ready"}}));
    assert_eq!(cluster.live(), json!({"data": {"x": "1"}, "status": {"phase": "Ready"}}));
    assert_eq!(cluster.owners(), ["a Apply: .data.x", "c Apply: .status.phase"]);
    assert_eq!(
        cluster.refused("d", json!({"status": {"phase": "Gone"}})),
        r#"Apply failed with 1 conflict: conflict with "c" with subresource "status": .status.phase"#
    );
    cluster.update("u", json!({"data": {"x": "1"}, "status": {"phase": "Gone"}}));
    assert_eq!(cluster.owners(), ["a Apply: .data.x", "u Update: .status.phase"]);
}

#[test]
fn kubectl_may_take_over_what_it_applied_from_the_client_side() {
    let body = |x: &str| json!({"data": {"x": x}});
    let last = serde_json::to_string(&whole(body("1"))).unwrap();
    let mut created = body("1");
    created["metadata"] =
        json!({"name": "test", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": last}});
    let mut cluster = Cluster::new();
    cluster.update("kubectl-client-side-apply", created);
    // Another manager gets a conflict, kubectl does not, and its annotation follows.
    assert!(cluster.refused("me", body("2")).contains("conflict with \"kubectl-client-side-apply\""));
    cluster.apply("kubectl", body("2"));
    assert_eq!(cluster.live(), body("2"));
    let annotation = cluster.live.as_ref().unwrap()["metadata"]["annotations"]
        ["kubectl.kubernetes.io/last-applied-configuration"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(serde_json::from_str::<Value>(&annotation).unwrap(), whole(body("2")));
    // What somebody else has changed since is a conflict for kubectl too.
    cluster.update("editor", {
        let mut edited = body("3");
        edited["metadata"] = cluster.live.as_ref().unwrap()["metadata"].clone();
        edited["metadata"].as_object_mut().unwrap().remove("managedFields");
        edited
    });
    assert!(cluster.refused("kubectl", body("4")).contains("conflict with \"editor\""));
}

#[test]
fn an_untracked_object_is_tracked_from_its_first_apply() {
    let mut cluster = Cluster::new();
    cluster.live = Some(whole(json!({"data": {"x": "1"}})));
    cluster.update("u", json!({"data": {"x": "2"}}));
    assert_eq!(cluster.owners(), [""; 0]);
    assert_eq!(
        cluster.refused("a", json!({"data": {"x": "3"}})),
        r#"Apply failed with 1 conflict: conflict with "before-first-apply" using test/v1: .data.x"#
    );
    cluster.apply("a", json!({"data": {"x": "2"}}));
    assert_eq!(cluster.owners(), ["a Apply: .data.x", "before-first-apply Update: .data .data.x"]);
}

#[test]
fn clients_may_edit_or_reset_the_list() {
    let mut cluster = Cluster::new();
    cluster.apply("a", json!({"data": {"x": "1"}}));
    let mut renamed = cluster.live.clone().unwrap();
    renamed["metadata"]["managedFields"][0]["manager"] = json!("b");
    let writer = cluster.writer("editor");
    let written = update(cluster.live.as_ref(), renamed, &writer, &cluster.schema, Scope::Whole);
    cluster.live = Some(written);
    assert_eq!(cluster.owners(), ["b Apply: .data.x"]);

    let mut malformed = cluster.live.clone().unwrap();
    malformed["metadata"]["managedFields"][0]["operation"] = json!("Guess");
    let writer = cluster.writer("editor");
    cluster.live = Some(update(cluster.live.as_ref(), malformed, &writer, &cluster.schema, Scope::Whole));
    assert_eq!(cluster.owners(), ["b Apply: .data.x"]);

    for reset in [json!([]), json!([{}])] {
        let mut emptied = cluster.live.clone().unwrap();
        emptied["metadata"]["managedFields"] = reset;
        let writer = cluster.writer("editor");
        let written = update(cluster.live.as_ref(), emptied, &writer, &cluster.schema, Scope::Whole);
        assert_eq!(written.pointer("/metadata/managedFields"), None);
    }
}

#[test]
fn old_updaters_are_merged() {
    let mut cluster = Cluster::new();
    let mut data = serde_json::Map::new();
    for number in 0..15 {
        data.insert(format!("k{number:02}"), json!("v"));
        cluster.update(&format!("m{number:02}"), json!({"data": data}));
    }
    let owners = cluster.owners();
    assert_eq!(owners.len(), 10);
    assert!(owners[0].starts_with("ancient-changes Update: .data .data.k00 .data.k01"), "{owners:?}");
    assert_eq!(owners[9], "m14 Update: .data.k14");
}

#[test]
fn an_apply_says_what_it_may_not_say() {
    let mut cluster = Cluster::new();
    assert_eq!(
        cluster.refused("a", json!({"metadata": {"name": "test", "managedFields": [{}]}})),
        "metadata.managedFields must be nil"
    );
    assert_eq!(
        cluster.refused("a", json!({"apiVersion": "test/v2"})),
        "Incorrect version specified in apply patch. Specified patch version: test/v2, expected: test/v1"
    );
}

#[test]
fn unknown_structure_merges_by_member() {
    let mut cluster = Cluster::new();
    cluster.apply("a", json!({"spec": {"free": {"x": {"p": 1}, "l": [1, 2]}}}));
    cluster.apply("b", json!({"spec": {"free": {"x": {"q": 1}}}}));
    assert_eq!(cluster.live(), json!({"spec": {"free": {"x": {"p": 1, "q": 1}, "l": [1, 2]}}}));
    cluster.force("b", json!({"spec": {"free": {"x": "scalar"}}}));
    assert_eq!(cluster.live()["spec"]["free"]["x"], json!("scalar"));
}

#[test]
fn fields_v1_is_kubernetes_own() {
    let text = json!({
        "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
        "f:spec": {"f:containers": {r#"k:{"name":"x"}"#: {".": {}, "f:image": {}}}, "f:set": {r#"v:"a/b.c~d""#: {}}},
        "f:i": {"i:3": {}},
    });
    let set = FieldSet::from_fields_v1(&text).unwrap();
    assert_eq!(set.to_fields_v1(), text);
    assert_eq!(
        set.to_string().lines().collect::<Vec<_>>(),
        [
            ".i[3]",
            ".metadata.labels",
            ".metadata.labels.app",
            r#".spec.containers[name="x"]"#,
            r#".spec.containers[name="x"].image"#,
            r#".spec.set[="a/b.c~d"]"#,
        ]
    );
    let unknown = FieldSet::from_fields_v1(&json!({"z:new": {}, "f:a": {}})).unwrap();
    assert_eq!(unknown.to_fields_v1(), json!({"f:a": {}}));
    for malformed in [json!([]), json!({"a": {}}), json!({"k:{": {}}), json!({"i:x": {}}), json!({"f:a": 1})]
    {
        assert!(FieldSet::from_fields_v1(&malformed).is_err(), "{malformed}");
    }
}

#[test]
fn the_manager_comes_from_the_user_agent() {
    assert_eq!(manager_from_user_agent("kubectl/v1.36.3 (linux/amd64) kubernetes/abc"), "kubectl");
    assert_eq!(manager_from_user_agent(""), "unknown");
    assert_eq!(manager_from_user_agent(&"é".repeat(100)).len(), 128);
}

fn element() -> impl Strategy<Value = PathElement> {
    prop_oneof![
        "[a-c./~]{1,2}".prop_map(PathElement::Field),
        "[a-c]".prop_map(|name| PathElement::Key(vec![("name".to_owned(), Value::from(name))])),
        (0..3_i64).prop_map(|value| PathElement::Value(Value::from(value))),
        (0..3_i64).prop_map(PathElement::Index),
    ]
}

fn set() -> impl Strategy<Value = FieldSet> {
    proptest::collection::vec(proptest::collection::vec(element(), 1..4), 0..12).prop_map(|paths| {
        let mut set = FieldSet::default();
        for path in paths {
            set.insert(path);
        }
        set
    })
}

fn body() -> impl Strategy<Value = Value> {
    let text = || proptest::sample::select(vec!["a", "b", "c"]);
    let map = || proptest::collection::btree_map(text(), text(), 0..3);
    let container = (text(), proptest::option::of(text()), map()).prop_map(|(name, image, env)| {
        let mut container = json!({"name": name, "env": env});
        if let Some(image) = image {
            container["image"] = json!(image);
        }
        container
    });
    let containers = proptest::collection::vec(container, 0..3).prop_map(|mut list| {
        list.sort_by_key(|item| item["name"].to_string());
        list.dedup_by_key(|item| item["name"].to_string());
        list
    });
    let set = proptest::collection::btree_set(text(), 0..3);
    (map(), set, containers, map(), proptest::collection::vec(text(), 0..3), proptest::option::of(0..3))
        .prop_map(|(data, set, containers, selector, atomic, replicas)| {
            let mut spec =
                json!({"set": set, "containers": containers, "selector": selector, "atomic": atomic});
            if let Some(replicas) = replicas {
                spec["replicas"] = json!(replicas);
            }
            json!({"data": data, "spec": spec})
        })
}

proptest! {
    #[test]
    fn sets_obey_the_laws_of_sets(a in set(), b in set()) {
        let union = a.union(&b);
        prop_assert_eq!(&union, &b.union(&a));
        prop_assert_eq!(a.union(&a), a.clone());
        prop_assert_eq!(a.intersection(&b), b.intersection(&a));
        prop_assert!(a.difference(&b).intersection(&b).is_empty());
        prop_assert_eq!(a.difference(&b).union(&a.intersection(&b)), a.clone());
        prop_assert_eq!(union.difference(&a), b.difference(&a));
        for path in a.paths() {
            prop_assert!(union.contains(&path));
            prop_assert_eq!(a.difference(&b).contains(&path), !b.contains(&path));
        }
    }

    #[test]
    fn sets_survive_their_encoding(a in set()) {
        prop_assert_eq!(FieldSet::from_fields_v1(&a.to_fields_v1()), Ok(a));
    }

    #[test]
    fn applying_twice_is_applying_once(first in body(), second in body(), third in body()) {
        let mut cluster = Cluster::new();
        cluster.update("u", first);
        cluster.force("a", second);
        cluster.force("b", third.clone());
        let before = cluster.live.clone();
        prop_assert!(!cluster.apply("b", third));
        prop_assert_eq!(cluster.live, before);
    }

    #[test]
    fn forced_apply_sets_what_it_says_and_alone_owns_what_differed(first in body(), second in body()) {
        let mut cluster = Cluster::new();
        cluster.apply("a", first);
        cluster.force("b", second.clone());
        let before = cluster.live.clone();
        // Whatever b applied is there: applying it by a third party conflicts with nobody and changes no value.
        cluster.apply("c", second);
        prop_assert_eq!(strip(before), strip(cluster.live));
    }

    #[test]
    fn letting_go_of_everything_restores_the_others(first in body(), second in body()) {
        let mut cluster = Cluster::new();
        cluster.apply("a", first);
        let alone = cluster.live.clone();
        if cluster.try_apply("b", OnConflict::Fail, second).is_ok() {
            cluster.apply("b", json!({}));
            prop_assert_eq!(without_empty(strip(alone)), without_empty(strip(cluster.live)));
        }
    }

    #[test]
    fn every_leaf_has_an_owner(first in body(), second in body()) {
        let mut cluster = Cluster::new();
        cluster.update("a", first);
        cluster.update("b", second);
        let root = cluster.schema.clone();
        let mut fields = typed::field_set(Some(root.root()), cluster.live.as_ref().unwrap());
        entries::strip_system_fields(&mut fields);
        let managers = entries::decode(entries::raw(cluster.live.as_ref().unwrap()), root.root()).unwrap();
        for share in managers.values() {
            fields.subtract(&share.fields);
        }
        prop_assert_eq!(fields.to_string(), "");
    }
}

fn strip(object: Option<Value>) -> Value {
    let mut object = object.unwrap();
    entries::take_raw(&mut object);
    object
}

/// Empty lists and maps have no owner of their own, so removal may or may not leave them.
fn without_empty(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().map(|(name, value)| (name, without_empty(value)));
            Value::Object(members.filter(|(_, value)| !is_empty(value)).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_empty).collect()),
        other => other,
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}
