//! The OpenAPI document of one group version.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::discovery::GIT_VERSION;
use crate::kinds::{Kind, Source, definitions, metadata_definitions};

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";

/// Makes the document.
pub(crate) fn make(group: &str, version: &str, kinds: &[&Arc<Kind>]) -> Value {
    let custom = kinds.iter().any(|kind| kind.is_custom());
    let (mut schemas, names) = if custom { (metadata_definitions(), Vec::new()) } else { definitions(group) };
    let mut paths = Map::new();
    for kind in kinds {
        let name = match &kind.source {
            Source::Builtin(definition) => names
                .iter()
                .find(|(known, _)| std::ptr::eq(*known, *definition))
                .map(|(_, name)| name.clone())
                .unwrap_or_default(),
            Source::Custom(schema) => {
                let name = custom_name(kind);
                schemas.insert(name.clone(), custom_schema(schema));
                name
            }
        };
        if let Some(schema) = schemas.get_mut(&name) {
            schema["x-kubernetes-group-version-kind"] = json!([gvk(kind)]);
        }
        if !kind.ephemeral {
            schemas.insert(format!("{name}List"), list_schema(kind, &name));
        }
        add_paths(&mut paths, kind, &name);
    }
    let mut components = Value::Object(schemas);
    tidy(&mut components);
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": GIT_VERSION, "description": format!("{group} {version}")},
        "paths": paths,
        "components": {"schemas": components},
    })
}

fn gvk(kind: &Kind) -> Value {
    json!({"group": kind.group, "version": kind.version, "kind": kind.kind})
}

/// `dev.openchoreo.v1alpha1.BuildPlane`
fn custom_name(kind: &Kind) -> String {
    let reversed: Vec<&str> = kind.group.rsplit('.').collect();
    format!("{}.{}.{}", reversed.join("."), kind.version, kind.kind)
}

fn custom_schema(schema: &Value) -> Value {
    let mut schema = schema.clone();
    let Some(map) = schema.as_object_mut() else { return json!({"type": "object"}) };
    map.entry("type").or_insert_with(|| "object".into());
    let properties = map.entry("properties").or_insert_with(|| json!({}));
    properties["apiVersion"] = json!({
        "type": "string",
        "description": "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources",
    });
    properties["kind"] = json!({
        "type": "string",
        "description": "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds",
    });
    properties["metadata"] = json!({
        "description": "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata",
        "allOf": [{"$ref": format!("#/components/schemas/{OBJECT_META}")}],
    });
    schema
}

fn list_schema(kind: &Kind, name: &str) -> Value {
    json!({
        "type": "object",
        "description": format!("{} is a list of {}", kind.list_kind, kind.kind),
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"allOf": [{"$ref": format!("#/components/schemas/{LIST_META}")}]},
            "items": {"type": "array", "items": {"allOf": [{"$ref": format!("#/components/schemas/{name}")}]}},
        },
        "x-kubernetes-group-version-kind":
            [{"group": kind.group, "version": kind.version, "kind": kind.list_kind}],
    })
}

fn add_paths(paths: &mut Map<String, Value>, kind: &Kind, name: &str) {
    let base = if kind.group.is_empty() {
        format!("/api/{}", kind.version)
    } else {
        format!("/apis/{}/{}", kind.group, kind.version)
    };
    let scoped = if kind.namespaced { format!("{base}/namespaces/{{namespace}}") } else { base };
    let collection = format!("{scoped}/{}", kind.plural);
    let schema = json!({"$ref": format!("#/components/schemas/{name}")});
    let list = json!({"$ref": format!("#/components/schemas/{name}List")});
    let write = ["dryRun", "fieldManager", "fieldValidation"];
    let select = [
        "allowWatchBookmarks",
        "continue",
        "fieldSelector",
        "labelSelector",
        "limit",
        "resourceVersion",
        "watch",
    ];
    let mut on_collection = json!({
        "post": operation(kind, "post", &write, Some(&schema), &schema),
        "parameters": path_parameters(kind, false),
    });
    if kind.ephemeral {
        paths.insert(collection, on_collection);
        return;
    }
    on_collection["get"] = operation(kind, "list", &select, None, &list);
    paths.insert(collection.clone(), on_collection);
    let delete = json!({"$ref": format!("#/components/schemas/{DELETE_OPTIONS}")});
    let patch = ["dryRun", "fieldManager", "fieldValidation", "force"];
    let status = json!({"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.Status"});
    let mut one = json!({
        "get": operation(kind, "get", &[], None, &schema),
        "put": operation(kind, "put", &write, Some(&schema), &schema),
        "patch": operation(kind, "patch", &patch, None, &schema),
        "delete": operation(kind, "delete", &["dryRun", "propagationPolicy"], Some(&delete), &status),
        "parameters": path_parameters(kind, true),
    });
    // No strategic merge patch among the content types: kubectl then takes the strategies of its own built-in types.
    one["patch"]["requestBody"] = json!({"content": {
        "application/apply-patch+yaml": {"schema": {"type": "object"}},
        "application/json-patch+json": {"schema": {"type": "object"}},
        "application/merge-patch+json": {"schema": {"type": "object"}},
    }});
    if kind.has_status {
        let mut status = one.clone();
        if let Some(status) = status.as_object_mut() {
            status.remove("delete");
        }
        paths.insert(format!("{collection}/{{name}}/status"), status);
    }
    paths.insert(format!("{collection}/{{name}}"), one);
}

fn operation(kind: &Kind, action: &str, query: &[&str], body: Option<&Value>, answer: &Value) -> Value {
    let parameters: Vec<Value> = query
        .iter()
        .map(|name| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}}))
        .collect();
    let mut operation = json!({
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": gvk(kind),
        "parameters": parameters,
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": answer}}}},
    });
    if let Some(body) = body {
        operation["requestBody"] = json!({"content": {"*/*": {"schema": body}}});
    }
    operation
}

fn path_parameters(kind: &Kind, named: bool) -> Value {
    let mut parameters = Vec::new();
    for (wanted, name) in [(named, "name"), (kind.namespaced, "namespace")] {
        if wanted {
            parameters.push(
                json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "uniqueItems": true}}),
            );
        }
    }
    json!(parameters)
}

/// References may have no siblings in OpenAPI 3.0: they are wrapped as Kubernetes does. Schemas that say yes to
/// everything are objects there too.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map.len() > 1
                && map.get("$ref").is_some_and(Value::is_string)
                && let Some(reference) = map.remove("$ref")
            {
                map.insert("allOf".into(), json!([{"$ref": reference}]));
            }
            for (key, entry) in map.iter_mut() {
                if key == "properties"
                    && let Some(properties) = entry.as_object_mut()
                {
                    for schema in properties.values_mut() {
                        if *schema == true {
                            *schema = json!({});
                        }
                        tidy(schema);
                    }
                } else if key != "default" && key != "enum" && key != "example" {
                    tidy(entry);
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(tidy),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
