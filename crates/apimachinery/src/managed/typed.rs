//! Documents seen through a schema: which fields they have, how two of them differ, how they merge.
//!
//! A place is a leaf (a scalar, or a list or map that is atomic), a list of items told apart by keys or value, or a
//! map of members. Where the schema says nothing, maps have members and lists are atomic. Where a value does not have
//! the type its schema asks for, it is taken as what it is: judging it is validation's business.

mod collect;
mod compare;
mod merge;
mod remove;

use serde_json::{Map, Value};

pub(super) use collect::field_set;
pub(super) use compare::{Comparison, compare};
pub(super) use merge::merge;
pub(super) use remove::remove;

use super::element::PathElement;
use crate::schema::{ListType, Node};

/// The schema at a place, if there is one.
type Place<'s> = Option<Node<'s>>;

/// What a value is under its schema.
#[derive(Clone, Copy)]
enum Form<'v> {
    /// Null takes whatever form its counterpart has.
    Null,
    Leaf,
    List(&'v [Value]),
    Map(&'v Map<String, Value>),
}

fn form<'v>(place: Place<'_>, value: &'v Value) -> Form<'v> {
    match value {
        Value::Null => Form::Null,
        Value::Bool(_) | Value::Number(_) | Value::String(_) => Form::Leaf,
        Value::Array(items) => match place {
            Some(node) if *node.list_type() != ListType::Atomic => Form::List(items),
            _ => Form::Leaf,
        },
        Value::Object(members) => match place {
            Some(node) if node.is_atomic_map() => Form::Leaf,
            _ => Form::Map(members),
        },
    }
}

fn member<'s>(place: Place<'s>, name: &str) -> Place<'s> {
    place.and_then(|node| node.member(name))
}

fn items(place: Place<'_>) -> Place<'_> {
    place.and_then(Node::items)
}

/// What tells a list item from the others.
///
/// # Errors
/// The item has no key, is null, or is no scalar in a set.
fn item_element(place: Place<'_>, item: &Value) -> Result<PathElement, String> {
    let Some(ListType::Map(keys)) = place.map(Node::list_type) else { return set_element(item) };
    let members = match item {
        Value::Object(members) => members,
        Value::Null => return Err("associative list with keys may not have a null element".to_owned()),
        _ => return Err("associative list with keys may not have non-map elements".to_owned()),
    };
    let schema = items(place);
    let mut fields = Vec::with_capacity(keys.len());
    for key in keys {
        let default = || schema.and_then(|schema| schema.property(key)).and_then(Node::default_value);
        if let Some(value) = members.get(key).or_else(default) {
            fields.push((key.clone(), value.clone()));
        }
    }
    if fields.is_empty() {
        return Err(format!(
            "associative list with keys has an element that omits all key fields {keys:?} (and doesn't have default \
             values for any key fields)"
        ));
    }
    fields.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(PathElement::Key(fields))
}

fn set_element(item: &Value) -> Result<PathElement, String> {
    let kind = match item {
        Value::Object(_) => "a map type",
        Value::Array(_) => "a list type",
        Value::Null => "an explicit null",
        Value::Bool(_) | Value::Number(_) | Value::String(_) => return Ok(PathElement::Value(item.clone())),
    };
    Err(format!("associative list without keys has an element that's {kind}"))
}

/// The elements of a list that can be told apart at all; `None` if some item cannot.
fn elements(place: Place<'_>, list: &[Value]) -> Option<Vec<PathElement>> {
    list.iter().map(|item| item_element(place, item).ok()).collect()
}
