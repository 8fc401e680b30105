//! Strategic merge patches whose outcome was recorded from `k8s.io/apimachinery` 0.36 (`strategicpatch`).

use buildplane_apimachinery::patch;
use buildplane_apimachinery::schema::Schema;
use serde_json::Value;

const RECORDED: &str = include_str!("data/strategic.jsonl");

#[test]
fn patches_end_as_in_kubernetes() {
    let mut lines = RECORDED.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let schema = Schema::from_document(&lines.next().unwrap(), "").unwrap();
    let mut n_cases = 0;
    let mut failures = Vec::new();
    for case in lines {
        n_cases += 1;
        let actual = patch::strategic_merge(&case["object"], &case["patch"], &schema);
        let expected = &case["results"];
        let same = match (&actual, expected.get("object")) {
            (Ok(actual), Some(expected)) => plain(actual) == plain(expected),
            (Err(_), None) => true,
            _ => false,
        };
        if !same {
            let actual = actual.map_or_else(|error| error.to_string(), |value| plain(&value).to_string());
            let expected = expected.get("object").map_or_else(|| expected.clone(), plain);
            failures.push(format!("{} {}\n want {expected}\n have {actual}", case["object"], case["patch"]));
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

/// Upstream leaves nulls and directives in values that are new to the document, which its decoder then drops.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter(|(name, value)| !name.starts_with('$') && !value.is_null());
            Value::Object(kept.map(|(name, value)| (name.clone(), plain(value))).collect())
        }
        Value::Array(items) => {
            let kept = items.iter().filter(|item| item.get("$patch").is_none());
            Value::Array(kept.map(plain).collect())
        }
        other => other.clone(),
    }
}
