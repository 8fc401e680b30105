//! The constraints after the `|`.

use regex::Regex;
use serde_json::Value as Json;

use super::unquote::unquote;
use super::{Field, Kind};

/// Splits `default=1 enum=a,b description="…"` into names and values. Blanks separate, except in quotes and brackets.
pub(super) fn split(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut markers = Vec::new();
    for token in tokens(text) {
        if token == "|" {
            continue;
        }
        match token.split_once('=') {
            Some((name, _)) if name.starts_with("oc:") => {}
            Some((name, value)) => markers.push((name.to_owned(), value.to_owned())),
            None if token.starts_with("oc:") => {}
            None if token == "required" => {
                return Err("there is no \"required\": what has no default is required".to_owned());
            }
            None => return Err(format!("{token:?} has no value: write {token}=…")),
        }
    }
    Ok(markers)
}

fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut token = String::new();
    let mut quote = None;
    let mut depth = 0_usize;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(_), '\\') => {
                token.push(character);
                token.extend(characters.next());
                continue;
            }
            (Some(open), _) if open == character => quote = None,
            (None, '\'' | '"') => quote = Some(character),
            (None, '{' | '[') => depth += 1,
            (None, '}' | ']') => depth = depth.saturating_sub(1),
            (None, blank) if blank.is_whitespace() && depth == 0 => {
                if !token.is_empty() {
                    tokens.push(std::mem::take(&mut token));
                }
                continue;
            }
            _ => {}
        }
        token.push(character);
    }
    if !token.is_empty() {
        tokens.push(token);
    }
    tokens
}

/// Applies any marker but `default`.
pub(super) fn apply(field: &mut Field, name: &str, value: &str) -> Result<(), String> {
    let rules = &mut field.rules;
    match name {
        "enum" => {
            rules.one_of =
                items(value).iter().map(|item| literal(&field.kind, item)).collect::<Result<_, _>>()?;
        }
        "minimum" => rules.minimum = Some(number(name, value)?),
        "maximum" => rules.maximum = Some(number(name, value)?),
        "multipleOf" => rules.multiple_of = Some(number(name, value)?),
        "exclusiveMinimum" => rules.exclusive_minimum = boolean(value)?,
        "exclusiveMaximum" => rules.exclusive_maximum = boolean(value)?,
        "minLength" => rules.min_length = Some(count(name, value)?),
        "maxLength" => rules.max_length = Some(count(name, value)?),
        "minItems" => rules.min_items = Some(count(name, value)?),
        "maxItems" => rules.max_items = Some(count(name, value)?),
        "minProperties" => rules.min_properties = Some(count(name, value)?),
        "maxProperties" => rules.max_properties = Some(count(name, value)?),
        "pattern" => {
            let pattern = unquote(value);
            let compiled = Regex::new(&pattern);
            rules.pattern = Some(compiled.map_err(|error| format!("pattern {pattern:?}: {error}"))?);
        }
        "title" => rules.title = Some(unquote(value)),
        "description" => rules.description = Some(unquote(value)),
        "format" => rules.format = Some(unquote(value)),
        "example" => rules.example = Some(example(value)),
        _ => return Err(format!("unknown constraint {name:?}")),
    }
    Ok(())
}

/// A value written as text, read as the field's type.
pub(super) fn literal(kind: &Kind, text: &str) -> Result<Json, String> {
    match kind {
        Kind::String => Ok(Json::String(unquote(text))),
        Kind::Integer => {
            let text = unquote(text);
            let value = text.parse::<i64>().map_err(|_| format!("{text:?} is not an integer"))?;
            Ok(Json::from(value))
        }
        Kind::Number => {
            let text = unquote(text);
            if let Ok(value) = text.parse::<i64>() {
                return Ok(Json::from(value));
            }
            let value = text.parse::<f64>().ok().and_then(serde_json::Number::from_f64);
            value.map(Json::Number).ok_or_else(|| format!("{text:?} is not a number"))
        }
        Kind::Boolean => boolean(&unquote(text)).map(Json::Bool),
        Kind::List(_) | Kind::Map(_) | Kind::Object(_) => {
            let text = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')).unwrap_or(text);
            serde_json::from_str(text).map_err(|error| format!("{text:?} is not JSON: {error}"))
        }
    }
}

/// The items of a comma-separated list; commas in double quotes do not separate, empty items do not count.
fn items(text: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let mut quoted = false;
    for character in text.chars() {
        match character {
            ',' if !quoted => items.push(String::new()),
            _ => {
                quoted ^= character == '"';
                if let Some(item) = items.last_mut() {
                    item.push(character);
                }
            }
        }
    }
    let trimmed = items.iter().map(|item| item.trim().to_owned());
    trimmed.filter(|item| !item.is_empty()).collect()
}

fn number(name: &str, value: &str) -> Result<f64, String> {
    let number = unquote(value).parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| format!("{name} needs a number, not {value:?}"))
}

fn count(name: &str, value: &str) -> Result<u64, String> {
    unquote(value).parse().map_err(|_| format!("{name} needs a whole number from 0, not {value:?}"))
}

fn boolean(value: &str) -> Result<bool, String> {
    match unquote(value).as_str() {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
        other => Err(format!("{other:?} is neither true nor false")),
    }
}

fn example(value: &str) -> Json {
    let text = unquote(value);
    let parsed = serde_json::from_str::<Json>(&text).ok();
    parsed.filter(|json| !json.is_null() && !json.is_string()).unwrap_or(Json::String(text))
}
