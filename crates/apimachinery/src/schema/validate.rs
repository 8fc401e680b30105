//! Validation of an object against its schema, with the messages of the API server's OpenAPI validator.

mod checks;
mod formats;
mod lists;

pub(super) use lists::correlate;

use serde_json::Value;

use super::model::Types;
use super::{MAX_REPORTED, Node, Previous};
use crate::field::{FieldError, Location};

pub(super) fn validate(node: Node<'_>, value: &Value, previous: Previous<'_>) -> Vec<FieldError> {
    let mut walk = Walk { errors: Vec::new(), ratchet: false };
    walk.value(node, value, None, &Location::Root);
    let Previous::Object(old) = previous else { return walk.errors };
    if walk.errors.is_empty() {
        return walk.errors;
    }
    // Only now is it worth comparing with the old object: what was invalid before and has not changed is tolerated.
    let mut walk = Walk { errors: Vec::new(), ratchet: true };
    walk.value(node, value, Some(old), &Location::Root);
    walk.errors
}

struct Walk {
    errors: Vec<FieldError>,
    ratchet: bool,
}

impl Walk {
    fn is_full(&self) -> bool {
        self.errors.len() >= MAX_REPORTED
    }

    fn push(&mut self, error: FieldError) {
        if !self.is_full() {
            self.errors.push(error);
        }
    }

    fn value(&mut self, node: Node<'_>, value: &Value, old: Option<&Value>, at: &Location<'_>) {
        if self.is_full() || (self.ratchet && old == Some(value)) {
            return;
        }
        if value.is_null() && node.is_nullable() {
            return;
        }
        if let Some(expected) = mismatch(node, value) {
            let actual = type_name(value);
            let detail = format!("{at} in body must be of type {expected}: {actual:?}");
            self.push(FieldError::type_invalid(at.to_string(), actual, detail));
            return;
        }
        if let Some(checks) = &node.data.checks {
            self.checks(node, checks, value, at);
        }
        match value {
            Value::Object(members) => {
                if node.data.embedded_resource {
                    self.embedded(members, at);
                }
                for (name, member) in members {
                    if let Some(schema) = node.member(name) {
                        let old = old.and_then(|old| old.get(name));
                        self.value(schema, member, old, &Location::Field(at, name));
                    }
                }
            }
            Value::Array(items) => {
                if node.is_custom() {
                    self.unique(node, items, at);
                }
                let Some(schema) = node.items() else { return };
                for (index, item) in items.iter().enumerate() {
                    let old = if self.ratchet { correlate(node, item, old) } else { None };
                    self.value(schema, item, old, &Location::Index(at, index));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn embedded(&mut self, members: &serde_json::Map<String, Value>, at: &Location<'_>) {
        for name in ["apiVersion", "kind"] {
            if members.get(name).and_then(Value::as_str).unwrap_or_default().is_empty() {
                self.push(FieldError::required(Location::Field(at, name).to_string(), "must not be empty"));
            }
        }
    }
}

/// The name of the expected type, if the value is of another.
fn mismatch(node: Node<'_>, value: &Value) -> Option<String> {
    let types = node.data.types;
    if node.data.int_or_string {
        let fits = matches!(value, Value::String(_) | Value::Number(_));
        return (!fits).then(|| "integer,string".to_owned());
    }
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
    (!fits).then(|| types.names())
}

fn is_integer(number: &serde_json::Number) -> bool {
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|float| float.fract() == 0.0)
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
