//! Field selectors: `metadata.name=x,status.phase!=Running`.

use super::{MAX_BYTES, MAX_REQUIREMENTS, SelectorError};

/// One `field=value` or `field!=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRequirement {
    /// Path of the field, as `metadata.name`.
    pub field: String,
    /// The value compared with.
    pub value: String,
    /// Whether the field must differ.
    pub negated: bool,
}

/// All requirements must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    requirements: Vec<FieldRequirement>,
}

impl FieldSelector {
    /// Reads `a=b,c==d,e!=f`; `\`, `,` and `=` in a value are escaped by `\`.
    ///
    /// # Errors
    /// A term without an operator, or a bad escape.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        if text.len() > MAX_BYTES {
            return Err(SelectorError::TooLarge);
        }
        let mut requirements = Vec::new();
        for term in split_terms(text) {
            if term.is_empty() {
                continue;
            }
            requirements.push(parse_term(term)?);
            if requirements.len() > MAX_REQUIREMENTS {
                return Err(SelectorError::TooLarge);
            }
        }
        Ok(Self { requirements })
    }

    /// The requirements, so that a server can refuse fields it does not index.
    pub fn requirements(&self) -> &[FieldRequirement] {
        &self.requirements
    }

    /// Whether there is nothing to check.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The one value `field` must have, where the selector says so: lets a list by name become a get.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.requirements.iter().find(|r| !r.negated && r.field == field).map(|r| r.value.as_str())
    }

    /// Whether the object matches; `read` returns the text of a field, empty when absent.
    pub fn matches<'v>(&self, read: impl Fn(&str) -> std::borrow::Cow<'v, str>) -> bool {
        self.requirements.iter().all(|r| (read(&r.field) == r.value) != r.negated)
    }

    /// Whether the object matches, each field read by its dotted path.
    pub fn matches_object(&self, object: &serde_json::Value) -> bool {
        self.matches(|field| {
            let mut at = Some(object);
            for part in field.split('.') {
                at = at.and_then(|value| value.get(part));
            }
            match at {
                None | Some(serde_json::Value::Null) => "".into(),
                Some(serde_json::Value::String(text)) => text.as_str().into(),
                Some(other) => other.to_string().into(),
            }
        })
    }
}

fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let mut start = 0;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn parse_term(term: &str) -> Result<FieldRequirement, SelectorError> {
    for (at, _) in term.char_indices() {
        for (operator, negated) in [("!=", true), ("==", false), ("=", false)] {
            if let Some(value) = term[at..].strip_prefix(operator) {
                return Ok(FieldRequirement {
                    field: term[..at].to_owned(),
                    value: unescape(value)?,
                    negated,
                });
            }
        }
    }
    Err(SelectorError::Field(format!("'{term}'; can't understand '{term}'")))
}

fn unescape(value: &str) -> Result<String, SelectorError> {
    let mut plain = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some(escaped @ ('\\' | ',' | '=')) => plain.push(escaped),
                _ => {
                    return Err(SelectorError::Field(format!(
                        "invalid field selector: invalid escape in {value}"
                    )));
                }
            },
            ',' | '=' => return Err(SelectorError::Field(format!("unescaped character in {value}"))),
            other => plain.push(other),
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn field_selectors_match_by_path() {
        let object = json!({"metadata": {"name": "a,b"}, "status": {"phase": "Running"}, "count": 3});
        let check = |text: &str, expected: bool| {
            assert_eq!(FieldSelector::parse(text).unwrap().matches_object(&object), expected, "{text}");
        };
        check("", true);
        check("status.phase=Running", true);
        check("status.phase==Running", true);
        check("status.phase!=Running", false);
        check(r"metadata.name=a\,b,status.phase=Running", true);
        check("metadata.name=other", false);
        check("spec.nodeName=", true);
        check("spec.nodeName!=", false);
        check("count=3", true);
    }

    #[test]
    fn malformed_field_selectors_are_refused() {
        for text in ["a", "a=b=c", r"a=\x", "a=b,c"] {
            assert!(FieldSelector::parse(text).is_err(), "{text}");
        }
        assert_eq!(FieldSelector::parse(&"a=b,".repeat(20_000)), Err(SelectorError::TooLarge));
        assert_eq!(FieldSelector::parse("metadata.name=x").unwrap().exact("metadata.name"), Some("x"));
    }
}
