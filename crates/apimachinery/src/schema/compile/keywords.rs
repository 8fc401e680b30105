//! The keywords of one schema object that do not lead to other schemas.

use regex::RegexBuilder;
use serde_json::{Map, Number, Value};

use super::At;
use crate::schema::SchemaError;
use crate::schema::model::{Checks, ListType, NodeData, PatchStrategy, Types};

/// Largest compiled pattern.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// The formats that mean something; any other is as if it were not there.
const FORMATS: [&str; 22] = [
    "byte",
    "cidr",
    "date",
    "date-time",
    "datetime",
    "double",
    "duration",
    "email",
    "float",
    "hostname",
    "int32",
    "int64",
    "ipv4",
    "ipv6",
    "k8s-long-name",
    "k8s-short-name",
    "mac",
    "uri",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
];

pub(super) fn read(keywords: &Map<String, Value>, at: &At) -> Result<NodeData, SchemaError> {
    let flag = |name: &str| match keywords.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(_) => Err(at.error(name, "must be a boolean")),
    };
    let mut node = NodeData {
        nullable: flag("nullable")?,
        int_or_string: flag("x-kubernetes-int-or-string")?,
        preserve_unknown: flag("x-kubernetes-preserve-unknown-fields")?,
        embedded_resource: flag("x-kubernetes-embedded-resource")?,
        list_type: list_type(keywords, at)?,
        atomic_map: text(keywords, "x-kubernetes-map-type", at)? == Some("atomic"),
        patch_key: text(keywords, "x-kubernetes-patch-merge-key", at)?.map(str::to_owned),
        patch_strategy: patch_strategy(
            text(keywords, "x-kubernetes-patch-strategy", at)?.unwrap_or_default(),
        ),
        default: keywords.get("default").filter(|value| !value.is_null()).cloned(),
        ..NodeData::default()
    };
    types(&mut node, keywords, at)?;
    node.checks = checks(keywords, at)?;
    Ok(node)
}

fn text<'k>(keywords: &'k Map<String, Value>, name: &str, at: &At) -> Result<Option<&'k str>, SchemaError> {
    match keywords.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(at.error(name, "must be a string")),
    }
}

fn types(node: &mut NodeData, keywords: &Map<String, Value>, at: &At) -> Result<(), SchemaError> {
    let names: Vec<&str> = match keywords.get("type") {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::String(name)) if name.is_empty() => return Ok(()),
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        Some(_) => return Err(at.error("type", "must be a string")),
    };
    for name in names {
        match Types::named(name) {
            Some(kind) => node.types.add(kind),
            None if name == "null" => node.nullable = true,
            None => {
                let names =
                    r#"supported values: "array", "boolean", "integer", "number", "object", "string""#;
                return Err(at.error("type", format!("Unsupported value: {name:?}: {names}")));
            }
        }
    }
    Ok(())
}

fn list_type(keywords: &Map<String, Value>, at: &At) -> Result<ListType, SchemaError> {
    let name = "x-kubernetes-list-type";
    match text(keywords, name, at)? {
        None | Some("atomic") => Ok(ListType::Atomic),
        Some("set") => Ok(ListType::Set),
        Some("map") => {
            let keys: Vec<String> = keywords
                .get("x-kubernetes-list-map-keys")
                .and_then(Value::as_array)
                .map(|keys| keys.iter().filter_map(Value::as_str).map(str::to_owned).collect())
                .unwrap_or_default();
            if keys.is_empty() {
                let problem = "Required value: must not be empty if x-kubernetes-list-type is map";
                return Err(at.error("x-kubernetes-list-map-keys", problem));
            }
            Ok(ListType::Map(keys))
        }
        Some(other) => {
            let supported = r#"supported values: "atomic", "map", "set""#;
            Err(at.error(name, format!("Unsupported value: {other:?}: {supported}")))
        }
    }
}

fn patch_strategy(text: &str) -> PatchStrategy {
    let has = |name: &str| text.split(',').any(|part| part == name);
    PatchStrategy { merge: has("merge"), retain_keys: has("retainKeys") }
}

fn checks(keywords: &Map<String, Value>, at: &At) -> Result<Option<Box<Checks>>, SchemaError> {
    let count = |name: &str| match keywords.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64() {
            Some(count) => Ok(Some(count)),
            None => Err(at.error(name, "must be a non-negative integer")),
        },
    };
    let mut checks = Checks {
        required: strings(keywords, "required", at)?,
        one_of_values: values(keywords, at)?,
        pattern: text(keywords, "pattern", at)?.map(|pattern| compile_pattern(pattern, at)).transpose()?,
        format: text(keywords, "format", at)?.filter(|format| FORMATS.contains(format)).map(str::to_owned),
        min_length: count("minLength")?,
        max_length: count("maxLength")?,
        min_items: count("minItems")?,
        max_items: count("maxItems")?,
        unique_items: keywords.get("uniqueItems") == Some(&Value::Bool(true)),
        min_properties: count("minProperties")?,
        max_properties: count("maxProperties")?,
        minimum: number(keywords, "minimum", at)?,
        maximum: number(keywords, "maximum", at)?,
        multiple_of: number(keywords, "multipleOf", at)?,
        ..Checks::default()
    };
    (checks.minimum, checks.exclusive_minimum) = exclusive(keywords, "exclusiveMinimum", checks.minimum);
    (checks.maximum, checks.exclusive_maximum) = exclusive(keywords, "exclusiveMaximum", checks.maximum);
    Ok((!checks.is_empty()).then(|| Box::new(checks)))
}

fn strings(keywords: &Map<String, Value>, name: &str, at: &At) -> Result<Vec<String>, SchemaError> {
    match keywords.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(list)) => list
            .iter()
            .map(|item| {
                item.as_str().map(str::to_owned).ok_or_else(|| at.error(name, "must be a list of strings"))
            })
            .collect(),
        Some(_) => Err(at.error(name, "must be a list of strings")),
    }
}

fn values(keywords: &Map<String, Value>, at: &At) -> Result<Option<Vec<Value>>, SchemaError> {
    if let Some(only) = keywords.get("const") {
        return Ok(Some(vec![only.clone()]));
    }
    match keywords.get("enum") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(values)) => Ok(Some(values.clone())),
        Some(_) => Err(at.error("enum", "must be a list")),
    }
}

fn number(keywords: &Map<String, Value>, name: &str, at: &At) -> Result<Option<Number>, SchemaError> {
    match keywords.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => Ok(Some(number.clone())),
        Some(_) => Err(at.error(name, "must be a number")),
    }
}

/// OpenAPI 3.0 has a flag beside the bound, JSON Schema 2020-12 a bound of its own.
fn exclusive(keywords: &Map<String, Value>, name: &str, bound: Option<Number>) -> (Option<Number>, bool) {
    match keywords.get(name) {
        Some(Value::Bool(is)) => (bound, *is),
        Some(Value::Number(own)) => (Some(own.clone()), true),
        _ => (bound, false),
    }
}

fn compile_pattern(pattern: &str, at: &At) -> Result<regex::Regex, SchemaError> {
    RegexBuilder::new(pattern).size_limit(MAX_PATTERN_BYTES).build().map_err(|error| {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default().trim().to_owned();
        at.error(
            "pattern",
            format!("Invalid value: {pattern:?}: must be a valid regular expression, but isn't: {reason}"),
        )
    })
}

impl Checks {
    fn is_empty(&self) -> bool {
        let Self {
            required,
            one_of_values,
            pattern,
            format,
            min_length,
            max_length,
            min_items,
            max_items,
            unique_items,
            min_properties,
            max_properties,
            minimum,
            maximum,
            exclusive_minimum: _,
            exclusive_maximum: _,
            multiple_of,
            all_of,
            any_of,
            one_of,
            not,
        } = self;
        let counts = [min_length, max_length, min_items, max_items, min_properties, max_properties];
        required.is_empty()
            && one_of_values.is_none()
            && pattern.is_none()
            && format.is_none()
            && counts.iter().all(|count| count.is_none())
            && !unique_items
            && [minimum, maximum, multiple_of].iter().all(|bound| bound.is_none())
            && [all_of, any_of, one_of].iter().all(|schemas| schemas.is_empty())
            && not.is_none()
    }
}
