//! Lists whose items must be told apart: sets and maps.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::Walk;
use crate::field::{FieldError, Location};
use crate::schema::{ListType, Node};

impl Walk {
    /// No value twice in a set, no keys twice in a map list.
    pub(super) fn unique(&mut self, node: Node<'_>, items: &[Value], at: &Location<'_>) {
        let keys = match node.list_type() {
            ListType::Atomic => return,
            ListType::Set => None,
            ListType::Map(keys) => Some(keys.as_slice()),
        };
        let mut seen = HashSet::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let identity = match keys {
                None => item.clone(),
                Some(keys) => key_of(node, keys, item),
            };
            // The text of a value is canonical: object keys are sorted or in the order of the list's keys.
            if !seen.insert(identity.to_string()) {
                self.push(FieldError::duplicate(Location::Index(at, index).to_string(), identity));
            }
        }
    }
}

/// The key fields of an item, defaults filled in.
fn key_of(node: Node<'_>, keys: &[String], item: &Value) -> Value {
    let schema = node.items();
    let mut identity = Map::new();
    for key in keys {
        let value = item.get(key);
        let default = || schema.and_then(|schema| schema.property(key)).and_then(Node::default_value);
        if let Some(value) = value.or_else(default) {
            identity.insert(key.clone(), value.clone());
        }
    }
    Value::Object(identity)
}

/// The item of the old list that this one continues; only map lists have an answer.
pub(crate) fn correlate<'v>(node: Node<'_>, item: &Value, old: Option<&'v Value>) -> Option<&'v Value> {
    let ListType::Map(keys) = node.list_type() else { return None };
    let identity = key_of(node, keys, item);
    old?.as_array()?.iter().find(|old| key_of(node, keys, old) == identity)
}
