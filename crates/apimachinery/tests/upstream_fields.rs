//! Sequences of writes whose outcome was recorded from Kubernetes' own field manager (`k8s.io/apimachinery` 0.36,
//! `managedfields`), fed with the same schema and documents. Each line of the data is one sequence.

#![expect(clippy::unwrap_used, reason = "malformed test data fails the test")]

use buildplane_apimachinery::managed::{self, FieldSet, OnConflict, Scope, Writer};
use buildplane_apimachinery::schema::Schema;
use jiff::Timestamp;
use serde_json::{Value, json};

const RECORDED: &str = include_str!("data/fields.jsonl");

#[test]
fn writes_end_as_in_kubernetes() {
    let mut lines = RECORDED.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let schema = Schema::from_crd(&lines.next().unwrap()).unwrap();
    let mut n_steps = 0;
    let mut failures = Vec::new();
    for (number, case) in lines.enumerate() {
        let steps = case["steps"].as_array().unwrap().iter().zip(case["results"].as_array().unwrap());
        let mut live: Option<Value> = None;
        for (index, (step, expected)) in steps.enumerate() {
            n_steps += 1;
            let (actual, next) = write(live.as_ref(), step, &schema);
            // A forced apply over duplicates fails upstream too; the texts of such errors are not compared.
            let same = match (
                expected.get("error").and_then(Value::as_str),
                actual.get("error").and_then(Value::as_str),
            ) {
                (Some(expected), Some(actual)) if expected.starts_with("Apply failed") => {
                    sorted_conflicts(expected) == sorted_conflicts(actual)
                }
                (Some(_), Some(_)) => true,
                _ => comparable(expected) == comparable(&actual),
            };
            if !same {
                failures.push(format!(
                    "case {number} step {index}\n live {}\n step {step}\n want {}\n have {}",
                    live.unwrap_or_default(),
                    comparable(expected),
                    comparable(&actual)
                ));
                break;
            }
            live = next.or(live);
        }
    }
    assert!(n_steps > 100, "{n_steps}");
    assert!(
        failures.is_empty(),
        "{} differ, among them:\n{}",
        failures.len(),
        failures.iter().take(3).cloned().collect::<Vec<_>>().join("\n")
    );
}

fn write(live: Option<&Value>, step: &Value, schema: &Schema) -> (Value, Option<Value>) {
    let manager = step["manager"].as_str().unwrap();
    let writer = Writer { manager, api_version: "test/v1", subresource: "", time: Timestamp::UNIX_EPOCH };
    let mut object = match step["kind"].as_str().unwrap() {
        "update" => managed::update(live, step["object"].clone(), &writer, schema, Scope::Whole),
        kind => {
            let on_conflict = if kind == "force" { OnConflict::Force } else { OnConflict::Fail };
            match managed::apply(live, &step["object"], &writer, on_conflict, schema, Scope::Whole) {
                Ok(applied) => applied.object,
                Err(error) => return (json!({"error": error.to_string()}), None),
            }
        }
    };
    object["metadata"]["uid"] = json!("u");
    (json!({"object": object}), Some(object))
}

/// Upstream visits managers in random order.
fn sorted_conflicts(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// Without times, the managers by name, the annotation parsed.
fn comparable(result: &Value) -> Value {
    let mut result = result.clone();
    if let Some(Value::Array(entries)) = result.pointer_mut("/object/metadata/managedFields") {
        for entry in entries.iter_mut() {
            entry.as_object_mut().unwrap().remove("time");
            entry["fieldsV1"] =
                Value::from(FieldSet::from_fields_v1(&entry["fieldsV1"]).unwrap().to_string());
        }
        entries.sort_by_key(|entry| format!("{} {}", entry["operation"], entry["manager"]));
    }
    let annotation = "/object/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration";
    if let Some(last) = result.pointer_mut(annotation) {
        *last = serde_json::from_str(last.as_str().unwrap()).unwrap();
    }
    result
}
