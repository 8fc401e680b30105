//! The subset of JSONPath that printer columns and `fieldPath`s use: fields, positions, slices, `*` and filters.

mod parser;

use std::cmp::Ordering;

use serde_json::Value;

/// A parsed path: `.status.conditions[?(@.type=="Ready")].status`.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath {
    steps: Vec<Step>,
}

/// Why a text is not a path of the supported subset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid JSONPath {path:?}: {problem}")]
pub struct JsonPathError {
    path: String,
    problem: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Every,
    Index(i64),
    Slice { from: Option<i64>, to: Option<i64> },
    Filter { left: Operand, comparison: Option<(Comparison, Operand)> },
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    /// A path from the item, `@.type`.
    Path(Vec<Step>),
    Literal(Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Most values one path may lead to; a column shows one.
const MAX_RESULTS: usize = 10_000;

impl JsonPath {
    /// Reads a path, with or without the leading `.` or enclosing `{}`.
    ///
    /// # Errors
    /// The text is not in the supported subset.
    pub fn parse(text: &str) -> Result<Self, JsonPathError> {
        let steps =
            parser::parse(text).map_err(|problem| JsonPathError { path: text.to_owned(), problem })?;
        Ok(Self { steps })
    }

    /// Every value the path leads to, in document order; at most ten thousand.
    pub fn find<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        find(&self.steps, value)
    }

    /// The field names, if the path consists of nothing else.
    pub fn fields(&self) -> Option<Vec<&str>> {
        let name = |step: &'_ Step| match step {
            Step::Field(_) => true,
            Step::Every | Step::Index(_) | Step::Slice { .. } | Step::Filter { .. } => false,
        };
        self.steps.iter().all(name).then(|| {
            let names = self
                .steps
                .iter()
                .filter_map(|step| if let Step::Field(name) = step { Some(name.as_str()) } else { None });
            names.collect()
        })
    }
}

fn find<'v>(steps: &[Step], value: &'v Value) -> Vec<&'v Value> {
    let mut found = vec![value];
    for step in steps {
        let mut next = Vec::new();
        for value in found {
            step.walk(value, &mut next);
            next.truncate(MAX_RESULTS);
        }
        found = next;
    }
    found
}

impl Step {
    fn walk<'v>(&self, value: &'v Value, found: &mut Vec<&'v Value>) {
        let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
        match self {
            Self::Field(name) => found.extend(value.get(name)),
            Self::Every => {
                found.extend(items);
                found.extend(value.as_object().into_iter().flat_map(serde_json::Map::values));
            }
            Self::Index(index) => found.extend(position(*index, items.len()).and_then(|at| items.get(at))),
            Self::Slice { from, to } => {
                let bound =
                    |bound: Option<i64>, default| bound.map_or(default, |bound| clamp(bound, items.len()));
                let range = bound(*from, 0)..bound(*to, items.len());
                found.extend(items.get(range).unwrap_or_default());
            }
            Self::Filter { left, comparison } => {
                found.extend(items.iter().filter(|item| holds(left, comparison.as_ref(), item)));
            }
        }
    }
}

fn position(index: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    usize::try_from(if index < 0 { length + index } else { index }).ok()
}

fn clamp(bound: i64, length: usize) -> usize {
    position(bound, length).unwrap_or(0).min(length)
}

fn holds(left: &Operand, comparison: Option<&(Comparison, Operand)>, item: &Value) -> bool {
    let Some(left) = left.value(item) else { return false };
    let Some((comparison, right)) = comparison else { return true };
    let Some(right) = right.value(item) else { return false };
    let order = match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64().partial_cmp(&right.as_f64()),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (left, right) => (left == right).then_some(Ordering::Equal),
    };
    match comparison {
        Comparison::Equal => order == Some(Ordering::Equal),
        Comparison::NotEqual => order != Some(Ordering::Equal),
        Comparison::Less => order == Some(Ordering::Less),
        Comparison::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        Comparison::Greater => order == Some(Ordering::Greater),
        Comparison::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
    }
}

impl Operand {
    fn value<'v>(&'v self, item: &'v Value) -> Option<&'v Value> {
        match self {
            Self::Path(steps) => find(steps, item).first().copied(),
            Self::Literal(value) => Some(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn paths_lead_to_values() {
        let document = json!({
            "metadata": {"labels": {"app.kubernetes.io/name": "x"}, "name": "n"},
            "list": [1, 2, 3, 4],
            "conditions": [
                {"type": "Ready", "status": "True", "n": 3},
                {"type": "Other", "status": "False", "n": 5, "flag": true},
            ],
        });
        let check = |path: &str, expected: Value| {
            let parsed = JsonPath::parse(path).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(json!(parsed.find(&document)), expected, "{path}");
        };
        check(".metadata.name", json!(["n"]));
        check("metadata.name", json!(["n"]));
        check("{.metadata.name}", json!(["n"]));
        check("$.metadata.name", json!(["n"]));
        check(r".metadata.labels.app\.kubernetes\.io/name", json!(["x"]));
        check(".metadata.labels['app.kubernetes.io/name']", json!(["x"]));
        check(r#"["metadata"]["name"]"#, json!(["n"]));
        check(".list[0]", json!([1]));
        check(".list[-1]", json!([4]));
        check(".list[9]", json!([]));
        check(".list[1:3]", json!([2, 3]));
        check(".list[:-3]", json!([1]));
        check(".list[2:]", json!([3, 4]));
        check(".list[3:1]", json!([]));
        check(".list[*]", json!([1, 2, 3, 4]));
        check(".metadata.labels.*", json!(["x"]));
        check(r#".conditions[?(@.type=="Ready")].status"#, json!(["True"]));
        check(".conditions[?(@.type=='Ready')].status", json!(["True"]));
        check(r#".conditions[?( @.type != "Ready" )].status"#, json!(["False"]));
        check(".conditions[?(@.n>3)].type", json!(["Other"]));
        check(".conditions[?(@.n<=3)].type", json!(["Ready"]));
        check(".conditions[?(@.flag)].type", json!(["Other"]));
        check(".conditions[?(@.flag==true)].type", json!(["Other"]));
        check(".missing.deeper[0]", json!([]));
        check(".", json!([document]));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            ".a[",
            ".a[]",
            ".a[?(@.b==)]",
            ".a[x]",
            "..a",
            ".a[?(@.b=='c)]",
            ".a b]",
            ".a[?@.b]",
            ".a[1:2:3:4]",
        ] {
            assert!(JsonPath::parse(text).is_err(), "{text:?}");
        }
        let deep = format!(".{}", "a[?(@.b==1)]".repeat(10_000));
        assert!(JsonPath::parse(&deep).is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[.a\\[\\]?(@=='\"\\\\):*0-9 é{}$-]{0,20}") {
            if let Ok(path) = JsonPath::parse(&text) {
                let _ = path.find(&json!({"a": [{"a": 1}, 2]}));
            }
        }
    }
}
