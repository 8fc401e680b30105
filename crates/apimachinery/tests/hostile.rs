//! Documents nobody sane would write, through every face: whatever comes back, nothing panics and the laws hold.

use buildplane_apimachinery::decode::{self, Limits};
use buildplane_apimachinery::managed::{self, FieldSet, OnConflict, Scope, Writer};
use buildplane_apimachinery::patch;
use buildplane_apimachinery::schema::{Previous, Schema};
use buildplane_apimachinery::table::{Columns, IncludeObject};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

const FIELDS: &str = include_str!("data/fields.jsonl");

fn schema() -> Schema {
    let first = FIELDS.lines().next().unwrap_or_default();
    Schema::from_crd(&serde_json::from_str(first).unwrap_or_default())
        .expect("the recorded schema is structural")
}

/// Names the schema knows, names that look like directives, and names with everything that means something in a path.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(vec![
            "apiVersion",
            "kind",
            "metadata",
            "managedFields",
            "labels",
            "annotations",
            "finalizers",
            "ownerReferences",
            "data",
            "spec",
            "status",
            "containers",
            "name",
            "ports",
            "port",
            "protocol",
            "set",
            "selector",
            "free",
            "atomic",
            "uid",
            "$patch",
            "$retainKeys",
            "$setElementOrder/set",
            "$deleteFromPrimitiveList/set",
            "fieldsV1",
        ])
        .prop_map(str::to_owned),
        "[a-z~/.\\[\\]\"\\\\ $:é]{0,4}",
    ]
}

fn document() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        proptest::sample::select(vec![
            "", "a", "Apply", "Update", "FieldsV1", "delete", "replace", "test/v1", "\u{0}"
        ])
        .prop_map(Value::from),
    ];
    let value = scalar.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(name(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    proptest::collection::btree_map(name(), value, 0..6).prop_map(|members| {
        let mut object = Value::Object(members.into_iter().collect());
        object["apiVersion"] = json!("test/v1");
        object
    })
}

proptest! {
    #[test]
    fn schemas_survive(object in document(), old in document()) {
        let schema = schema();
        let mut pruned = object.clone();
        schema.prune(&mut pruned);
        let mut again = pruned.clone();
        prop_assert!(schema.prune(&mut again).is_empty());
        prop_assert_eq!(&again, &pruned);
        schema.default(&mut pruned);
        let mut again = pruned.clone();
        schema.default(&mut again);
        prop_assert_eq!(again, pruned);
        schema.judge(&object, Previous::Absent);
        // What was there before is never an error.
        let unchanged = schema.validate(&old, Previous::Object(&old));
        prop_assert!(unchanged.iter().all(|error| error.field.contains("apiVersion") || error.field.contains("kind")));
    }

    #[test]
    fn tracking_survives(live in document(), new in document(), applied in document()) {
        let schema = schema();
        let writer = Writer { manager: "m", api_version: "test/v1", subresource: "", time: Timestamp::UNIX_EPOCH };
        let live = managed::update(None, live, &writer, &schema, Scope::Whole);
        let updated = managed::update(Some(&live), new, &writer, &schema, Scope::ExceptStatus);
        let apply = |live: &Value| managed::apply(Some(live), &applied, &writer, OnConflict::Force, &schema, Scope::Whole);
        if let Ok(first) = apply(&updated) {
            let second = apply(&first.object);
            // An object of wrong types is not stored; only of others is it known how their parts merge.
            let is_sound = schema.validate(&first.object, Previous::Absent).is_empty();
            prop_assert!(!is_sound || second.is_ok_and(|second| !second.changed && second.object == first.object));
        }
    }

    #[test]
    fn patches_survive(document in document(), change in document()) {
        let schema = schema();
        let _ = patch::strategic_merge(&document, &change, &schema);
        let _ = patch::json_patch(&document, &change);
        let once = patch::merge_patch(&document, &change);
        let twice = once.as_ref().ok().and_then(|once| patch::merge_patch(once, &change).ok());
        prop_assert_eq!(twice, once.ok());
    }

    #[test]
    fn field_sets_and_tables_survive(fields in document(), object in document()) {
        if let Ok(set) = FieldSet::from_fields_v1(&fields) {
            prop_assert_eq!(FieldSet::from_fields_v1(&set.to_fields_v1()), Ok(set));
        }
        for resource in ["pods", "secrets", "events", "persistentvolumeclaims", "things"] {
            Columns::builtin("", resource).row(&object, IncludeObject::Metadata, Timestamp::UNIX_EPOCH);
        }
    }

    #[test]
    fn texts_read_as_serde_json_reads_them(document in document()) {
        let text = document.to_string();
        let decoded = decode::from_slice(text.as_bytes(), Limits::default());
        prop_assert_eq!(decoded.map(|decoded| decoded.value).ok(), serde_json::from_str::<Value>(&text).ok());
    }
}
