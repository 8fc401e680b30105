//! `{{…}}` in texts.
//!
//! A text is expanded exactly once, in one scope, and what is put in is never looked at again: a parameter whose value
//! contains `{{…}}` stays what it is. (Argo expands in several passes over the JSON of a template, so that injected
//! text can be expanded in its turn.)

use std::collections::BTreeMap;

use serde_json::Value;

/// First words of variables. A tag that starts with another word is text, as `docker inspect -f '{{.Id}}'` needs.
const ROOTS: [&str; 11] = [
    "workflow",
    "inputs",
    "outputs",
    "steps",
    "tasks",
    "item",
    "pod",
    "node",
    "retries",
    "lastRetry",
    "cronworkflow",
];

/// The longest text between `{{` and `}}` that can be a variable.
const MAX_TAG: usize = 512;

/// A text cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ExpandError {
    /// No such variable.
    #[error("{{{{{0}}}}} cannot be resolved: there is no such variable here")]
    Unresolved(String),
    /// An expression.
    #[error("{{{{{0}}}}} is an expression, which this engine does not evaluate: use a plain variable")]
    Expression(String),
    /// Too long a result.
    #[error("expanding {{{{…}}}} makes more than {0} bytes")]
    TooLong(usize),
}

/// The variables a text may use.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope<'p> {
    parent: Option<&'p Scope<'p>>,
    variables: BTreeMap<String, String>,
}

impl<'p> Scope<'p> {
    /// An empty scope within this one.
    pub(crate) fn child(&'p self) -> Self {
        Scope { parent: Some(self), variables: BTreeMap::new() }
    }

    /// Defines a variable.
    pub(crate) fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.variables.insert(name.into(), value.into());
    }

    /// The value of a variable, here or further out.
    pub(crate) fn lookup(&self, name: &str) -> Option<&str> {
        match self.variables.get(name) {
            Some(value) => Some(value),
            None => self.parent?.lookup(name),
        }
    }

    /// The names of the variables defined here.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str)
    }

    /// Expands one text; `budget` is the bytes it may still produce and is reduced by what it does.
    pub(crate) fn expand(&self, text: &str, budget: &mut Budget) -> Result<String, ExpandError> {
        let mut expanded = String::new();
        for piece in pieces(text) {
            let part = match piece {
                Piece::Text(text) => text,
                Piece::Variable(name) => {
                    self.lookup(name).ok_or_else(|| ExpandError::Unresolved(name.to_owned()))?
                }
                Piece::Expression(source) => return Err(ExpandError::Expression(source.to_owned())),
            };
            budget.take(part.len())?;
            expanded.push_str(part);
        }
        Ok(expanded)
    }

    /// Expands every text within a value. Keys stay as they are.
    pub(crate) fn expand_value(&self, value: &mut Value, budget: &mut Budget) -> Result<(), ExpandError> {
        match value {
            Value::String(text) => *text = self.expand(text, budget)?,
            Value::Array(items) => {
                for item in items {
                    self.expand_value(item, budget)?;
                }
            }
            Value::Object(fields) => {
                for field in fields.values_mut() {
                    self.expand_value(field, budget)?;
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        Ok(())
    }
}

/// How many bytes may still be produced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    limit: usize,
    left: usize,
}

impl Budget {
    /// A budget of this many bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, left: limit }
    }

    fn take(&mut self, bytes: usize) -> Result<(), ExpandError> {
        self.left = self.left.checked_sub(bytes).ok_or(ExpandError::TooLong(self.limit))?;
        Ok(())
    }
}

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'t> {
    /// Stays as it is.
    Text(&'t str),
    /// Is replaced by the variable's value.
    Variable(&'t str),
    /// `{{=…}}`.
    Expression(&'t str),
}

/// The parts of a text, in order.
pub(crate) fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    let mut tag: Option<Piece<'_>> = None;
    std::iter::from_fn(move || {
        if let Some(tag) = tag.take() {
            return Some(tag);
        }
        if rest.is_empty() {
            return None;
        }
        let mut from = 0;
        while let Some(open) = rest[from..].find("{{").map(|at| from + at) {
            let Some(close) = close(rest, open + 2) else {
                from = open + 1;
                continue;
            };
            if let Some(found) = variable(rest[open + 2..close].trim()) {
                let before = &rest[..open];
                rest = &rest[close + 2..];
                if before.is_empty() {
                    return Some(found);
                }
                tag = Some(found);
                return Some(Piece::Text(before));
            }
            from = open + 1;
        }
        Some(Piece::Text(std::mem::take(&mut rest)))
    })
}

/// Where the `}}` stands that closes a tag, which is looked for no further than the longest variable reaches.
fn close(text: &str, from: usize) -> Option<usize> {
    let found = text.as_bytes()[from..].windows(2).take(MAX_TAG).position(|pair| pair == b"}}")?;
    Some(from + found)
}

fn variable(inner: &str) -> Option<Piece<'_>> {
    if inner.starts_with('=') {
        return Some(Piece::Expression(inner));
    }
    let root = inner.split(['.', '[']).next().unwrap_or_default();
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | '[' | ']' | '\'' | '"');
    (ROOTS.contains(&root) && inner.chars().all(plain)).then_some(Piece::Variable(inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> Result<String, ExpandError> {
        let mut scope = Scope::default();
        scope.set("inputs.parameters.a", "A");
        scope.set("inputs.parameters.evil", "{{workflow.uid}} $(id) \"'\\");
        scope.set("workflow.uid", "U");
        let mut inner = scope.child();
        inner.set("item", "1");
        inner.expand(text, &mut Budget::new(60))
    }

    #[test]
    fn variables_are_replaced_once_and_nothing_else_is_touched() {
        for (text, expected) in [
            ("", ""),
            ("plain { } {{ }}", "plain { } {{ }}"),
            ("{{inputs.parameters.a}}", "A"),
            ("x{{ inputs.parameters.a }}y{{item}}", "xAy1"),
            ("{{{inputs.parameters.a}}}", "{A}"),
            ("{{ {{inputs.parameters.a}} }}", "{{ A }}"),
            ("{{.Id}} {{json .}} {{inputs", "{{.Id}} {{json .}} {{inputs"),
            ("{{inputs.parameters.evil}}", "{{workflow.uid}} $(id) \"'\\"),
            ("{{{{item}}inputs.parameters.a}}", "{{1inputs.parameters.a}}"),
            ("ü{{item}}ß", "ü1ß"),
        ] {
            assert_eq!(expand(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn unknown_variables_and_expressions_are_refused_by_name() {
        assert_eq!(
            expand("{{inputs.parameters.b}}"),
            Err(ExpandError::Unresolved("inputs.parameters.b".to_owned()))
        );
        assert_eq!(expand("{{=1+1}}"), Err(ExpandError::Expression("=1+1".to_owned())));
    }

    #[test]
    fn expansion_is_bounded() {
        assert_eq!(expand(&"{{inputs.parameters.evil}}".repeat(3)), Err(ExpandError::TooLong(60)));
    }
}
