//! Validation of an object against its schema, with the judgment and the messages of the API server's OpenAPI
//! validator: a value of the wrong type is still held against everything that applies to what it is.

mod checks;
mod formats;
mod invariants;
mod logic;

use serde_json::{Number, Value};

pub(super) use invariants::{OldItems, invariants};

use super::model::Types;
use super::{MAX_REPORTED, Node, Previous};
use crate::field::{FieldError, Location};

pub(super) fn validate(node: Node<'_>, value: &Value, previous: Previous<'_>) -> Vec<FieldError> {
    let mut walk = Walk::new(Ratchet::Off);
    walk.value(node, value, None, &Location::Root);
    let Previous::Object(old) = previous else { return walk.errors };
    if walk.errors.is_empty() {
        return walk.errors;
    }
    // Only now is it worth comparing with the old object: what was invalid before and has not changed is tolerated.
    let mut walk = Walk::new(Ratchet::On);
    walk.value(node, value, Some(old), &Location::Root);
    walk.errors
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ratchet {
    On,
    Off,
}

struct Walk {
    errors: Vec<FieldError>,
    ratchet: Ratchet,
    /// How many judgments went well; upstream shows the errors of the alternative with the most.
    n_matches: u32,
}

impl Walk {
    fn new(ratchet: Ratchet) -> Self {
        Self { errors: Vec::new(), ratchet, n_matches: 0 }
    }

    fn is_full(&self) -> bool {
        self.errors.len() >= MAX_REPORTED
    }

    fn push(&mut self, error: FieldError) {
        if !self.is_full() {
            self.errors.push(error);
        }
    }

    fn value(&mut self, node: Node<'_>, value: &Value, old: Option<&Value>, at: &Location<'_>) {
        if self.ratchet == Ratchet::On && old == Some(value) {
            return;
        }
        self.changed_value(node, value, old, at);
    }

    fn changed_value(&mut self, node: Node<'_>, value: &Value, old: Option<&Value>, at: &Location<'_>) {
        if self.is_full() {
            return;
        }
        if value.is_null() {
            self.null(node, at);
            return;
        }
        match mismatch(node, value) {
            Some(mismatch) => self.push(mismatch.into_error(at)),
            None if node.says_type() => self.n_matches += 1,
            None => {}
        }
        self.n_matches += u32::from(node.says_type());
        if let Value::Number(number) = value
            && let Some(problem) = checks::out_of_range(node, number)
        {
            self.push(FieldError::invalid(
                "<nil>",
                "",
                format!("Checked value must be of type {problem} in {at}"),
            ));
        }
        if let Some(checks) = &node.data.checks {
            self.logic(node, checks, value, at);
            self.checks(checks, value, at);
        }
        self.n_matches += 2;
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    if let Some(schema) = node.member(name) {
                        let old = old.and_then(|old| old.get(name));
                        self.value(schema, member, old, &Location::Field(at, name));
                    }
                }
            }
            Value::Array(items) => {
                let Some(schema) = node.items() else { return };
                let old_items = OldItems::new(node, old);
                for (index, item) in items.iter().enumerate() {
                    self.value(schema, item, old_items.get(item), &Location::Index(at, index));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// Null is held against nothing but type and enumeration.
    fn null(&mut self, node: Node<'_>, at: &Location<'_>) {
        if node.says_type() && !node.is_explicitly_nullable() {
            let mismatch = Mismatch { expected: expected_types(node), actual: "null" };
            self.push(mismatch.into_error(at));
        } else {
            self.n_matches += u32::from(node.says_type());
        }
        if let Some(checks) = &node.data.checks {
            self.enumeration(checks, &Value::Null, at);
        }
    }
}

/// A value of another type than the schema's.
struct Mismatch {
    expected: String,
    actual: &'static str,
}

impl Mismatch {
    fn into_error(self, at: &Location<'_>) -> FieldError {
        let Self { expected, actual } = self;
        let detail = format!("{at} in body must be of type {expected}: {actual:?}");
        FieldError::type_invalid(at.to_string(), actual, detail)
    }
}

fn expected_types(node: Node<'_>) -> String {
    if node.data.int_or_string { "integer,string".to_owned() } else { node.data.types.names() }
}

fn mismatch(node: Node<'_>, value: &Value) -> Option<Mismatch> {
    let types = if node.data.int_or_string { Types::INTEGER_OR_STRING } else { node.data.types };
    if types.is_any() {
        return None;
    }
    let fits = match value {
        Value::Null => false,
        Value::Bool(_) => types.has(Types::BOOLEAN),
        Value::Number(number) => {
            types.has(Types::NUMBER) || (types.has(Types::INTEGER) && is_integer(number))
        }
        Value::String(_) => types.has(Types::STRING),
        Value::Array(_) => types.has(Types::ARRAY),
        Value::Object(_) => types.has(Types::OBJECT),
    };
    if fits {
        return None;
    }
    let format =
        node.data.checks.as_ref().and_then(|checks| checks.format.as_deref()).filter(|_| node.is_custom());
    match (format, value) {
        // Upstream takes the format for the type here, and lets texts and lists pass.
        (Some(_), Value::String(_) | Value::Array(_)) if !types.has(Types::NUMERIC) => None,
        (Some(format), Value::Bool(_) | Value::Number(_) | Value::Object(_)) => {
            Some(Mismatch { expected: format.to_owned(), actual: number_format(value) })
        }
        _ => Some(Mismatch { expected: expected_types(node), actual: type_name(value) }),
    }
}

fn number_format(value: &Value) -> &'static str {
    match value {
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        _ => "",
    }
}

fn is_integer(number: &Number) -> bool {
    !number.is_f64() || number.as_f64().is_some_and(|float| float.fract() == 0.0)
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests;
