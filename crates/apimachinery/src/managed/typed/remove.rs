//! Taking fields out of a document.

use serde_json::{Map, Value};

use super::{Form, Place, form, item_element, items, member};
use crate::managed::element::PathElement;
use crate::managed::set::FieldSet;

/// The document without the members of the set and what is below them; a map or list that becomes empty by it goes
/// too. Atomic lists and maps go as a whole or not at all.
pub(in crate::managed) fn remove(place: Place<'_>, document: &Value, fields: &FieldSet) -> Value {
    without(place, document, fields).unwrap_or_else(|| Value::Object(Map::new()))
}

fn without(place: Place<'_>, value: &Value, fields: &FieldSet) -> Option<Value> {
    if fields.is_empty() {
        return Some(value.clone());
    }
    match form(place, value) {
        Form::Null | Form::Leaf => Some(value.clone()),
        Form::Map(members) => {
            let mut kept = Map::new();
            for (name, value) in members {
                let element = PathElement::Field(name.clone());
                let child = member(place, name);
                let value = match fields.entry(&element) {
                    None => Some(value.clone()),
                    Some(entry) if entry.is_member => None,
                    Some(entry) => without(child, value, &entry.below),
                };
                if let Some(value) = value {
                    kept.insert(name.clone(), value);
                }
            }
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        Form::List(list) => {
            let mut kept = Vec::with_capacity(list.len());
            for value in list {
                let entry = item_element(place, value).ok().and_then(|element| fields.entry(&element));
                match entry {
                    None => kept.push(value.clone()),
                    Some(entry) if entry.is_member => {}
                    Some(entry) => kept.extend(without(items(place), value, &entry.below)),
                }
            }
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
    }
}
