//! Parameter values, which a manifest may write as text, number or boolean.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

/// A value that is always text to a step, however the manifest spells it: `"8080"`, `8080` and `true` are all accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct AnyString(pub String);

impl AnyString {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AnyString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for AnyString {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for AnyString {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl<'de> Deserialize<'de> for AnyString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self(text)),
            Value::Bool(flag) => Ok(Self(flag.to_string())),
            // Whole floats lose their ".0" as they do in Argo.
            Value::Number(number) => Ok(Self(match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(signed), _, _) => signed.to_string(),
                (_, Some(unsigned), _) => unsigned.to_string(),
                (_, _, Some(float)) => float.to_string(),
                (None, None, None) => number.to_string(),
            })),
            other @ (Value::Null | Value::Array(_) | Value::Object(_)) => Err(de::Error::custom(format!(
                "expected a string, a number or a boolean, found {}",
                kind_of(&other)
            ))),
        }
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
