//! Taking fields out of a document.

use serde_json::{Map, Value};

use super::{Form, Place, form, item_element, items, member};
use crate::managed::element::PathElement;
use crate::managed::set::FieldSet;
use crate::schema::Node;

/// The document without the members of the set and what is below them. A map or list that becomes empty by it stays,
/// empty (null where that is allowed). Atomic lists and maps go as a whole or not at all.
pub(in crate::managed) fn remove(place: Place<'_>, value: &Value, fields: &FieldSet) -> Value {
    if fields.is_empty() {
        return value.clone();
    }
    let emptied =
        |empty: Value| if place.is_some_and(Node::is_explicitly_nullable) { Value::Null } else { empty };
    match form(place, value) {
        Form::Null | Form::Leaf => value.clone(),
        Form::Map(members) => {
            let mut kept = Map::new();
            for (name, value) in members {
                let element = PathElement::Field(name.clone());
                let child = member(place, name);
                let value = match fields.entry(&element) {
                    None => Some(value.clone()),
                    Some(entry) if entry.is_member => None,
                    Some(entry) => Some(remove(child, value, &entry.below)),
                };
                if let Some(value) = value {
                    kept.insert(name.clone(), value);
                }
            }
            let is_emptied = kept.is_empty() && !members.is_empty();
            if is_emptied { emptied(Value::Object(kept)) } else { Value::Object(kept) }
        }
        Form::List(list) => {
            let mut kept = Vec::with_capacity(list.len());
            for value in list {
                let entry = item_element(place, value).ok().and_then(|element| fields.entry(&element));
                match entry {
                    None => kept.push(value.clone()),
                    Some(entry) if entry.is_member => {}
                    Some(entry) => kept.push(remove(items(place), value, &entry.below)),
                }
            }
            let is_emptied = kept.is_empty() && !list.is_empty();
            if is_emptied { emptied(Value::Array(kept)) } else { Value::Array(kept) }
        }
    }
}
