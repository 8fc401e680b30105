//! The schema shorthand, through the public face.

use buildplane_template::ParameterSchema;
use serde_json::{Value, json};

fn parse(parameters: &Value, types: &Value) -> ParameterSchema {
    ParameterSchema::parse(parameters, types).expect("a schema")
}

fn openapi(parameters: &Value, types: &Value) -> Value {
    parse(parameters, types).to_openapi()
}

fn refusal(parameters: &Value, types: &Value) -> String {
    ParameterSchema::parse(parameters, types).expect_err("no schema").to_string()
}

#[test]
fn upstream_vectors() {
    let item = json!({"Item": {"name": "string"}});
    let resources = json!({"Resources": {"cpu": "string | default=100m", "memory": "string"}});
    for (parameters, types, expected) in [
        (
            json!({"name": "string"}),
            Value::Null,
            json!({"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}),
        ),
        (
            json!({"replicas": "integer | default=1"}),
            Value::Null,
            json!({"type": "object", "properties": {"replicas": {"type": "integer", "default": 1}}}),
        ),
        (
            json!({"items": "[]Item | default=[{\"name\":\"custom\"}]"}),
            item,
            json!({"type": "object", "properties": {"items": {"type": "array", "default": [{"name": "custom"}], "items":
                {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}}}}),
        ),
        (
            json!({"tags": "[]map<string> | default=[]"}),
            Value::Null,
            json!({"type": "object", "properties": {"tags": {"type": "array", "default": [], "items":
                {"type": "object", "additionalProperties": {"type": "string"}}}}}),
        ),
        (
            json!({"labels": "map[string]string"}),
            Value::Null,
            json!({"type": "object", "required": ["labels"], "properties": {"labels":
                {"type": "object", "additionalProperties": {"type": "string"}}}}),
        ),
        (
            json!({"resources": "Resources"}),
            resources,
            json!({"type": "object", "required": ["resources"], "properties": {"resources": {"type": "object",
                "required": ["memory"], "properties": {"cpu": {"type": "string", "default": "100m"}, "memory": {"type": "string"}}}}}),
        ),
        (
            json!({"fmt": "string | default=\"table\" enum=table,json description=\"how it prints\""}),
            Value::Null,
            json!({"type": "object", "properties": {"fmt": {"type": "string", "default": "table",
                "enum": ["table", "json"], "description": "how it prints"}}}),
        ),
    ] {
        assert_eq!(openapi(&parameters, &types), expected, "{parameters}");
    }
}

#[test]
fn constraints() {
    let field = |text: &str| openapi(&json!({"f": text}), &Value::Null)["properties"]["f"].clone();
    for (text, expected) in [
        (
            "integer | minimum=1 maximum=10 exclusiveMinimum=true multipleOf=2",
            json!({"type": "integer", "minimum": 1, "maximum": 10, "exclusiveMinimum": true, "multipleOf": 2}),
        ),
        ("number | minimum=0.5 default=1e3", json!({"type": "number", "minimum": 0.5, "default": 1000.0})),
        ("boolean | default=T", json!({"type": "boolean", "default": true})),
        (
            "string | minLength=1 maxLength=5 pattern='^[a-z]+$' title=T format=x",
            json!({"type": "string", "minLength": 1, "maxLength": 5, "pattern": "^[a-z]+$", "title": "T", "format": "x"}),
        ),
        ("string | enum=\"a,b\",c,,", json!({"type": "string", "enum": ["a,b", "c"]})),
        ("integer | enum=1,2", json!({"type": "integer", "enum": [1, 2]})),
        (
            "map<integer> | default={\"a\": 1} minProperties=1",
            json!({"type": "object", "additionalProperties": {"type": "integer"}, "default": {"a": 1}, "minProperties": 1}),
        ),
        (
            "[]string | default=[\"a b\", \"c\"] maxItems=3",
            json!({"type": "array", "items": {"type": "string"}, "default": ["a b", "c"], "maxItems": 3}),
        ),
        (
            "array<[]integer>",
            json!({"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}),
        ),
        ("string | default=\"\"", json!({"type": "string", "default": ""})),
        ("string | oc:x oc:y=1 | default='it''s'", json!({"type": "string", "default": "it's"})),
        ("string | example=5", json!({"type": "string", "example": 5})),
        ("string | example=abc", json!({"type": "string", "example": "abc"})),
    ] {
        assert_eq!(field(text), expected, "{text}");
    }
}

#[test]
fn refusals_name_the_field_and_the_remedy() {
    for (definition, expected) in [
        (
            json!("object"),
            "schema.parameters.f: object is no type here: use map<string>, or a map that lists the fields",
        ),
        (json!("Foo"), "schema.parameters.f: unknown type \"Foo\": define it in schema.types"),
        (json!("[]"), "schema.parameters.f: unknown type \"[]\": it names no element type"),
        (json!("map["), "schema.parameters.f: invalid map expression \"map[\""),
        (
            json!("map[int]string"),
            "schema.parameters.f: keys of a map are strings, not \"int\": write map[string]string",
        ),
        (
            json!("string | required"),
            "schema.parameters.f: there is no \"required\": what has no default is required",
        ),
        (json!("string | nullable"), "schema.parameters.f: \"nullable\" has no value: write nullable=…"),
        (json!("string | color=red"), "schema.parameters.f: unknown constraint \"color\""),
        (json!("integer | default=x"), "schema.parameters.f: \"x\" is not an integer"),
        (
            json!("integer | default=5 maximum=3"),
            "schema.parameters.f: the default does not fit: schema.parameters.f: must be at most 3, not 5",
        ),
        (json!("string | pattern=["), "schema.parameters.f: pattern \"[\""),
        (
            json!({"$default": {"a": 1}, "a": "string"}),
            "schema.parameters.f[\"$default\"]: the default does not fit",
        ),
        (json!({"$default": "[]"}), "schema.parameters.f[\"$default\"]: must be a map"),
        (json!(5), "schema.parameters.f: must be a type such as"),
        (json!("A"), "cyclic type reference: A -> B -> A"),
        (json!("(string)"), "unknown type \"(string)\""),
    ] {
        let message = refusal(&json!({"f": definition}), &json!({"A": {"b": "B"}, "B": {"a": "[]A"}}));
        assert!(message.contains(expected), "{definition}: {message}");
    }
}

#[test]
fn type_bombs_are_refused() {
    let mut types = serde_json::Map::new();
    for level in 0..30 {
        types.insert(
            format!("T{level}"),
            json!({"a": format!("T{}", level + 1), "b": format!("T{}", level + 1)}),
        );
    }
    types.insert("T30".to_owned(), json!("string"));
    refusal(&json!({"f": "T0"}), &Value::Object(types));
    refusal(&json!({"f": format!("{}string", "[]".repeat(5000))}), &Value::Null);
    let deep = (0..100).fold(json!("string"), |inner, _| json!({"x": inner}));
    refusal(&deep, &Value::Null);
}

fn build_schema() -> ParameterSchema {
    parse(
        &json!({
            "repository": {
                "url": "string | minLength=1",
                "secretRef": "string | default=\"\"",
                "revision": {"branch": "string | default=main", "commit": "string | default=\"\""},
            },
            "docker": {"$default": {"context": "src"}, "context": "string | default=.", "filePath": "string | default=./Dockerfile"},
            "args": "[]Arg | default=[]",
            "level": "integer | default=3 minimum=1",
        }),
        &json!({"Arg": {"name": "string", "value": "string | default=x"}}),
    )
}

#[test]
fn defaults_make_their_parents() {
    let schema = build_schema();
    assert_eq!(
        schema.with_defaults(&Value::Null),
        json!({
            "repository": {"secretRef": "", "revision": {"branch": "main", "commit": ""}},
            "docker": {"context": "src", "filePath": "./Dockerfile"},
            "args": [], "level": 3,
        })
    );
    let given = json!({"repository": {"url": "u", "revision": {"branch": "dev"}}, "args": [{"name": "a"}], "level": null});
    assert_eq!(
        schema.with_defaults(&given),
        json!({
            "repository": {"url": "u", "secretRef": "", "revision": {"branch": "dev", "commit": ""}},
            "docker": {"context": "src", "filePath": "./Dockerfile"},
            "args": [{"name": "a", "value": "x"}], "level": null,
        })
    );
}

#[test]
fn parameters_are_validated() {
    let schema = build_schema();
    assert!(schema.prepare(&json!({"repository": {"url": "u"}})).is_ok());
    for (parameters, expected) in [
        (json!({}), "parameters.repository.url: is required; give it a string value"),
        (
            json!({"repository": {"url": ""}}),
            "parameters.repository.url: must have at least 1 characters, not 0",
        ),
        (json!({"repository": {"url": 5}}), "parameters.repository.url: must be a string, not a number"),
        (json!({"repository": "u"}), "parameters.repository: must be a map, not a string"),
        (
            json!({"repository": {"url": "u", "ulr": 1}}),
            "parameters.repository.ulr: is not a parameter; known: revision, secretRef, url",
        ),
        (json!({"repository": {"url": "u"}, "level": 0}), "parameters.level: must be at least 1, not 0"),
        (json!({"repository": {"url": "u"}, "level": 1.5}), "parameters.level: must be an integer, not 1.5"),
        (
            json!({"repository": {"url": "u"}, "level": null}),
            "parameters.level: must be an integer, not null; leave it out",
        ),
        (
            json!({"repository": {"url": "u"}, "args": [{"value": "v"}]}),
            "parameters.args[0].name: is required; give it a string value",
        ),
        (json!([]), "parameters: must be a map, not a list"),
    ] {
        let errors = schema.prepare(&parameters).unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].to_string(), expected);
    }
    let many: Vec<_> = (0..100).map(|_| json!({})).collect();
    let errors = schema.prepare(&json!({"repository": {"url": "u"}, "args": many})).unwrap_err();
    assert_eq!(errors.len(), 50);
}

#[test]
fn numbers_and_enums() {
    let schema = parse(
        &json!({"n": "number | default=0.3 multipleOf=0.1 maximum=1 exclusiveMaximum=true", "e": "integer | default=1 enum=1,2"}),
        &Value::Null,
    );
    for (parameters, fits) in [
        (json!({"n": 0.7}), true),
        (json!({"n": 0.75}), false),
        (json!({"n": 1}), false),
        (json!({"e": 2.0}), true),
        (json!({"e": 3}), false),
        (json!({"e": "1"}), false),
    ] {
        assert_eq!(schema.prepare(&parameters).is_ok(), fits, "{parameters}");
    }
}

#[test]
fn an_empty_schema_takes_no_parameters() {
    let schema = parse(&Value::Null, &Value::Null);
    assert!(schema.prepare(&Value::Null).is_ok());
    assert!(schema.prepare(&json!({"x": 1})).is_err());
}
