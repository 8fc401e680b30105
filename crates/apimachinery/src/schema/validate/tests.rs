use serde_json::{Value, json};

use crate::schema::{Previous, Schema};

#[expect(clippy::needless_pass_by_value, reason = "the rows of a table are written as values")]
fn schema(spec: Value) -> Schema {
    Schema::from_crd(&json!({"type": "object", "properties": {"spec": spec}})).unwrap()
}

#[expect(clippy::needless_pass_by_value, reason = "the rows of a table are written as values")]
fn errors(schema: &Schema, spec: Value) -> Vec<String> {
    let object = json!({"spec": spec});
    schema.validate(&object, Previous::Absent).iter().map(ToString::to_string).collect()
}

#[expect(clippy::needless_pass_by_value, reason = "the rows of a table are written as values")]
/// The one message for a value of `spec`, or none.
fn check(spec_schema: Value, spec: Value, expected: &[&str]) {
    let schema = schema(spec_schema.clone());
    assert_eq!(errors(&schema, spec.clone()), expected, "{spec_schema} {spec}");
}

#[test]
fn values_outside_their_constraints_are_worded_as_kubernetes_words_them() {
    let text = |more: Value| {
        let mut schema = json!({"type": "string"});
        for (name, value) in more.as_object().unwrap() {
            schema[name] = value.clone();
        }
        schema
    };
    check(
        text(json!({"pattern": "^[a-z]+$"})),
        json!("X"),
        &[r#"spec: Invalid value: "X": spec in body should match '^[a-z]+$'"#],
    );
    check(text(json!({"maxLength": 2})), json!("äöü"), &["spec: Too long: may not be more than 2 bytes"]);
    check(text(json!({"maxLength": 3})), json!("äöü"), &[]);
    check(
        text(json!({"minLength": 1})),
        json!(""),
        &[r#"spec: Invalid value: "": spec in body should be at least 1 chars long"#],
    );
    check(
        text(json!({"enum": ["a", "b"]})),
        json!("c"),
        &[r#"spec: Unsupported value: "c": supported values: "a", "b""#],
    );
    check(
        text(json!({"format": "date-time"})),
        json!("now"),
        &[r#"spec: Invalid value: "now": spec in body must be of type date-time: "now""#],
    );
    check(
        json!({"type": "integer", "minimum": 1, "maximum": 3}),
        json!(0),
        &["spec: Invalid value: 0: spec in body should be greater than or equal to 1"],
    );
    check(
        json!({"type": "number", "maximum": 3, "exclusiveMaximum": true}),
        json!(3.0),
        &["spec: Invalid value: 3: spec in body should be less than 3"],
    );
    check(json!({"type": "integer", "multipleOf": 2}), json!(4), &[]);
    check(
        json!({"type": "integer", "multipleOf": 2}),
        json!(5),
        &["spec: Invalid value: 5: spec in body should be a multiple of 2"],
    );
    check(
        json!({"type": "array", "items": {"type": "string"}, "maxItems": 1}),
        json!(["a", "b"]),
        &["spec: Too many: 2: must have at most 1 item"],
    );
    check(
        json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}),
        json!({}),
        &["spec.a: Required value"],
    );
    check(
        json!({"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 1}),
        json!({}),
        &["spec: Invalid value: 0: spec in body should have at least 1 properties"],
    );
}

#[test]
fn wrong_types_name_both_types() {
    check(
        json!({"type": "integer"}),
        json!("1"),
        &[r#"spec: Invalid value: "string": spec in body must be of type integer: "string""#],
    );
    check(json!({"type": "integer"}), json!(1.0), &[]);
    check(
        json!({"type": "integer"}),
        json!(1.5),
        &[
            r#"spec: Invalid value: "number": spec in body must be of type integer: "number""#,
            r#"<nil>: Invalid value: "": Checked value must be of type integer (default format) in spec"#,
        ],
    );
    check(
        json!({"type": "string"}),
        Value::Null,
        &[r#"spec: Invalid value: "null": spec in body must be of type string: "null""#],
    );
    check(json!({"type": "string", "nullable": true}), Value::Null, &[]);
    check(json!({"x-kubernetes-int-or-string": true}), json!("50%"), &[]);
    check(json!({"x-kubernetes-int-or-string": true}), json!(5), &[]);
    check(
        json!({"x-kubernetes-int-or-string": true}),
        json!(true),
        &[r#"spec: Invalid value: "boolean": spec in body must be of type integer,string: "boolean""#],
    );
    check(
        json!({"type": "array", "items": {"type": "object", "properties": {"a": {"type": "boolean"}}}}),
        json!([{"a": true}, {"a": 1}]),
        &[r#"spec[1].a: Invalid value: "integer": spec[1].a in body must be of type boolean: "integer""#],
    );
}

#[test]
fn list_sets_and_maps_hold_no_duplicates() {
    check(
        json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}),
        json!(["a", "b", "a"]),
        &[r#"spec[2]: Duplicate value: "a""#],
    );
    let ports = json!({
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["port", "protocol"],
        "items": {
            "type": "object",
            "required": ["port"],
            "properties": {
                "port": {"type": "integer"},
                "protocol": {"type": "string", "default": "TCP"},
                "name": {"type": "string"},
            },
        },
    });
    check(ports.clone(), json!([{"port": 1}, {"port": 1, "protocol": "UDP"}]), &[]);
    check(
        ports,
        json!([{"port": 1, "protocol": "TCP"}, {"port": 1, "protocol": "TCP", "name": "x"}]),
        &[r#"spec[1]: Duplicate value: {"port":1,"protocol":"TCP"}"#],
    );
}

#[test]
fn logical_schemas_say_how_many_matched() {
    let either = json!({
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
    });
    check(either.clone(), json!({"a": "1"}), &[]);
    check(
        either.clone(),
        json!({}),
        &[
            r#"<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found none valid"#,
            "spec.a: Required value",
        ],
    );
    check(
        either,
        json!({"a": "1", "b": "2"}),
        &[
            r#"<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found 2 valid alternatives"#,
        ],
    );
    let any = json!({"type": "string", "anyOf": [{"enum": ["a"]}, {"enum": ["b"]}]});
    check(any.clone(), json!("b"), &[]);
    check(
        any,
        json!("c"),
        &[
            r#"<nil>: Invalid value: "": "spec" must validate at least one schema (anyOf)"#,
            r#"spec: Unsupported value: "c": supported values: "a""#,
        ],
    );
    let not = json!({"type": "string", "not": {"enum": ["a"]}});
    check(not.clone(), json!("b"), &[]);
    check(not, json!("a"), &[r#"<nil>: Invalid value: "": "spec" must not validate the schema (not)"#]);
}

#[test]
fn unchanged_invalid_values_are_tolerated_on_update() {
    let schema = schema(json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "pattern": "^[a-z]+$"},
            "size": {"type": "integer"},
            "list": {
                "type": "array",
                "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["key"],
                "items": {"type": "object", "required": ["key"], "properties": {
                    "key": {"type": "string"}, "value": {"type": "string", "maxLength": 1},
                }},
            },
        },
    }));
    let old = json!({"spec": {"name": "BAD", "size": 1, "list": [{"key": "a", "value": "long"}]}});
    let check = |new: Value, n_errors: usize| {
        assert_eq!(schema.validate(&new, Previous::Object(&old)).len(), n_errors, "{new}");
    };
    check(json!({"spec": {"name": "BAD", "size": 2, "list": []}}), 0);
    check(json!({"spec": {"name": "WORSE", "size": 2, "list": []}}), 1);
    check(json!({"spec": {"list": [{"key": "b"}, {"key": "a", "value": "long"}]}}), 0);
    check(json!({"spec": {"list": [{"key": "b", "value": "long"}]}}), 1);
}

#[test]
fn the_number_of_errors_is_bounded() {
    let schema = schema(json!({"type": "array", "items": {"type": "string"}}));
    let many: Vec<Value> = (0..10_000).map(Value::from).collect();
    assert_eq!(errors(&schema, Value::from(many)).len(), crate::schema::MAX_REPORTED);
}

#[test]
fn pruning_keeps_what_is_known_or_preserved() {
    let schema = schema(json!({
        "type": "object",
        "properties": {
            "known": {"type": "object", "properties": {"a": {"type": "string"}}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {
                "strict": {"type": "object", "properties": {"a": {"type": "string"}}},
            }},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"a": {"type": "string"}}}},
            "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
            "embedded": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}},
        },
    }));
    let mut object = json!({
        "apiVersion": "a/v1", "kind": "K",
        "metadata": {"name": "n", "labels": {"x.y/z": "1"}, "madeUp": 1},
        "spec": {
            "known": {"a": "1", "b": 2},
            "free": {"any": {"thing": [1]}, "strict": {"a": "1", "b": 2}},
            "map": {"k.e/y": {"a": "1", "b": 2}},
            "list": [{"a": "1"}, {"b": 2}],
            "embedded": {"apiVersion": "v1", "kind": "X", "metadata": {"name": "e"}, "spec": {"gone": 1}, "other": 1},
        },
        "status": {"gone": true},
    });
    let unknown = schema.prune(&mut object);
    assert_eq!(
        unknown,
        [
            "metadata.madeUp",
            "spec.embedded.other",
            "spec.embedded.spec.gone",
            "spec.free.strict.b",
            "spec.known.b",
            "spec.list[1].b",
            "spec.map.k.e/y.b",
            "status",
        ]
    );
    assert_eq!(schema.prune(&mut object), [""; 0]);
    assert_eq!(object["spec"]["free"]["any"], json!({"thing": [1]}));
    assert_eq!(object["metadata"], json!({"name": "n", "labels": {"x.y/z": "1"}}));
}

#[test]
fn defaults_fill_what_is_absent_or_null() {
    let schema = schema(json!({
        "type": "object",
        "default": {},
        "properties": {
            "replicas": {"type": "integer", "default": 1},
            "mode": {"type": "string", "nullable": true, "default": "x"},
            "plain": {"type": "string"},
            "list": {"type": "array", "items": {"type": "object", "properties": {"p": {"type": "string", "default": "TCP"}}}},
            "nested": {"type": "object", "default": {}, "properties": {"deep": {"type": "boolean", "default": true}}},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"d": {"type": "integer", "default": 7}}}},
        },
    }));
    let check = |spec: Option<Value>, expected: Value| {
        let mut object = spec.map_or_else(|| json!({}), |spec| json!({"spec": spec}));
        schema.default(&mut object);
        assert_eq!(object, json!({"spec": expected}));
        schema.default(&mut object);
        assert_eq!(object, json!({"spec": expected}), "defaulting twice is defaulting once");
    };
    check(None, json!({"replicas": 1, "mode": "x", "nested": {"deep": true}}));
    check(
        Some(json!({"replicas": null, "mode": null, "plain": null, "nested": {"deep": false}})),
        json!({"replicas": 1, "mode": null, "nested": {"deep": false}}),
    );
    check(
        Some(json!({"list": [{}, {"p": "UDP"}], "map": {"a": {}}})),
        json!({
            "replicas": 1, "mode": "x", "nested": {"deep": true},
            "list": [{"p": "TCP"}, {"p": "UDP"}], "map": {"a": {"d": 7}},
        }),
    );
}
