//! JSON text into values, with limits, and with the duplicate keys that strict field validation must report.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How much a document may ask for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Nesting of objects and lists.
    pub depth: usize,
    /// Objects, lists and scalars together.
    pub values: usize,
}

impl Default for Limits {
    /// Far above every real object; Kubernetes itself stops at 10 000 levels and 3 MiB of text.
    fn default() -> Self {
        Self { depth: 100, values: 500_000 }
    }
}

/// A document and what was odd about its text.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The document; of two equal keys the last one counts, as in Go.
    pub value: Value,
    /// Paths of keys that occur twice in one object (`spec.a`), at most 100: `duplicate field "spec.a"`.
    pub duplicates: Vec<String>,
}

/// Why a text is not an acceptable document.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON, or beyond a limit.
    #[error("invalid JSON document")]
    Syntax(#[source] serde_json::Error),
}

/// Reads one JSON document.
///
/// # Errors
/// The text is not one JSON document, or it exceeds `limits`.
pub fn from_slice(text: &[u8], limits: Limits) -> Result<Decoded, DecodeError> {
    let state =
        State { limits, values: RefCell::new(0), path: RefCell::default(), duplicates: RefCell::default() };
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Seed { state: &state, depth: 0 }.deserialize(&mut reader).map_err(DecodeError::Syntax)?;
    reader.end().map_err(DecodeError::Syntax)?;
    Ok(Decoded { value, duplicates: state.duplicates.into_inner() })
}

const MAX_DUPLICATES: usize = 100;

struct State {
    limits: Limits,
    values: RefCell<usize>,
    path: RefCell<Vec<Step>>,
    duplicates: RefCell<Vec<String>>,
}

enum Step {
    Field(String),
    Index(usize),
}

impl State {
    fn duplicate(&self, key: &str) {
        let mut duplicates = self.duplicates.borrow_mut();
        if duplicates.len() >= MAX_DUPLICATES {
            return;
        }
        let mut text = String::new();
        for step in self.path.borrow().iter() {
            match step {
                Step::Field(name) if text.is_empty() => text.push_str(name),
                Step::Field(name) => {
                    text.push('.');
                    text.push_str(name);
                }
                Step::Index(index) => {
                    text.push('[');
                    text.push_str(&index.to_string());
                    text.push(']');
                }
            }
        }
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(key);
        duplicates.push(text);
    }
}

struct Seed<'a> {
    state: &'a State,
    depth: usize,
}

impl Seed<'_> {
    fn deeper<E: serde::de::Error>(&self) -> Result<Seed<'_>, E> {
        if self.depth >= self.state.limits.depth {
            return Err(E::custom(format_args!("nested deeper than {} levels", self.state.limits.depth)));
        }
        Ok(Seed { state: self.state, depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let mut values = self.state.values.borrow_mut();
        *values += 1;
        if *values > self.state.limits.values {
            return Err(D::Error::custom(format_args!("more than {} values", self.state.limits.values)));
        }
        drop(values);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            self.state.path.borrow_mut().push(Step::Index(list.len()));
            let item = items.next_element_seed(self.deeper()?)?;
            self.state.path.borrow_mut().pop();
            match item {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                self.state.duplicate(&key);
            }
            self.state.path.borrow_mut().push(Step::Field(key.clone()));
            let value = entries.next_value_seed(self.deeper()?)?;
            self.state.path.borrow_mut().pop();
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn duplicate_keys_are_reported_with_their_path_and_the_last_wins() {
        let text = br#"{"spec":{"a":1,"a":2,"l":[{"x":1},{"y":1,"y":2}]},"k":0,"k":1}"#;
        let decoded = from_slice(text, Limits::default()).unwrap();
        assert_eq!(decoded.value, json!({"spec": {"a": 2, "l": [{"x": 1}, {"y": 2}]}, "k": 1}));
        assert_eq!(decoded.duplicates, ["spec.a", "spec.l[1].y", "k"]);
    }

    #[test]
    fn limits_hold() {
        let check = |text: &str, expected: &str| {
            let error = from_slice(text.as_bytes(), Limits { depth: 3, values: 5 }).unwrap_err();
            let DecodeError::Syntax(source) = error;
            assert!(source.to_string().contains(expected), "{source}");
        };
        check("[[[[]]]]", "nested deeper than 3 levels");
        check(r#"{"a":{"b":{"c":{"d":0}}}}"#, "nested deeper than 3 levels");
        check("[1,2,3,4,5]", "more than 5 values");
        check("{} {}", "trailing characters");
        let hostile = "[".repeat(1_000_000);
        assert!(from_slice(hostile.as_bytes(), Limits::default()).is_err());
    }

    #[test]
    fn an_ordinary_document_reads_as_serde_json_reads_it() {
        let text = r#"{"a":[1,-2,3.5,true,null,"x"],"b":{},"c":18446744073709551615}"#;
        let decoded = from_slice(text.as_bytes(), Limits::default()).unwrap();
        assert_eq!(decoded.value, serde_json::from_str::<Value>(text).unwrap());
        assert_eq!(decoded.duplicates, [""; 0]);
    }
}
