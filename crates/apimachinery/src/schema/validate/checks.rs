//! The value constraints of one node.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

use super::formats;
use super::{Walk, is_integer};
use crate::field::{FieldError, Location};
use crate::schema::Node;
use crate::schema::model::{Checks, NodeId};

impl Walk {
    pub(super) fn checks(&mut self, node: Node<'_>, checks: &Checks, value: &Value, at: &Location<'_>) {
        self.logic(node, checks, value, at);
        match value {
            Value::String(text) => self.string(checks, text, at),
            Value::Number(number) => self.number(checks, number, at),
            Value::Array(items) => self.array(checks, items, at),
            Value::Object(members) => self.object(checks, members, at),
            Value::Null | Value::Bool(_) => {}
        }
        if let Some(allowed) = &checks.one_of_values
            && !allowed.iter().any(|one| same(one, value))
        {
            let names: Vec<String> = allowed.iter().map(plain).collect();
            let names = names.iter().map(String::as_str);
            self.push(FieldError::not_supported(at.to_string(), value.clone(), names));
        }
    }

    fn string(&mut self, checks: &Checks, text: &str, at: &Location<'_>) {
        let Checks { min_length, max_length, pattern, format, .. } = checks;
        if min_length.is_some() || max_length.is_some() {
            let length = text.chars().count() as u64;
            if let Some(max) = max_length.filter(|max| length > *max) {
                self.push(FieldError::too_long(at.to_string(), max));
            }
            if let Some(min) = min_length.filter(|min| length < *min) {
                self.invalid(at, text, format!("{at} in body should be at least {min} chars long"));
            }
        }
        if let Some(pattern) = pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
            self.invalid(at, text, format!("{at} in body should match '{}'", pattern.as_str()));
        }
        if let Some(format) = format.as_ref().filter(|format| !formats::is_valid(format, text)) {
            let shown = crate::field::quote(text);
            self.invalid(at, text, format!("{at} in body must be of type {format}: {shown}"));
        }
    }

    fn number(&mut self, checks: &Checks, number: &Number, at: &Location<'_>) {
        let compare = |bound: &Number| order(number, bound);
        if let Some(max) = &checks.maximum {
            match compare(max) {
                Ordering::Equal if checks.exclusive_maximum => {
                    self.invalid(at, number.clone(), format!("{at} in body should be less than {max}"));
                }
                Ordering::Greater => {
                    let words = if checks.exclusive_maximum { "less than" } else { "less than or equal to" };
                    self.invalid(at, number.clone(), format!("{at} in body should be {words} {max}"));
                }
                Ordering::Less | Ordering::Equal => {}
            }
        }
        if let Some(min) = &checks.minimum {
            match compare(min) {
                Ordering::Equal if checks.exclusive_minimum => {
                    self.invalid(at, number.clone(), format!("{at} in body should be greater than {min}"));
                }
                Ordering::Less => {
                    let words =
                        if checks.exclusive_minimum { "greater than" } else { "greater than or equal to" };
                    self.invalid(at, number.clone(), format!("{at} in body should be {words} {min}"));
                }
                Ordering::Greater | Ordering::Equal => {}
            }
        }
        if let Some(factor) = checks.multiple_of.as_ref().filter(|factor| !is_multiple(number, factor)) {
            self.invalid(at, number.clone(), format!("{at} in body should be a multiple of {factor}"));
        }
    }

    fn array(&mut self, checks: &Checks, items: &[Value], at: &Location<'_>) {
        let length = items.len() as u64;
        if let Some(max) = checks.max_items.filter(|max| length > *max) {
            self.push(FieldError::too_many(at.to_string(), length, max));
        }
        if let Some(min) = checks.min_items.filter(|min| length < *min) {
            self.invalid(at, length, format!("{at} in body should have at least {min} items"));
        }
        if checks.unique_items {
            let mut seen = std::collections::HashSet::with_capacity(items.len());
            if !items.iter().all(|item| seen.insert(item.to_string())) {
                self.invalid(at, "", format!("{at} in body shouldn't contain duplicates"));
            }
        }
    }

    fn object(&mut self, checks: &Checks, members: &Map<String, Value>, at: &Location<'_>) {
        for name in &checks.required {
            if !members.contains_key(name) {
                self.push(FieldError::required(Location::Field(at, name).to_string(), ""));
            }
        }
        let length = members.len() as u64;
        if let Some(max) = checks.max_properties.filter(|max| length > *max) {
            self.push(FieldError::too_many(at.to_string(), length, max));
        }
        if let Some(min) = checks.min_properties.filter(|min| length < *min) {
            self.invalid(at, length, format!("{at} in body should have at least {min} properties"));
        }
    }

    /// `allOf`, `anyOf`, `oneOf`, `not`. Their own errors carry no field in Kubernetes, which prints `<nil>`.
    fn logic(&mut self, node: Node<'_>, checks: &Checks, value: &Value, at: &Location<'_>) {
        for id in &checks.all_of {
            let failures = self.attempt(node, *id, value, at);
            if !failures.is_empty() {
                self.extend(failures);
                self.composite(format!("{:?} must validate all the schemas (allOf)", at.to_string()));
            }
        }
        if !checks.any_of.is_empty() {
            let attempts: Vec<_> =
                checks.any_of.iter().map(|id| self.attempt(node, *id, value, at)).collect();
            if attempts.iter().all(|failures| !failures.is_empty()) {
                self.composite(format!("{:?} must validate at least one schema (anyOf)", at.to_string()));
                self.closest(attempts);
            }
        }
        if !checks.one_of.is_empty() {
            let attempts: Vec<_> =
                checks.one_of.iter().map(|id| self.attempt(node, *id, value, at)).collect();
            let n_valid = attempts.iter().filter(|failures| failures.is_empty()).count();
            let found = match n_valid {
                1 => return self.negation(node, checks, value, at),
                0 => "Found none valid".to_owned(),
                several => format!("Found {several} valid alternatives"),
            };
            let place = at.to_string();
            self.composite(format!("{place:?} must validate one and only one schema (oneOf). {found}"));
            if n_valid == 0 {
                self.closest(attempts);
            }
        }
        self.negation(node, checks, value, at);
    }

    fn negation(&mut self, node: Node<'_>, checks: &Checks, value: &Value, at: &Location<'_>) {
        if let Some(id) = checks.not
            && self.attempt(node, id, value, at).is_empty()
        {
            self.composite(format!("{:?} must not validate the schema (not)", at.to_string()));
        }
    }

    fn attempt(&self, node: Node<'_>, id: NodeId, value: &Value, at: &Location<'_>) -> Vec<FieldError> {
        if self.is_full() {
            return Vec::new();
        }
        let mut inner = Walk { errors: Vec::new(), ratchet: false };
        inner.value(node.at(id), value, None, at);
        inner.errors
    }

    /// Adds the errors of the alternative that came closest.
    fn closest(&mut self, attempts: Vec<Vec<FieldError>>) {
        if let Some(best) = attempts.into_iter().min_by_key(Vec::len) {
            self.extend(best);
        }
    }

    fn extend(&mut self, errors: Vec<FieldError>) {
        for error in errors {
            self.push(error);
        }
    }

    fn composite(&mut self, detail: String) {
        self.push(FieldError::invalid("<nil>", "", detail));
    }

    fn invalid(&mut self, at: &Location<'_>, value: impl Into<Value>, detail: String) {
        self.push(FieldError::invalid(at.to_string(), value, detail));
    }
}

/// Equality in which `1` and `1.0` are one number.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => order(a, b) == Ordering::Equal,
        _ => a == b,
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn order(a: &Number, b: &Number) -> Ordering {
    if let (Some(a), Some(b)) = (integer(a), integer(b)) {
        return a.cmp(&b);
    }
    let (a, b) = (a.as_f64().unwrap_or_default(), b.as_f64().unwrap_or_default());
    a.partial_cmp(&b).unwrap_or(Ordering::Equal)
}

fn integer(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

fn is_multiple(number: &Number, factor: &Number) -> bool {
    match (integer(number), integer(factor)) {
        (_, Some(0)) => true,
        (Some(number), Some(factor)) => number % factor == 0,
        _ => match (number.as_f64(), factor.as_f64()) {
            (Some(number), Some(factor)) if factor != 0.0 => {
                Number::from_f64(number / factor).as_ref().is_some_and(is_integer)
            }
            _ => true,
        },
    }
}
