//! Values during an evaluation: JSON is borrowed where it comes in, everything made on the way is shared.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::foreign::Foreign;

/// A value. Cloning is cheap: no variant owns more than a pointer's worth of data by itself.
#[derive(Debug, Clone)]
pub(crate) enum Val<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Text<'a>),
    List(List<'a>),
    Map(Map<'a>),
    Optional(Option<Arc<Val<'a>>>),
    Type(&'static str),
    /// What removes the list element or map entry it is put into.
    Absent,
    /// Bytes, unsigned integers, durations and timestamps, which only the `cel` crate works on.
    Foreign(Foreign),
}

/// Text, read in place or made on the way.
#[derive(Debug, Clone)]
pub(crate) enum Text<'a> {
    Borrowed(&'a str),
    Shared(Arc<str>),
}

/// A list, read in place or made on the way.
#[derive(Debug, Clone)]
pub(crate) enum List<'a> {
    Json(&'a [Json]),
    Shared(Arc<[Val<'a>]>),
}

/// A map, read in place or made on the way.
#[derive(Debug, Clone)]
pub(crate) enum Map<'a> {
    Json(&'a serde_json::Map<String, Json>),
    Shared(Arc<BTreeMap<Key, Val<'a>>>),
}

/// A key of a map made on the way. Ordered, so that iteration always gives the same result.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Bool(bool),
    Int(i64),
    Text(Arc<str>),
}

impl<'a> Val<'a> {
    /// A JSON value, read in place. Numbers are integers where they are written so and fit, else doubles.
    pub(crate) fn from_json(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(value), _) => Self::Int(value),
                (None, Some(value)) => Self::Double(value),
                (None, None) => Self::Null,
            },
            Json::String(text) => Self::Text(Text::Borrowed(text)),
            Json::Array(items) => Self::List(List::Json(items)),
            Json::Object(entries) => Self::Map(Map::Json(entries)),
        }
    }

    /// An owned JSON value, such as a function gave.
    pub(crate) fn from_owned_json(json: Json) -> Val<'static> {
        match json {
            Json::Null => Val::Null,
            Json::Bool(value) => Val::Bool(value),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(value), _) => Val::Int(value),
                (None, Some(value)) => Val::Double(value),
                (None, None) => Val::Null,
            },
            Json::String(text) => Val::text(text),
            Json::Array(items) => Val::list(items.into_iter().map(Val::from_owned_json).collect()),
            Json::Object(entries) => Val::map(
                entries.into_iter().map(|(key, value)| (Key::Text(key.into()), Val::from_owned_json(value))),
            ),
        }
    }

    pub(crate) fn text(text: impl Into<Arc<str>>) -> Self {
        Self::Text(Text::Shared(text.into()))
    }

    pub(crate) fn list(items: Vec<Self>) -> Self {
        Self::List(List::Shared(items.into()))
    }

    pub(crate) fn map(entries: impl IntoIterator<Item = (Key, Self)>) -> Self {
        Self::Map(Map::Shared(Arc::new(entries.into_iter().collect())))
    }

    pub(crate) fn some(value: Self) -> Self {
        Self::Optional(Some(Arc::new(value)))
    }

    /// A length or index. Lists and texts are far shorter than `i64::MAX`.
    pub(crate) fn length(length: usize) -> Self {
        Self::Int(i64::try_from(length).unwrap_or(i64::MAX))
    }

    /// The type's name, as expressions and messages spell it.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Double(_) => "double",
            Self::Text(_) => "string",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
            Self::Absent => "absent",
            Self::Foreign(value) => value.type_name(),
        }
    }

    /// An integer, or a double without a fraction: what indexes a list or counts something.
    pub(crate) fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            Self::Double(value) => integer_of(*value),
            Self::Foreign(value) => value.as_uint().and_then(|value| i64::try_from(value).ok()),
            _ => None,
        }
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Self::Null | Self::Absent | Self::Optional(None) => true,
            Self::Bool(value) => !value,
            Self::Int(value) => *value == 0,
            Self::Double(value) => *value == 0.0,
            Self::Text(text) => text.is_empty(),
            Self::List(list) => list.len() == 0,
            Self::Map(map) => map.len() == 0,
            Self::Optional(Some(_)) | Self::Type(_) => false,
            Self::Foreign(value) => value.is_zero(),
        }
    }
}

/// The integer that `value` is, if it is one exactly.
pub(crate) fn integer_of(value: f64) -> Option<i64> {
    // The bounds are exact powers of two; the upper one itself does not fit.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if value.fract() != 0.0 || !(-LIMIT..LIMIT).contains(&value) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "in range and without a fraction")]
    Some(value as i64)
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl<'a> List<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Json(items) => items.len(),
            Self::Shared(items) => items.len(),
        }
    }

    pub(crate) fn at(&self, index: usize) -> Option<Val<'a>> {
        match self {
            Self::Json(items) => items.get(index).map(Val::from_json),
            Self::Shared(items) => items.get(index).cloned(),
        }
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = Val<'a>> + ExactSizeIterator + '_ {
        (0..self.len()).map(|index| self.at(index).unwrap_or(Val::Null))
    }
}

impl<'a> Map<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Json(entries) => entries.len(),
            Self::Shared(entries) => entries.len(),
        }
    }

    pub(crate) fn field(&self, name: &Arc<str>) -> Option<Val<'a>> {
        match self {
            Self::Json(entries) => entries.get(&**name).map(Val::from_json),
            Self::Shared(entries) => entries.get(&Key::Text(Arc::clone(name))).cloned(),
        }
    }

    pub(crate) fn at(&self, key: &Key) -> Option<Val<'a>> {
        match (self, key) {
            (_, Key::Text(name)) => self.field(name),
            (Self::Json(_), _) => None,
            (Self::Shared(entries), key) => entries.get(key).cloned(),
        }
    }

    /// The entries, ordered by key for maps made here, in document order for JSON.
    pub(crate) fn entries(&self) -> Vec<(Key, Val<'a>)> {
        match self {
            Self::Json(entries) => entries
                .iter()
                .map(|(key, value)| (Key::Text(key.as_str().into()), Val::from_json(value)))
                .collect(),
            Self::Shared(entries) => {
                entries.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
            }
        }
    }
}

impl Key {
    /// The key that `value` is, if it can be one. A double without a fraction counts as its integer.
    pub(crate) fn of(value: &Val<'_>) -> Option<Self> {
        match value {
            Val::Bool(value) => Some(Self::Bool(*value)),
            Val::Text(Text::Shared(text)) => Some(Self::Text(Arc::clone(text))),
            Val::Text(Text::Borrowed(text)) => Some(Self::Text((*text).into())),
            other => other.as_integer().map(Self::Int),
        }
    }

    pub(crate) fn to_val(&self) -> Val<'static> {
        match self {
            Self::Bool(value) => Val::Bool(*value),
            Self::Int(value) => Val::Int(*value),
            Self::Text(text) => Val::text(Arc::clone(text)),
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}
