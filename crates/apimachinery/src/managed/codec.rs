//! FieldsV1: the JSON form of a field set.
//!
//! `f:<name>` is a field, `k:<json object>` an item by keys, `v:<json value>` an item of a set, `i:<position>` an
//! item by position; `.` says that the parent itself is a member, and `{}` that nothing else is.

use serde_json::{Map, Value};

use super::element::PathElement;
use super::set::FieldSet;

/// Deeper sets than documents can be were not written by this server.
const MAX_DEPTH: usize = 128;

/// Why a value is not a FieldsV1 document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Not an object where one must stand.
    #[error("a field set must be an object")]
    NotAnObject,
    /// A key that is not a path element.
    #[error("{0:?} is not a path element")]
    Element(String),
    /// Nested deeper than a document can be.
    #[error("nested too deeply")]
    TooDeep,
}

impl FieldSet {
    /// The FieldsV1 form.
    pub fn to_fields_v1(&self) -> Value {
        let mut fields = Map::new();
        for (element, entry) in self.entries() {
            let below = match entry.below.to_fields_v1() {
                Value::Object(mut below) if entry.is_member && !below.is_empty() => {
                    below.insert(".".to_owned(), Value::Object(Map::new()));
                    Value::Object(below)
                }
                below => below,
            };
            fields.insert(encode(element), below);
        }
        Value::Object(fields)
    }

    /// Reads the FieldsV1 form. Elements of unknown kinds are dropped, as Kubernetes does.
    ///
    /// # Errors
    /// Not an object of path elements.
    pub fn from_fields_v1(fields: &Value) -> Result<Self, CodecError> {
        decode_set(fields, 0)
    }
}

fn decode_set(fields: &Value, depth: usize) -> Result<FieldSet, CodecError> {
    if depth > MAX_DEPTH {
        return Err(CodecError::TooDeep);
    }
    let fields = fields.as_object().ok_or(CodecError::NotAnObject)?;
    let mut set = FieldSet::default();
    for (key, below) in fields {
        if key == "." {
            continue;
        }
        let Some(element) = decode(key)? else { continue };
        let below_members = below.as_object().ok_or(CodecError::NotAnObject)?;
        let below_set = decode_set(below, depth + 1)?;
        let is_member = below_members.contains_key(".") || below_set.is_empty();
        set.add(element, is_member, below_set);
    }
    Ok(set)
}

fn encode(element: &PathElement) -> String {
    match element {
        PathElement::Field(name) => format!("f:{name}"),
        PathElement::Key(fields) => {
            let members: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{}:{value}", Value::from(name.as_str())))
                .collect();
            format!("k:{{{}}}", members.join(","))
        }
        PathElement::Value(value) => format!("v:{value}"),
        PathElement::Index(index) => format!("i:{index}"),
    }
}

fn decode(text: &str) -> Result<Option<PathElement>, CodecError> {
    let malformed = || CodecError::Element(text.to_owned());
    let (kind, content) = text.split_once(':').filter(|(kind, _)| kind.len() == 1).ok_or_else(malformed)?;
    let json = || serde_json::from_str::<Value>(content).map_err(|_| malformed());
    Ok(Some(match kind {
        "f" => PathElement::Field(content.to_owned()),
        "v" => PathElement::Value(json()?),
        "i" => PathElement::Index(content.parse().map_err(|_| malformed())?),
        "k" => match json()? {
            Value::Object(members) => {
                let mut fields: Vec<(String, Value)> = members.into_iter().collect();
                fields.sort_by(|(a, _), (b, _)| a.cmp(b));
                PathElement::Key(fields)
            }
            _ => return Err(malformed()),
        },
        _ => return Ok(None),
    }))
}
