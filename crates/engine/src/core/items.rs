//! Loops: `withItems` and `withParam`.

use buildplane_argo::template::Step;
use serde_json::Value;

use crate::core::limits::Limits;
use crate::core::substitute::{Budget, ExpandError, Scope};

/// The longest text of an item that becomes part of a node's name.
const MAX_NAME_PART: usize = 100;

/// A loop cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LoopError {
    /// A variable cannot be resolved.
    #[error("loop cannot be expanded")]
    Expand(#[source] ExpandError),
    /// `withParam` is something else than a list.
    #[error("withParam is not a JSON list: {0}")]
    NotAList(String),
    /// Too many members.
    #[error("the loop has {found} members, more than the {limit} allowed")]
    TooMany {
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
}

/// One turn of a loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    /// What is appended to the name of the step: `(0:a)`.
    pub suffix: String,
    /// The variables of this turn.
    pub variables: Vec<(String, String)>,
}

/// The turns of a step, or nothing when it is no loop.
pub(crate) fn turns(step: &Step, scope: &Scope<'_>, limits: &Limits) -> Result<Option<Vec<Turn>>, LoopError> {
    let mut budget = Budget::new(limits.expansion_bytes);
    let mut items = match (&step.with_items, &step.with_param) {
        (Some(items), _) => items.clone(),
        (None, Some(text)) => {
            let text = scope.expand(text, &mut budget).map_err(LoopError::Expand)?;
            serde_json::from_str::<Vec<Value>>(&text)
                .map_err(|error| LoopError::NotAList(error.to_string()))?
        }
        (None, None) => return Ok(None),
    };
    if items.len() > limits.items {
        return Err(LoopError::TooMany { found: items.len(), limit: limits.items });
    }
    if step.with_items.is_some() {
        for item in &mut items {
            scope.expand_value(item, &mut budget).map_err(LoopError::Expand)?;
        }
    }
    Ok(Some(items.iter().enumerate().map(|(index, item)| turn(index, item)).collect()))
}

fn turn(index: usize, item: &Value) -> Turn {
    let mut variables = vec![("item".to_owned(), text(item))];
    let label = match item {
        Value::Object(fields) => {
            let mut parts: Vec<String> =
                fields.iter().map(|(key, value)| format!("{key}:{}", text(value))).collect();
            parts.sort();
            variables.extend(fields.iter().map(|(key, value)| (format!("item.{key}"), text(value))));
            parts.join(",")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => text(item),
    };
    let label: String = label.chars().take(MAX_NAME_PART).collect();
    Turn { suffix: format!("({index}:{label})"), variables }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn suffixes(step: Value) -> Result<Option<Vec<String>>, LoopError> {
        let step: Step = serde_json::from_value(step).unwrap_or_default();
        let mut scope = Scope::default();
        scope.set("inputs.parameters.list", r#"["x", {"a": 1}, "{{item}}"]"#);
        let limits = Limits { items: 3, ..Limits::default() };
        Ok(turns(&step, &scope, &limits)?.map(|turns| turns.into_iter().map(|turn| turn.suffix).collect()))
    }

    #[test]
    fn members_are_named_by_index_and_item() {
        assert_eq!(suffixes(json!({})), Ok(None));
        assert_eq!(
            suffixes(json!({"withItems": ["a", 2, {"k": "v", "b": true}]})),
            Ok(Some(vec!["(0:a)".to_owned(), "(1:2)".to_owned(), "(2:b:true,k:v)".to_owned()]))
        );
        assert_eq!(
            suffixes(json!({"withParam": "{{inputs.parameters.list}}"})),
            Ok(Some(vec!["(0:x)".to_owned(), "(1:a:1)".to_owned(), "(2:{{item}})".to_owned()]))
        );
        assert_eq!(suffixes(json!({"withItems": []})), Ok(Some(vec![])));
    }

    #[test]
    fn loops_are_bounded_and_checked() {
        assert_eq!(
            suffixes(json!({"withItems": [1, 2, 3, 4]})),
            Err(LoopError::TooMany { found: 4, limit: 3 })
        );
        assert!(matches!(suffixes(json!({"withParam": "{\"a\": 1}"})), Err(LoopError::NotAList(_))));
    }
}
