//! Whether parameters are what a schema asks for.

use serde_json::Value as Json;

use super::{Field, Kind, Rules};
use crate::path::DocumentPath;
use crate::text::type_of;

/// More errors than anybody reads at once.
const MAX_ERRORS: usize = 50;

/// What is wrong with a parameter.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct ParameterError {
    /// Which parameter.
    pub path: DocumentPath,
    /// What is wrong with it, and what to do.
    pub message: String,
}

/// Adds to `errors` what is wrong with `value`.
pub(super) fn validate(field: &Field, value: &Json, path: &DocumentPath, errors: &mut Vec<ParameterError>) {
    if errors.len() >= MAX_ERRORS {
        return;
    }
    let mut complain = |message: String| errors.push(ParameterError { path: path.clone(), message });
    if !field.rules.one_of.is_empty() && !field.rules.one_of.iter().any(|allowed| same(allowed, value)) {
        let allowed: Vec<_> = field.rules.one_of.iter().map(Json::to_string).collect();
        complain(format!("must be one of {}, not {value}", allowed.join(", ")));
        return;
    }
    match (&field.kind, value) {
        (Kind::String, Json::String(text)) => string(&field.rules, text, &mut complain),
        (Kind::Integer, Json::Number(number)) if !is_integer(number) => {
            complain(format!("must be an integer, not {number}"));
        }
        (Kind::Integer | Kind::Number, Json::Number(number)) => {
            numeric(&field.rules, number.as_f64().unwrap_or(f64::NAN), &mut complain);
        }
        (Kind::Boolean, Json::Bool(_)) => {}
        (Kind::List(element), Json::Array(items)) => {
            let (min, max) = (field.rules.min_items, field.rules.max_items);
            length("items", items.len(), min, max, &mut complain);
            for (index, item) in items.iter().enumerate() {
                validate(element, item, &path.index(index), errors);
            }
        }
        (Kind::Map(element), Json::Object(entries)) => {
            let (min, max) = (field.rules.min_properties, field.rules.max_properties);
            length("entries", entries.len(), min, max, &mut complain);
            for (key, value) in entries {
                validate(element, value, &path.key(key), errors);
            }
        }
        (Kind::Object(fields), Json::Object(entries)) => object(fields, entries, path, errors),
        (_, Json::Null) => complain(format!("must be {}, not null; leave it out", article(&field.kind))),
        (kind, other) => complain(format!("must be {}, not {}", article(kind), type_of(other))),
    }
}

fn object(
    fields: &std::collections::BTreeMap<String, Field>,
    entries: &serde_json::Map<String, Json>,
    path: &DocumentPath,
    errors: &mut Vec<ParameterError>,
) {
    for (name, field) in fields {
        if let Some(value) = entries.get(name) {
            validate(field, value, &path.key(name), errors);
        } else {
            let message = format!("is required; give it {} value", article(&field.kind));
            errors.push(ParameterError { path: path.key(name), message });
        }
    }
    for name in entries.keys().filter(|name| !fields.contains_key(*name)) {
        let known: Vec<_> = fields.keys().map(String::as_str).collect();
        let known = if known.is_empty() {
            "there are none".to_owned()
        } else {
            format!("known: {}", known.join(", "))
        };
        errors.push(ParameterError { path: path.key(name), message: format!("is not a parameter; {known}") });
    }
    errors.truncate(MAX_ERRORS);
}

fn string(rules: &Rules, text: &str, complain: &mut impl FnMut(String)) {
    length("characters", text.chars().count(), rules.min_length, rules.max_length, complain);
    if let Some(pattern) = rules.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
        complain(format!("{text:?} does not match {:?}", pattern.as_str()));
    }
}

fn numeric(rules: &Rules, value: f64, complain: &mut impl FnMut(String)) {
    match rules.minimum {
        Some(minimum) if rules.exclusive_minimum && value <= minimum => {
            complain(format!("must be greater than {minimum}, not {value}"));
        }
        Some(minimum) if value < minimum => complain(format!("must be at least {minimum}, not {value}")),
        _ => {}
    }
    match rules.maximum {
        Some(maximum) if rules.exclusive_maximum && value >= maximum => {
            complain(format!("must be less than {maximum}, not {value}"));
        }
        Some(maximum) if value > maximum => complain(format!("must be at most {maximum}, not {value}")),
        _ => {}
    }
    if let Some(factor) = rules.multiple_of {
        let quotient = value / factor;
        // Decimal factors such as 0.1 are not exact in binary.
        if factor == 0.0 || (quotient - quotient.round()).abs() > 1e-9 {
            complain(format!("must be a multiple of {factor}, not {value}"));
        }
    }
}

fn length(what: &str, n: usize, min: Option<u64>, max: Option<u64>, complain: &mut impl FnMut(String)) {
    let n = n as u64;
    if let Some(min) = min.filter(|min| n < *min) {
        complain(format!("must have at least {min} {what}, not {n}"));
    }
    if let Some(max) = max.filter(|max| n > *max) {
        complain(format!("must have at most {max} {what}, not {n}"));
    }
}

fn is_integer(number: &serde_json::Number) -> bool {
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|value| value.fract() == 0.0)
}

/// Equality that does not tell `1` from `1.0`.
fn same(left: &Json, right: &Json) -> bool {
    match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => (left - right).abs() < f64::EPSILON,
        _ => left == right,
    }
}

fn article(kind: &Kind) -> &'static str {
    match kind {
        Kind::String => "a string",
        Kind::Integer => "an integer",
        Kind::Number => "a number",
        Kind::Boolean => "a boolean",
        Kind::List(_) => "a list",
        Kind::Map(_) | Kind::Object(_) => "a map",
    }
}
