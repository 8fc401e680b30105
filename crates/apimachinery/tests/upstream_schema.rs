//! Schemas and objects whose pruning, defaulting, validation and rule evaluation were recorded from
//! `k8s.io/apiextensions-apiserver` 0.36.

use std::collections::BTreeSet;

use buildplane_apimachinery::field::FieldError;
use buildplane_apimachinery::schema::{Previous, Schema};
use serde_json::{Value, json};

const RECORDED: &str = include_str!("data/schema.jsonl");

#[test]
fn objects_are_judged_as_in_kubernetes() {
    let mut n_cases = 0;
    let mut failures = Vec::new();
    for line in RECORDED.lines() {
        n_cases += 1;
        let case: Value = serde_json::from_str(line).unwrap();
        let have = judge(&case);
        let want = json!({
            "unknown": sorted(&case["results"]["unknown"]),
            "pruned": case["results"]["pruned"],
            "defaulted": case["results"]["defaulted"],
            "errors": sorted(&case["results"]["errors"]),
            "rules": sorted(&case["results"]["rules"]),
        });
        for part in ["unknown", "pruned", "defaulted", "errors", "rules"] {
            // Where an object is updated, upstream tolerates less of what has not changed than we do: it gives up
            // on lists whose items it cannot correlate and on fields it does not know.
            let same = match (case.get("old"), part) {
                (Some(_), "rules")
                    if ["invalid data", "not checked"]
                        .iter()
                        .any(|text| want[part].to_string().contains(text)) =>
                {
                    true
                }
                (Some(_), "errors" | "rules") => is_subset(&have[part], &want[part]),
                // Upstream's typed values refuse what validation let pass: a float for an integer.
                (None, "rules") if want[part].to_string().contains("invalid data") => true,
                _ => plain(&have[part]) == plain(&want[part]),
            };
            if !same {
                failures.push(format!(
                    "case {n_cases} {part}\n schema {}\n object {}\n old {}\n want {}\n have {}",
                    case["schema"]["properties"]["spec"],
                    case["object"]["spec"],
                    case["old"]["spec"],
                    want[part],
                    have[part]
                ));
                break;
            }
        }
    }
    assert!(n_cases > 50, "{n_cases}");
    assert!(
        failures.is_empty(),
        "{} differ, among them:\n{}",
        failures.len(),
        failures.iter().take(4).cloned().collect::<Vec<_>>().join("\n")
    );
}

fn judge(case: &Value) -> Value {
    let schema = match Schema::from_crd(&case["schema"]) {
        Ok(schema) => schema,
        Err(error) => return json!({"unknown": error.to_string()}),
    };
    let mut pruned = case["object"].clone();
    let unknown = schema.prune(&mut pruned);
    let mut defaulted = pruned.clone();
    schema.default(&mut defaulted);
    let old = case.get("old").map(|old| {
        let mut old = old.clone();
        schema.prune(&mut old);
        old
    });
    let previous = old.as_ref().map_or(Previous::Absent, Previous::Object);
    let texts =
        |errors: &[FieldError]| sorted(&json!(errors.iter().map(ToString::to_string).collect::<Vec<_>>()));
    let errors = schema.validate(&pruned, previous);
    json!({
        "unknown": sorted(&json!(unknown)),
        "defaulted": defaulted,
        "errors": texts(&errors),
        "rules": texts(&schema.judge(&pruned, previous)[errors.len()..]),
        "pruned": pruned,
    })
}

/// Upstream walks maps in random order.
fn sorted(texts: &Value) -> BTreeSet<String> {
    texts.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn is_subset(have: &Value, want: &Value) -> bool {
    have.as_array().into_iter().flatten().all(|text| want.as_array().is_some_and(|want| want.contains(text)))
}

/// Go writes a float without a fraction as an integer.
fn plain(value: &Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().map_or(Value::Null, Value::from),
        Value::Array(items) => Value::Array(items.iter().map(plain).collect()),
        Value::Object(members) => {
            Value::Object(members.iter().map(|(name, value)| (name.clone(), plain(value))).collect())
        }
        other => other.clone(),
    }
}
