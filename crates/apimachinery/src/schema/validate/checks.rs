//! The value constraints of one node.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

use super::formats;
use super::{Walk, is_integer};
use crate::field::{FieldError, Location};
use crate::schema::Node;
use crate::schema::model::{Checks, Types};

impl Walk {
    pub(super) fn checks(&mut self, checks: &Checks, value: &Value, at: &Location<'_>) {
        self.n_matches += 2;
        match value {
            Value::String(text) => self.string(checks, text, at),
            Value::Number(number) => self.number(checks, number, at),
            Value::Array(items) => self.array(checks, items, at),
            Value::Object(members) => self.object(checks, members, at),
            Value::Null | Value::Bool(_) => {}
        }
        self.enumeration(checks, value, at);
    }

    pub(super) fn enumeration(&mut self, checks: &Checks, value: &Value, at: &Location<'_>) {
        if let Some(allowed) = &checks.one_of_values
            && !allowed.iter().any(|one| same(one, value))
        {
            let names: Vec<String> = allowed.iter().map(plain).collect();
            let names = names.iter().map(String::as_str);
            self.push(FieldError::not_supported(at.to_string(), value.clone(), names));
        }
    }

    /// Length and pattern: the first that is wrong. The format apart.
    fn string(&mut self, checks: &Checks, text: &str, at: &Location<'_>) {
        let Checks { min_length, max_length, pattern, format, .. } = checks;
        let length =
            if min_length.is_some() || max_length.is_some() { text.chars().count() as u64 } else { 0 };
        if let Some(max) = max_length.filter(|max| length > *max) {
            self.push(FieldError::too_long(at.to_string(), max));
        } else if let Some(min) = min_length.filter(|min| length < *min) {
            self.invalid(at, text, format!("{at} in body should be at least {min} chars long"));
        } else if let Some(pattern) = pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
            self.invalid(at, text, format!("{at} in body should match '{}'", pattern.as_str()));
        }
        if let Some(format) = format.as_ref().filter(|format| !formats::is_valid(format, text)) {
            let shown = crate::field::quote(text);
            self.push(FieldError::type_invalid(
                at.to_string(),
                text,
                format!("{at} in body must be of type {format}: {shown}"),
            ));
        }
    }

    fn number(&mut self, checks: &Checks, number: &Number, at: &Location<'_>) {
        self.n_matches += 1;
        if let Some(factor) = checks.multiple_of.as_ref().filter(|factor| !is_multiple(number, factor)) {
            self.invalid(
                at,
                number.clone(),
                format!("{at} in body should be a multiple of {}", shown(factor)),
            );
        }
        let beyond = |bound: &Number, wrong: Ordering, is_exclusive: bool| {
            let order = order(number, bound);
            order == wrong || (order == Ordering::Equal && is_exclusive)
        };
        if let Some(min) = &checks.minimum
            && beyond(min, Ordering::Less, checks.exclusive_minimum)
        {
            let words = if checks.exclusive_minimum { "greater than" } else { "greater than or equal to" };
            self.invalid(at, number.clone(), format!("{at} in body should be {words} {}", shown(min)));
        }
        if let Some(max) = &checks.maximum
            && beyond(max, Ordering::Greater, checks.exclusive_maximum)
        {
            let words = if checks.exclusive_maximum { "less than" } else { "less than or equal to" };
            self.invalid(at, number.clone(), format!("{at} in body should be {words} {}", shown(max)));
        }
    }

    fn array(&mut self, checks: &Checks, items: &[Value], at: &Location<'_>) {
        self.n_matches += 1;
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

/// A number as Go prints it: a float without a fraction looks like an integer.
fn shown(number: &Number) -> String {
    match number.as_f64().filter(|_| number.is_f64()) {
        Some(float) => float.to_string(),
        None => number.to_string(),
    }
}

/// The type and format an integer does not fit into.
pub(super) fn out_of_range(node: Node<'_>, number: &Number) -> Option<&'static str> {
    if node.data.types != Types::INTEGER || !node.is_custom() {
        return None;
    }
    let value = if is_integer(number) { integer(number) } else { None };
    match node.data.checks.as_ref().and_then(|checks| checks.format.as_deref()) {
        Some("int32") => {
            value.is_none_or(|value| i32::try_from(value).is_err()).then_some("integer with format int32")
        }
        Some("int64") => {
            value.is_none_or(|value| i64::try_from(value).is_err()).then_some("integer with format int64")
        }
        _ => value.is_none_or(|value| i64::try_from(value).is_err()).then_some("integer (default format)"),
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
    let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    #[expect(clippy::cast_possible_truncation, reason = "an i128 holds every float below the bound")]
    whole.or_else(|| {
        let float = number.as_f64()?;
        (float.fract() == 0.0 && float.abs() < 1e30).then_some(float as i128)
    })
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
