use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value as Json;

use crate::budget::Budget;
use crate::error::Error;
use crate::eval::Evaluation;
use crate::limits::Limits;
use crate::lower::Lowered;
use crate::node::Node;
use crate::output;
use crate::value::Val;

/// A compiled expression. Cheap to clone; evaluate it as often as needed, from any thread.
#[derive(Debug, Clone)]
pub struct Program {
    compiled: Arc<Compiled>,
}

#[derive(Debug)]
struct Compiled {
    source: String,
    variables: Vec<String>,
    used: BTreeMap<usize, BTreeSet<String>>,
    node: Node,
}

/// What an expression gave.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// A value, as JSON. Durations are printed as Go does (`1h30m0s`), timestamps in RFC 3339, bytes in base64.
    Value(Json),
    /// The absent value (an empty optional, or a function's "leave this out"): whoever asked drops the field.
    Absent,
}

impl Program {
    pub(crate) fn new(source: &str, variables: &[&str], lowered: Lowered) -> Self {
        let variables = variables.iter().map(|&name| name.to_owned()).collect();
        let Lowered { node, used } = lowered;
        Self { compiled: Arc::new(Compiled { source: source.to_owned(), variables, used, node }) }
    }

    /// Evaluates with the given values of the declared variables, which are read in place.
    ///
    /// # Errors
    /// [`Error::Unbound`] where the expression needs a variable that has no binding; otherwise what the evaluation
    /// met.
    pub fn evaluate(&self, bindings: &[(&str, &Json)], limits: &Limits) -> Result<Outcome, Error> {
        self.evaluate_spending(bindings, &mut limits.clone())
    }

    /// As [`Program::evaluate`], and takes from `limits` what was used, so that several expressions share them.
    pub fn evaluate_spending(
        &self,
        bindings: &[(&str, &Json)],
        limits: &mut Limits,
    ) -> Result<Outcome, Error> {
        let (value, cost) = self.run(bindings, limits)?;
        let (json, output_bytes) = output::result(&value, limits)?;
        limits.cost = cost;
        limits.output_bytes = output_bytes;
        Ok(json.map_or(Outcome::Absent, Outcome::Value))
    }

    /// Evaluates to a bool; anything else is an [`Error::UnexpectedResult`].
    pub fn evaluate_bool(&self, bindings: &[(&str, &Json)], limits: &Limits) -> Result<bool, Error> {
        match self.run(bindings, limits)?.0 {
            Val::Bool(value) => Ok(value),
            other => Err(Error::UnexpectedResult { expected: "a bool", actual: other.type_name() }),
        }
    }

    /// Evaluates to a string; anything else is an [`Error::UnexpectedResult`].
    pub fn evaluate_string(&self, bindings: &[(&str, &Json)], limits: &Limits) -> Result<String, Error> {
        match self.run(bindings, limits)?.0 {
            Val::Text(text) => Ok(text.to_string()),
            other => Err(Error::UnexpectedResult { expected: "a string", actual: other.type_name() }),
        }
    }

    fn run<'a>(&self, bindings: &[(&str, &'a Json)], limits: &Limits) -> Result<(Val<'a>, u64), Error> {
        let names = &self.compiled.variables;
        let value = |name: &String| bindings.iter().find(|(bound, _)| bound == name).map(|(_, json)| *json);
        let mut evaluation = Evaluation {
            names,
            inputs: names.iter().map(|name| value(name).map(Val::from_json)).collect(),
            locals: Vec::new(),
            budget: Budget::new(limits.cost),
        };
        let value = evaluation.node(&self.compiled.node)?;
        Ok((value, evaluation.budget.left()))
    }

    /// The source text.
    pub fn source(&self) -> &str {
        &self.compiled.source
    }

    /// Declared variables that the expression mentions.
    pub fn variables(&self) -> BTreeSet<&str> {
        self.compiled.used.keys().map(|index| self.compiled.variables[*index].as_str()).collect()
    }

    /// The constant keys selected directly on `variable`: `a` and `b` for `v.a + v["b"].c`.
    pub fn members(&self, variable: &str) -> BTreeSet<&str> {
        let index = self.compiled.variables.iter().position(|name| name == variable);
        let members = index.and_then(|index| self.compiled.used.get(&index));
        members.into_iter().flatten().map(String::as_str).collect()
    }
}
