//! `-p repository.url=…`: values from the command line as a run's parameters.
//!
//! A value is a string unless the Workflow's schema says otherwise: a commit made of digits stays text.

use buildplane_api::schema::Object;
use serde_json::Value;

use crate::exit::ExitStatus;
use crate::failure::{Failure, Result};

/// `a.b=value`, split at the first `=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// The path's names; `\.` in the argument is a dot in a name.
    path: Vec<String>,
    value: String,
}

impl Assignment {
    pub(crate) fn new(path: &str, value: impl Into<String>) -> Result<Self, String> {
        Ok(Self { path: split_path(path)?, value: value.into() })
    }

    /// For clap.
    pub(crate) fn parse(argument: &str) -> Result<Self, String> {
        let (path, value) = argument.split_once('=').ok_or("expected NAME=VALUE")?;
        Self::new(path, value)
    }
}

fn split_path(path: &str) -> Result<Vec<String>, String> {
    let mut names = vec![String::new()];
    let mut characters = path.chars();
    while let Some(character) = characters.next() {
        let last = names.len() - 1;
        match character {
            '\\' => names[last].extend(characters.next()),
            '.' => names.push(String::new()),
            other => names[last].push(other),
        }
    }
    if names.iter().any(String::is_empty) {
        return Err(format!("{path:?} is not a path of names separated by dots"));
    }
    Ok(names)
}

/// Puts assignments into parameters, each converted to the type that `schema` (OpenAPI, of all parameters) gives it.
pub(crate) fn assign(
    parameters: &mut Object,
    assignments: &[Assignment],
    schema: Option<&Value>,
) -> Result<()> {
    for Assignment { path, value } in assignments {
        let name = path.join(".");
        let field = match schema {
            Some(schema) => find(schema, path)?,
            None => None,
        };
        let value = convert(&name, value, field)?;
        insert(parameters, path, value).map_err(|part| {
            Failure::new(format!("parameter {name}: {part} already has a value that is not an object"))
                .exit(ExitStatus::Usage)
        })?;
    }
    Ok(())
}

fn insert(object: &mut Object, path: &[String], value: Value) -> Result<(), String> {
    match path {
        [] => {}
        [name] => {
            object.insert(name.clone(), value);
        }
        [name, rest @ ..] => {
            let inner = object.entry(name.clone()).or_insert_with(|| Value::Object(Object::new()));
            insert(inner.as_object_mut().ok_or_else(|| name.clone())?, rest, value)?;
        }
    }
    Ok(())
}

/// The schema at a path; `None` where the schema says nothing, an error where it has no such field.
fn find<'a>(schema: &'a Value, path: &[String]) -> Result<Option<&'a Value>> {
    let mut at = schema;
    for (depth, name) in path.iter().enumerate() {
        let properties = at.get("properties").and_then(Value::as_object);
        let additional = at.get("additionalProperties").filter(|schema| schema.is_object());
        let next = properties.and_then(|properties| properties.get(name)).or(additional);
        let Some(next) = next else {
            let Some(properties) = properties.filter(|properties| !properties.is_empty()) else {
                return Ok(None);
            };
            let prefix = path[..depth].join(".");
            let full =
                |name: &String| if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            let known: Vec<String> = properties.keys().map(full).collect();
            return Err(Failure::new(format!("the workflow has no parameter {}", path.join(".")))
                .hint(format!("there is {}", known.join(", ")))
                .exit(ExitStatus::Usage));
        };
        at = next;
    }
    Ok(Some(at))
}

fn convert(name: &str, text: &str, field: Option<&Value>) -> Result<Value> {
    let type_ = field.and_then(|field| field.get("type")).and_then(Value::as_str).unwrap_or("string");
    let refuse = |wanted: &str| {
        Failure::new(format!("parameter {name} is {wanted}, and {text:?} is none")).exit(ExitStatus::Usage)
    };
    let json = || serde_json::from_str::<Value>(text).ok();
    match type_ {
        "integer" => text.parse::<i64>().map(Value::from).map_err(|_| refuse("an integer")),
        "number" => json().filter(Value::is_number).ok_or_else(|| refuse("a number")),
        "boolean" => match text {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err(refuse("true or false")),
        },
        "array" => json().filter(Value::is_array).ok_or_else(|| refuse("a JSON list")),
        "object" => json().filter(Value::is_object).ok_or_else(|| refuse("a JSON object")),
        _ => Ok(Value::String(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Value {
        serde_json::json!({"type": "object", "properties": {
            "repository": {"type": "object", "properties": {
                "url": {"type": "string"},
                "revision": {"type": "object", "properties": {"commit": {"type": "string"}}},
            }},
            "replicas": {"type": "integer"},
            "ratio": {"type": "number"},
            "debug": {"type": "boolean"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        }})
    }

    fn check(arguments: &[&str], schema: Option<&Value>) -> Result<String, String> {
        let assignments: Vec<_> =
            arguments.iter().map(|argument| Assignment::parse(argument)).collect::<Result<_, _>>()?;
        let mut parameters = Object::new();
        assign(&mut parameters, &assignments, schema).map_err(|failure| failure.to_string())?;
        Ok(Value::Object(parameters).to_string())
    }

    #[test]
    fn values_are_strings_unless_the_schema_says_otherwise() {
        let schema = schema();
        for (arguments, expected) in [
            (&["repository.revision.commit=1e10"][..], r#"{"repository":{"revision":{"commit":"1e10"}}}"#),
            (&["repository.url=https://x/?a=b"], r#"{"repository":{"url":"https://x/?a=b"}}"#),
            (&["replicas=3", "ratio=1.5", "debug=true"], r#"{"debug":true,"ratio":1.5,"replicas":3}"#),
            (&[r#"tags=["a"]"#, r"labels.a\.b/c=1"], r#"{"labels":{"a.b/c":"1"},"tags":["a"]}"#),
            (&["repository.url="], r#"{"repository":{"url":""}}"#),
            (&["replicas=1", "replicas=2"], r#"{"replicas":2}"#),
        ] {
            assert_eq!(check(arguments, Some(&schema)).as_deref(), Ok(expected), "{arguments:?}");
        }
        assert_eq!(check(&["x.y=3", "z=true"], None).as_deref(), Ok(r#"{"x":{"y":"3"},"z":"true"}"#));
    }

    #[test]
    fn wrong_values_and_names_are_refused() {
        let schema = schema();
        let mut texts = String::new();
        for arguments in [
            &["replicas=many"][..],
            &["ratio=1,5"],
            &["debug=yes"],
            &["tags=a,b"],
            &["repository.ulr=x"],
            &["replica=1"],
            &["novalue"],
            &["a..b=1"],
            &["replicas=1", "replicas.x=1"],
        ] {
            texts.push_str(&check(arguments, Some(&schema)).expect_err("refused"));
            texts.push('\n');
        }
        insta::assert_snapshot!(texts);
    }
}
