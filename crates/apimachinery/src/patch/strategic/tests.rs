use proptest::prelude::*;
use serde_json::{Value, json};

use crate::patch::{PatchError, merge_patch, strategic_merge};
use crate::schema::Schema;

/// The kinds of lists the upstream tests of strategic merge use.
fn schema() -> Schema {
    let document = json!({
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "value": {"type": "string"},
            "map": {"type": "object", "additionalProperties": {"type": "string"}},
            "replaced": {"type": "array", "items": {"type": "string"}},
            "scalars": {"type": "array", "items": {"type": "string"}, "x-kubernetes-patch-strategy": "merge"},
            "items": {
                "type": "array",
                "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "name",
                "items": {"$ref": "#"},
            },
            "volumes": {
                "type": "array",
                "x-kubernetes-patch-strategy": "merge,retainKeys", "x-kubernetes-patch-merge-key": "name",
                "items": {"type": "object", "additionalProperties": true},
            },
        },
    });
    Schema::from_document(&document, "").unwrap()
}

#[expect(clippy::needless_pass_by_value, reason = "the rows of a table are written as values")]
fn check(document: Value, patch: Value, expected: Value) {
    let patched =
        strategic_merge(&document, &patch, &schema()).unwrap_or_else(|error| panic!("{patch}: {error}"));
    assert_eq!(patched, expected, "{document} {patch}");
}

#[expect(clippy::needless_pass_by_value, reason = "the rows of a table are written as values")]
fn refused(document: Value, patch: Value) -> String {
    strategic_merge(&document, &patch, &schema()).unwrap_err().to_string()
}

#[test]
fn maps_merge_and_nulls_delete() {
    check(json!({"name": "a"}), json!({"value": "1"}), json!({"name": "a", "value": "1"}));
    check(json!({"name": "a", "value": "1"}), json!({"value": null}), json!({"name": "a"}));
    check(json!({"name": "a"}), json!({"value": null}), json!({"name": "a"}));
    check(
        json!({"map": {"a": "1", "b": "2"}}),
        json!({"map": {"a": null, "c": "3"}}),
        json!({"map": {"b": "2", "c": "3"}}),
    );
    check(
        json!({"map": {"a": "1"}}),
        json!({"map": {"$patch": "replace", "b": "2"}}),
        json!({"map": {"b": "2"}}),
    );
    check(json!({"map": {"a": "1"}}), json!({"map": {"$patch": "delete"}}), json!({"map": {}}));
    check(json!({}), json!({"map": {"a": null, "b": "2", "$retainKeys": ["b"]}}), json!({"map": {"b": "2"}}));
    check(json!({"map": "scalar"}), json!({"map": {"a": "1"}}), json!({"map": {"a": "1"}}));
}

#[test]
fn lists_merge_by_key() {
    let list = || json!({"items": [{"name": "1"}, {"name": "2", "value": "2"}]});
    check(
        list(),
        json!({"items": [{"name": "2", "value": "new"}, {"name": "3"}]}),
        json!({"items": [{"name": "1"}, {"name": "2", "value": "new"}, {"name": "3"}]}),
    );
    check(
        list(),
        json!({"items": [{"name": "1", "$patch": "delete"}]}),
        json!({"items": [{"name": "2", "value": "2"}]}),
    );
    check(
        list(),
        json!({"items": [{"name": "3"}, {"$patch": "replace"}]}),
        json!({"items": [{"name": "3"}]}),
    );
    check(
        list(),
        json!({"items": [{"name": "2", "value": null}]}),
        json!({"items": [{"name": "1"}, {"name": "2"}]}),
    );
    check(list(), json!({"items": null}), json!({}));
    check(
        json!({}),
        json!({"items": [{"name": "1"}, {"name": "2", "$patch": "delete"}]}),
        json!({"items": [{"name": "1"}]}),
    );
    check(
        json!({"items": [{"name": "1", "items": [{"name": "1"}]}]}),
        json!({"items": [{"name": "1", "items": [{"name": "2", "value": "x"}]}]}),
        json!({"items": [{"name": "1", "items": [{"name": "2", "value": "x"}, {"name": "1"}]}]}),
    );
    assert!(
        refused(list(), json!({"items": [{"value": "x"}]}))
            .contains("does not contain declared merge key: name")
    );
    assert!(
        refused(list(), json!({"items": [{"name": "1", "$patch": "merge"}]})).contains("unknown patch type")
    );
    assert!(
        refused(list(), json!({"map": {"$patch": 1}, "items": [1]})).contains("something else than maps")
    );
}

#[test]
fn lists_of_scalars_merge_as_sets_or_are_replaced() {
    check(
        json!({"scalars": ["1", "2"]}),
        json!({"scalars": ["2", "3"]}),
        json!({"scalars": ["1", "2", "3"]}),
    );
    check(json!({"replaced": ["1", "2"]}), json!({"replaced": ["3"]}), json!({"replaced": ["3"]}));
    check(
        json!({"scalars": ["1", "2", "3"]}),
        json!({"$deleteFromPrimitiveList/scalars": ["2"], "scalars": ["4"]}),
        json!({"scalars": ["4", "1", "3"]}),
    );
    check(json!({}), json!({"$deleteFromPrimitiveList/scalars": ["2"]}), json!({}));
    assert!(refused(json!({}), json!({"$deleteFromPrimitiveList/scalars": "2"})).contains("primitive list"));
}

#[test]
fn the_patch_may_ask_for_an_order() {
    check(
        json!({"scalars": ["1", "2", "3"]}),
        json!({"$setElementOrder/scalars": ["3", "1"]}),
        json!({"scalars": ["2", "3", "1"]}),
    );
    check(
        json!({"items": [{"name": "a"}, {"name": "b"}, {"name": "server"}]}),
        json!({
            "$setElementOrder/items": [{"name": "c"}, {"name": "b"}, {"name": "a"}],
            "items": [{"name": "c", "value": "1"}],
        }),
        json!({"items": [{"name": "c", "value": "1"}, {"name": "b"}, {"name": "a"}, {"name": "server"}]}),
    );
    check(
        json!({"items": [{"name": "a"}, {"name": "b"}]}),
        json!({"$setElementOrder/items": [{"name": "b"}], "items": [{"name": "a", "$patch": "delete"}]}),
        json!({"items": [{"name": "b"}]}),
    );
    check(json!({}), json!({"$setElementOrder/items": [{"name": "b"}]}), json!({}));
    assert!(
        refused(
            json!({"items": []}),
            json!({"$setElementOrder/items": [{"name": "a"}], "items": [{"name": "b"}]})
        )
        .contains("doesn't match $setElementOrder list")
    );
    assert!(refused(json!({}), json!({"$setElementOrder/items": "a"})).contains("setElementOrder"));
}

#[test]
fn retained_keys_are_all_that_stays() {
    check(
        json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
        json!({"volumes": [{"name": "v", "$retainKeys": ["name", "secret"], "secret": {"secretName": "s"}}]}),
        json!({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}),
    );
    let contradiction = json!({"volumes": [{"name": "v", "$retainKeys": ["name"], "secret": {}}]});
    let error = strategic_merge(&json!({"volumes": [{"name": "v"}]}), &contradiction, &schema()).unwrap_err();
    assert!(matches!(error, PatchError::Contradictory(_)));
    assert_eq!(error.http_status(), 422);
}

fn json_value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from)
    ];
    scalar.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map("[a-c$/~.]{1,2}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn json_object() -> impl Strategy<Value = Value> {
    proptest::collection::btree_map("[a-c$/~.]{1,2}", json_value(), 0..4)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

fn without_lists(value: Value) -> Value {
    match value {
        Value::Array(_) => Value::from("list"),
        Value::Object(members) => {
            Value::Object(members.into_iter().map(|(name, value)| (name, without_lists(value))).collect())
        }
        other => other,
    }
}

proptest! {
    #[test]
    fn without_lists_and_directives_it_is_a_merge_patch(document in json_object(), patch in json_object()) {
        let (document, patch) = (without_lists(document), without_lists(patch));
        prop_assert_eq!(
            strategic_merge(&document, &patch, &Schema::permissive()).unwrap(),
            merge_patch(&document, &patch).unwrap()
        );
    }

    #[test]
    fn patching_twice_is_patching_once(document in json_object(), patch in json_object()) {
        let once = strategic_merge(&document, &patch, &schema()).unwrap();
        prop_assert_eq!(strategic_merge(&once, &patch, &schema()).unwrap(), once);
    }
}
