use std::collections::BTreeSet;

use serde_json::Value as Json;

use crate::{Error, Limits};

/// A compiled expression. Cheap to clone; evaluate it as often as needed, from any thread.
#[derive(Debug, Clone)]
pub struct Program {
    source: std::sync::Arc<str>,
}

/// What an expression gave.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// A value, as JSON.
    Value(Json),
    /// The absent value (an empty optional, or a function's "leave this out"): whoever asked drops the field.
    Absent,
}

impl Program {
    pub(crate) fn stub(source: &str) -> Self {
        Self { source: source.into() }
    }

    /// Evaluates with the given values of the declared variables, which are read in place.
    pub fn evaluate(&self, bindings: &[(&str, &Json)], limits: &Limits) -> Result<Outcome, Error> {
        let _ = (bindings, limits);
        Err(Error::Unbound { name: String::new() })
    }

    /// Evaluates to a bool; anything else is an [`Error::UnexpectedResult`].
    pub fn evaluate_bool(&self, bindings: &[(&str, &Json)], limits: &Limits) -> Result<bool, Error> {
        let _ = self.evaluate(bindings, limits)?;
        Ok(true)
    }

    /// Evaluates to a string; anything else is an [`Error::UnexpectedResult`].
    pub fn evaluate_string(&self, bindings: &[(&str, &Json)], limits: &Limits) -> Result<String, Error> {
        let _ = self.evaluate(bindings, limits)?;
        Ok(String::new())
    }

    /// The source text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Declared variables that the expression mentions.
    pub fn variables(&self) -> BTreeSet<&str> {
        BTreeSet::new()
    }

    /// The constant keys selected directly on `variable`: `a` and `b` for `v.a + v["b"].c`.
    pub fn members(&self, variable: &str) -> BTreeSet<&str> {
        let _ = variable;
        BTreeSet::new()
    }
}
