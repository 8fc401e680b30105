//! Errors about one field of an object, worded as Kubernetes words them.

use std::collections::HashSet;
use std::fmt;

use serde_json::Value;

/// What is wrong with a field; [`ErrorKind::reason`] is the `reason` of a `Status` cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The field refers to something that does not exist.
    NotFound,
    /// The field must have a value and has none.
    Required,
    /// The value occurs more than once where it must be unique.
    Duplicate,
    /// The value is malformed.
    Invalid,
    /// The value is not one of a known set.
    NotSupported,
    /// The field may not be set here.
    Forbidden,
    /// The string is too long.
    TooLong,
    /// The list or map has too many entries.
    TooMany,
    /// The value has the wrong JSON type.
    TypeInvalid,
    /// A rule could not be evaluated.
    Internal,
}

impl ErrorKind {
    /// The machine-readable `reason` of a `Status` cause.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Internal => "InternalError",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::Internal => "Internal error",
        }
    }

    /// Whether validation rules are pointless beside an error of this kind.
    pub(crate) fn blocks_rules(self) -> bool {
        matches!(
            self,
            Self::NotSupported | Self::Required | Self::TooLong | Self::TooMany | Self::TypeInvalid
        )
    }

    /// Whether Kubernetes leaves the value out of the text of this kind.
    fn hides_value(self) -> bool {
        matches!(self, Self::Required | Self::Forbidden | Self::TooLong | Self::Internal)
    }
}

/// One thing that is wrong with one field of an object.
///
/// `Display` is the line Kubernetes prints: `spec.planeID: Invalid value: "X": spec.planeID in body should match '…'`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}{}{}", field, if field.is_empty() { "" } else { ": " }, self.body())]
pub struct FieldError {
    /// What is wrong.
    pub kind: ErrorKind,
    /// Path of the field, as `spec.list[0].name`.
    pub field: String,
    /// The offending value, where it helps to show it.
    pub bad_value: Option<Value>,
    /// Words that say what was expected; may be empty.
    pub detail: String,
}

impl FieldError {
    /// A required field is absent.
    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Required, field: field.into(), bad_value: None, detail: detail.into() }
    }

    /// A malformed value.
    pub fn invalid(field: impl Into<String>, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Invalid,
            field: field.into(),
            bad_value: Some(value.into()),
            detail: detail.into(),
        }
    }

    /// A value of the wrong JSON type.
    pub fn type_invalid(
        field: impl Into<String>,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self { kind: ErrorKind::TypeInvalid, ..Self::invalid(field, value, detail) }
    }

    /// A value outside a known set.
    pub fn not_supported<'a>(
        field: impl Into<String>,
        value: impl Into<Value>,
        supported: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let quoted: Vec<String> = supported.into_iter().map(quote).collect();
        let detail = if quoted.is_empty() {
            String::new()
        } else {
            format!("supported values: {}", quoted.join(", "))
        };
        Self { kind: ErrorKind::NotSupported, ..Self::invalid(field, value, detail) }
    }

    /// A field that may not be set.
    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Forbidden, field: field.into(), bad_value: None, detail: detail.into() }
    }

    /// A value that occurs twice where it must be unique.
    pub fn duplicate(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self { kind: ErrorKind::Duplicate, ..Self::invalid(field, value, "") }
    }

    /// A string of more than `max` bytes.
    pub fn too_long(field: impl Into<String>, max: u64) -> Self {
        let unit = if max == 1 { "byte" } else { "bytes" };
        Self {
            kind: ErrorKind::TooLong,
            field: field.into(),
            bad_value: None,
            detail: format!("may not be more than {max} {unit}"),
        }
    }

    /// A list or map of `actual` entries where `max` are allowed.
    pub fn too_many(field: impl Into<String>, actual: u64, max: u64) -> Self {
        let unit = if max == 1 { "item" } else { "items" };
        Self {
            kind: ErrorKind::TooMany,
            ..Self::invalid(field, actual, format!("must have at most {max} {unit}"))
        }
    }

    /// Something that could not be judged.
    pub fn internal(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Internal, field: field.into(), bad_value: None, detail: detail.into() }
    }

    /// The message without the field: what a `Status` cause carries beside `field` and `reason`.
    pub fn body(&self) -> String {
        let mut text = self.kind.text().to_owned();
        if let (Some(value), false) = (&self.bad_value, self.kind.hides_value()) {
            text.push_str(": ");
            text.push_str(&match value {
                Value::String(string) => quote(string),
                Value::Number(number) if number.is_f64() => number.as_f64().unwrap_or_default().to_string(),
                other => other.to_string(),
            });
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

/// The list of errors as one message: the only one as it is, several as `[a, b]`, each text once.
///
/// Prefix it with `Kind.group "name" is invalid: ` for the message of a 422 `Status`.
pub fn aggregate(errors: &[FieldError]) -> String {
    let mut seen = HashSet::new();
    let texts: Vec<String> =
        errors.iter().map(ToString::to_string).filter(|text| seen.insert(text.clone())).collect();
    match texts.as_slice() {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}

/// Go's `%q`.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_ascii_control() => {
                quoted.push_str("\\x");
                let digits = [u32::from(c) >> 4, u32::from(c) & 15];
                quoted.extend(digits.map(|digit| char::from_digit(digit, 16).unwrap_or('0')));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Where a walk through a document stands; lives on the stack and costs nothing until an error is written.
#[derive(Clone, Copy)]
pub(crate) enum Location<'a> {
    /// The document itself.
    Root,
    /// A property of an object.
    Field(&'a Location<'a>, &'a str),
    /// An entry of a map: `labels[a.b/c]`.
    Key(&'a Location<'a>, &'a str),
    /// An item of a list.
    Index(&'a Location<'a>, usize),
}

impl fmt::Display for Location<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Iterative, so that a deep document cannot overflow the stack here either.
        let mut chain = Vec::new();
        let mut at = self;
        loop {
            match at {
                Self::Root => break,
                Self::Field(parent, _) | Self::Key(parent, _) | Self::Index(parent, _) => {
                    chain.push(at);
                    at = parent;
                }
            }
        }
        for (position, part) in chain.iter().rev().enumerate() {
            match part {
                Self::Root => {}
                Self::Field(_, name) if position == 0 => f.write_str(name)?,
                Self::Field(_, name) => write!(f, ".{name}")?,
                Self::Key(_, name) => write!(f, "[{name}]")?,
                Self::Index(_, index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn errors_read_as_kubernetes_prints_them() {
        let check = |error: FieldError, expected: &str| assert_eq!(error.to_string(), expected);
        check(FieldError::required("spec.planeID", ""), "spec.planeID: Required value");
        check(FieldError::required("spec.a", "must be set"), "spec.a: Required value: must be set");
        check(FieldError::invalid("spec.a", "x\"y", "bad"), r#"spec.a: Invalid value: "x\"y": bad"#);
        check(FieldError::invalid("spec.a", 3, "bad"), "spec.a: Invalid value: 3: bad");
        check(FieldError::invalid("spec.a", Value::Null, "bad"), "spec.a: Invalid value: null: bad");
        check(FieldError::invalid("spec.a", 3.0, "bad"), "spec.a: Invalid value: 3: bad");
        check(
            FieldError::duplicate("spec.l[1]", json!({"name": "a"})),
            r#"spec.l[1]: Duplicate value: {"name":"a"}"#,
        );
        check(
            FieldError::not_supported("spec.a", "c", ["a", "b"]),
            r#"spec.a: Unsupported value: "c": supported values: "a", "b""#,
        );
        check(FieldError::too_long("spec.a", 3), "spec.a: Too long: may not be more than 3 bytes");
        check(FieldError::too_many("spec.a", 5, 3), "spec.a: Too many: 5: must have at most 3 items");
        check(FieldError::forbidden("spec.a", "is immutable"), "spec.a: Forbidden: is immutable");
    }

    #[test]
    fn several_errors_become_one_list_without_repeats() {
        let a = FieldError::required("a", "");
        let b = FieldError::required("b", "");
        assert_eq!(aggregate(std::slice::from_ref(&a)), "a: Required value");
        assert_eq!(aggregate(&[a.clone(), b, a]), "[a: Required value, b: Required value]");
    }

    #[test]
    fn a_location_prints_as_a_field_path() {
        let spec = Location::Field(&Location::Root, "spec");
        let list = Location::Field(&spec, "list");
        let item = Location::Index(&list, 2);
        assert_eq!(Location::Root.to_string(), "");
        assert_eq!(Location::Field(&item, "name").to_string(), "spec.list[2].name");
    }
}
