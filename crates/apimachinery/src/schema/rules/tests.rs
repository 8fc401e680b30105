use serde_json::{Value, json};

use crate::schema::{Previous, Schema};

fn schema(spec: &Value) -> Schema {
    let schema = json!({"type": "object", "properties": {"spec": spec}});
    Schema::from_crd(&schema).unwrap_or_else(|error| panic!("{error}"))
}

fn texts(schema: &Schema, new: &Value, old: Option<&Value>) -> Vec<String> {
    let new = json!({"spec": new});
    let old = old.map(|old| json!({"spec": old}));
    let previous = old.as_ref().map_or(Previous::Absent, Previous::Object);
    schema.validate_rules(&new, previous).iter().map(ToString::to_string).collect()
}

fn with_rule(rule: &Value) -> Value {
    json!({
        "type": "object",
        "properties": {
            "min": {"type": "integer"},
            "max": {"type": "integer"},
            "ratio": {"type": "number"},
            "name": {"type": "string", "nullable": true},
            "x-dash.dot/slash": {"type": "string"},
            "namespace": {"type": "string"},
            "list": {"type": "array", "items": {"type": "string"}},
        },
        "x-kubernetes-validations": [rule],
    })
}

#[track_caller]
fn check(rule: &Value, new: &Value, old: Option<&Value>, expected: &[&str]) {
    assert_eq!(texts(&schema(&with_rule(rule)), new, old), expected, "{rule}");
}

#[test]
fn a_broken_rule_is_an_error_about_its_place() {
    let rule = json!({"rule": "self.min <= self.max", "message": "min must not exceed max"});
    check(&rule, &json!({"min": 1, "max": 2}), None, &[]);
    check(&rule, &json!({"min": 3, "max": 2}), None, &["spec: Invalid value: min must not exceed max"]);
    check(
        &json!({"rule": "self.min <= self.max"}),
        &json!({"min": 3, "max": 2}),
        None,
        &["spec: Invalid value: failed rule: self.min <= self.max"],
    );
    check(
        &json!({"rule": "has(self.name)", "reason": "FieldValueRequired", "fieldPath": ".name", "message": "say who"}),
        &json!({}),
        None,
        &["spec.name: Required value: say who"],
    );
    check(
        &json!({"rule": "false", "reason": "FieldValueForbidden", "fieldPath": "['x-dash.dot/slash']", "message": "no"}),
        &json!({}),
        None,
        &["spec.x-dash.dot/slash: Forbidden: no"],
    );
}

#[test]
fn messages_may_be_computed() {
    let rule = |expression: &str| json!({"rule": "self.min <= self.max", "messageExpression": expression, "message": "plain"});
    let object = json!({"min": 3, "max": 2});
    let said = |text: &str| format!("spec: Invalid value: {text}");
    check(&rule("'min is ' + string(self.min)"), &object, None, &[&said("min is 3")]);
    check(&rule("''"), &object, None, &[&said("plain")]);
    check(&rule("'two\\nlines'"), &object, None, &[&said("plain")]);
    check(&rule("string(self.nothing)"), &object, None, &[&said("plain")]);
}

#[test]
fn transition_rules_need_a_previous_value() {
    let immutable = json!({"rule": "self.name == oldSelf.name", "message": "name is immutable"});
    check(&immutable, &json!({"name": "a"}), None, &[]);
    check(&immutable, &json!({"name": "a"}), Some(&json!({"name": "a", "min": 1})), &[]);
    check(
        &immutable,
        &json!({"name": "b"}),
        Some(&json!({"name": "a"})),
        &["spec: Invalid value: name is immutable"],
    );
    let optional = json!({
        "rule": "oldSelf.hasValue() ? self.min >= oldSelf.value().min : self.min == 0",
        "optionalOldSelf": true,
        "message": "starts at 0 and grows",
    });
    let wrong = ["spec: Invalid value: starts at 0 and grows"];
    check(&optional, &json!({"min": 0}), None, &[]);
    check(&optional, &json!({"min": 1}), None, &wrong);
    check(&optional, &json!({"min": 2}), Some(&json!({"min": 1})), &[]);
    check(&optional, &json!({"min": 0}), Some(&json!({"min": 1})), &wrong);
}

#[test]
fn what_does_not_change_is_tolerated() {
    let rule = json!({"rule": "self.min <= self.max"});
    let bad = json!({"min": 3, "max": 2});
    check(&rule, &bad, Some(&bad), &[]);
    let worse = json!({"min": 4, "max": 2});
    assert_eq!(texts(&schema(&with_rule(&rule)), &worse, Some(&bad)).len(), 1);
}

#[test]
fn rules_see_typed_values_and_escaped_names() {
    check(&json!({"rule": "self.ratio == 1.0 && self.ratio / 2.0 == 0.5"}), &json!({"ratio": 1}), None, &[]);
    check(&json!({"rule": "self.min / 2 == 1"}), &json!({"min": 3}), None, &[]);
    check(&json!({"rule": "!has(self.name)"}), &json!({"name": null}), None, &[]);
    check(
        &json!({"rule": "self.x__dash__dash__dot__dot__slash__slash == 'a' && self.__namespace__ == 'b'"}),
        &json!({"x-dash.dot/slash": "a", "namespace": "b"}),
        None,
        &[],
    );
    check(&json!({"rule": "self.list.all(x, x.startsWith('a'))"}), &json!({"list": ["a", "ab"]}), None, &[]);
}

#[test]
fn evaluation_errors_are_reported() {
    check(
        &json!({"rule": "self.max > 1"}),
        &json!({}),
        None,
        &[r#"spec: Invalid value: "object": no such key: max evaluating rule: self.max > 1"#],
    );
    let expensive = json!({"rule": "self.list.all(a, self.list.all(b, self.list.all(c, a + b + c != '')))"});
    let list: Vec<String> = (0..500).map(|number| format!("item{number}")).collect();
    let errors = texts(&schema(&with_rule(&expensive)), &json!({"list": list}), None);
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].contains("no further validation rules will be run due to call cost exceeds limit"),
        "{errors:?}"
    );
}

#[test]
fn rules_below_lists_and_maps_name_their_place() {
    let item = json!({
        "type": "object",
        "properties": {"name": {"type": "string"}, "size": {"type": "integer"}},
        "x-kubernetes-validations": [
            {"rule": "self.size > 0", "message": "must be positive", "fieldPath": ".size"},
            {"rule": "self.size >= oldSelf.size", "message": "must not shrink"},
        ],
    });
    let schema = schema(&json!({
        "type": "object",
        "properties": {
            "list": {
                "type": "array", "items": item,
                "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            },
            "map": {"type": "object", "additionalProperties": item},
        },
    }));
    let old = json!({"list": [{"name": "a", "size": 5}], "map": {"k": {"size": 5}}});
    let new =
        json!({"list": [{"name": "b", "size": 0}, {"name": "a", "size": 4}], "map": {"k": {"size": 6}}});
    assert_eq!(
        texts(&schema, &new, Some(&old)),
        [
            "spec.list[0].size: Invalid value: must be positive",
            "spec.list[1]: Invalid value: must not shrink",
        ]
    );
}

#[test]
fn rules_that_do_not_compile_are_refused_with_the_schema() {
    let refused = |rule: Value| {
        let schema = json!({"type": "object", "properties": {"spec": with_rule(&rule)}});
        Schema::from_crd(&schema).unwrap_err().to_string()
    };
    let text = refused(json!({"rule": "self.min <="}));
    assert!(text.starts_with("properties[spec].x-kubernetes-validations[0].rule: Invalid value: \"self.min <=\": compilation failed"), "{text}");
    assert!(refused(json!({"rule": "other > 1"})).contains("undeclared reference"));
    assert!(refused(json!({"rule": ""})).contains("rule is not specified"));
    assert!(refused(json!({"rule": "true", "reason": "Because"})).contains("Unsupported value"));
    assert!(refused(json!({"rule": "true", "fieldPath": ".list[0]"})).contains("fieldPath"));
}
