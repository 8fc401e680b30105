use serde_json::Value;

use super::*;

/// Checks the rules of a structural schema that a real API server applies to a CRD, and ours: every field is described
/// and typed, apart from those that are kept as they are written.
fn check(path: &str, schema: &Value, problems: &mut Vec<String>) {
    let Some(schema) = schema.as_object() else {
        problems.push(format!("{path}: no schema object"));
        return;
    };
    let preserved = schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    let type_ = schema.get("type").and_then(Value::as_str);
    if type_.is_none() && !preserved && !schema.contains_key("x-kubernetes-int-or-string") {
        problems.push(format!("{path}: no type"));
    }
    for key in ["$ref", "definitions", "oneOf", "anyOf", "allOf", "const", "not"] {
        if schema.contains_key(key) {
            problems.push(format!("{path}: has {key}"));
        }
    }
    if type_ == Some("object") && !preserved && !path.ends_with("/metadata") {
        let described = schema.contains_key("properties") || schema.contains_key("additionalProperties");
        if !described {
            problems.push(format!("{path}: object without properties"));
        }
    }
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        for (name, property) in properties {
            check(&format!("{path}/{name}"), property, problems);
        }
        for required in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            let name = required.as_str().unwrap_or_default();
            match properties.get(name) {
                None => problems.push(format!("{path}: requires {name}, which is not there")),
                Some(property) if property.get("default").is_some() => {
                    problems.push(format!("{path}: requires {name}, which has a default"));
                }
                Some(_) => {}
            }
        }
    }
    match schema.get("items") {
        Some(items) => check(&format!("{path}[]"), items, problems),
        None if type_ == Some("array") => problems.push(format!("{path}: array without items")),
        None => {}
    }
    if let Some(additional) = schema.get("additionalProperties") {
        check(&format!("{path}{{}}"), additional, problems);
    }
}

#[test]
fn schemas_are_structural() {
    let mut problems = Vec::new();
    for crd in crds() {
        for version in &crd.spec.versions {
            let schema = serde_json::to_value(&version.schema).expect("schema serializes");
            check(&crd.spec.names.kind, &schema["openAPIV3Schema"], &mut problems);
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn names_scopes_and_columns() {
    let table: Vec<String> = crds()
        .iter()
        .map(|crd| {
            let names = &crd.spec.names;
            let version = &crd.spec.versions[0];
            let columns = version.additional_printer_columns.iter().flatten().map(|c| c.name.as_str());
            format!(
                "{} {} {} [{}] [{}] {}",
                names.kind,
                names.plural,
                crd.spec.scope,
                names.short_names.as_deref().unwrap_or_default().join(" "),
                columns.collect::<Vec<_>>().join(", "),
                if version.subresources.as_ref().is_some_and(|s| s.status.is_some()) {
                    "status"
                } else {
                    "-"
                },
            )
        })
        .collect();
    insta::assert_snapshot!(table.join("\n"));
}

fn property(kind: &str, path: &str) -> Value {
    let crd = crds().into_iter().find(|crd| crd.spec.names.kind == kind).expect("kind is known");
    let schema = serde_json::to_value(&crd.spec.versions[0].schema).expect("schema serializes");
    schema["openAPIV3Schema"].pointer(path).cloned().unwrap_or_default()
}

#[test]
fn plane_fields_say_what_they_take() {
    let spec = |kind| property(kind, "/properties/spec");
    insta::assert_yaml_snapshot!("buildplane_spec", spec("BuildPlane"));
    let cluster = spec("ClusterBuildPlane");
    assert_eq!(cluster["required"], serde_json::json!(["clusterAgent"]));
    insta::assert_yaml_snapshot!("clusterbuildplane_rules", cluster["x-kubernetes-validations"]);
    insta::assert_yaml_snapshot!(
        "clusterbuildplane_observability",
        cluster["properties"]["observabilityPlaneRef"]["properties"]["kind"]
    );
}

#[test]
fn task_phases_include_omitted() {
    let phases = property("WorkflowRun", "/properties/status/properties/tasks/items/properties/phase");
    assert!(phases["enum"].as_array().expect("an enum").contains(&"Omitted".into()), "{phases}");
}
