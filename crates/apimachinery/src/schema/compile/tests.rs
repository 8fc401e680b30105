use serde_json::json;

use super::*;
use crate::schema::Previous;

#[test]
fn a_schema_must_be_structural() {
    let check = |properties: Value, expected: &str| {
        let schema = json!({"type": "object", "properties": {"spec": properties}});
        let error = Schema::from_crd(&schema).unwrap_err().to_string();
        assert_eq!(error, expected);
    };
    check(json!({}), "properties[spec].type: Required value: must not be empty for specified object fields");
    check(
        json!({"type": "array", "items": {}}),
        "properties[spec].items.type: Required value: must not be empty for specified array items",
    );
    check(json!({"type": "array"}), "properties[spec].items: Required value: must be specified");
    check(
        json!({"type": "text"}),
        r#"properties[spec].type: Unsupported value: "text": supported values: "array", "boolean", "integer", "number", "object", "string""#,
    );
    check(
        json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}}),
        "properties[spec].additionalProperties: Forbidden: must not be used together with properties",
    );
    check(
        json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "map"}),
        "properties[spec].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
    );
    let error =
        Schema::from_crd(&json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}));
    assert!(error.unwrap_err().to_string().contains("must be a valid regular expression"));
    assert_eq!(
        Schema::from_crd(&json!({})).unwrap_err().to_string(),
        "type: Required value: must not be empty at the root"
    );
}

#[test]
fn hostile_schemas_are_refused() {
    let mut deep = json!({"type": "string"});
    for _ in 0..1000 {
        deep = json!({"type": "array", "items": deep});
    }
    let schema = json!({"type": "object", "properties": {"a": deep}});
    assert!(matches!(Schema::from_crd(&schema), Err(SchemaError::TooLarge(_))));
    let bomb = json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "((a{1000}){1000}){1000}"}}});
    assert!(Schema::from_crd(&bomb).is_err());
}

#[test]
fn references_may_be_recursive() {
    let document = json!({
        "title": "Root",
        "type": "object",
        "properties": {"tree": {"$ref": "#/$defs/Tree", "description": "words"}},
        "$defs": {"Tree": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}},
            },
        }},
    });
    let schema = Schema::from_document(&document, "").unwrap();
    let mut object =
        json!({"tree": {"name": "a", "children": [{"name": 1, "x": 2, "children": [{"y": 3}]}]}});
    assert_eq!(schema.prune(&mut object), ["tree.children[0].children[0].y", "tree.children[0].x"]);
    let errors = schema.validate(&object, Previous::Absent);
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].field, "tree.children[0].name");
    assert!(matches!(
        Schema::from_document(&json!({"properties": {"a": {"$ref": "#/$defs/None"}}}), ""),
        Err(SchemaError::Reference(_))
    ));
    // A reference to itself defines nothing, and must not hang.
    let circle =
        json!({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}}});
    assert!(Schema::from_document(&circle, "").is_ok());
}

#[test]
fn built_in_types_get_their_merge_keys_by_name() {
    let document = json!({
        "components": {"schemas": {
            "io.k8s.api.core.v1.PodSpec": {
                "type": "object",
                "properties": {
                    "containers": {"type": "array", "items": {"$ref": "#/components/schemas/io.k8s.api.core.v1.Container"}},
                    "volumes": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
                },
            },
            "io.k8s.api.core.v1.Container": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "ports": {"type": "array", "items": {"$ref": "#/components/schemas/io.k8s.api.core.v1.ContainerPort"}},
                },
            },
            "io.k8s.api.core.v1.ContainerPort": {
                "type": "object",
                "properties": {"containerPort": {"type": "integer"}, "protocol": {"type": "string"}},
            },
        }},
    });
    let schema = Schema::from_document(&document, "/components/schemas/io.k8s.api.core.v1.PodSpec").unwrap();
    let containers = schema.root().property("containers").unwrap();
    assert_eq!(*containers.list_type(), crate::schema::ListType::Map(vec!["name".to_owned()]));
    assert_eq!(containers.patch_key(), Some("name"));
    let ports = containers.items().unwrap().property("ports").unwrap();
    assert_eq!(
        *ports.list_type(),
        crate::schema::ListType::Map(vec!["containerPort".to_owned(), "protocol".to_owned()])
    );
    assert_eq!(ports.items().unwrap().property("protocol").unwrap().default_value(), Some(&json!("TCP")));
    assert!(schema.root().property("volumes").unwrap().patch_strategy().retain_keys);
}
