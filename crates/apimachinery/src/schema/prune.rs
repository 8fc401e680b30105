//! Pruning of unknown fields and filling in of defaults.

use serde_json::Value;

use super::{MAX_REPORTED, Node};
use crate::field::Location;

pub(super) fn prune(node: Node<'_>, value: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    prune_value(Some(node), value, &Location::Root, &mut unknown);
    unknown
}

fn prune_value(node: Option<Node<'_>>, value: &mut Value, at: &Location<'_>, unknown: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            let keeps_unknown = node.is_some_and(Node::preserves_unknown);
            members.retain(|name, member| {
                let known = node.and_then(|node| node.member(name));
                let at = Location::Field(at, name);
                match known {
                    Some(_) => prune_value(known, member, &at, unknown),
                    None if keeps_unknown => {}
                    None => {
                        if unknown.len() < MAX_REPORTED {
                            unknown.push(at.to_string());
                        }
                        return false;
                    }
                }
                true
            });
        }
        Value::Array(items) => {
            let schema = node.and_then(Node::items);
            if schema.is_none() && node.is_some_and(Node::preserves_unknown) {
                return;
            }
            for (index, item) in items.iter_mut().enumerate() {
                prune_value(schema, item, &Location::Index(at, index), unknown);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Fills in defaults, then drops nulls that mean "not set": those of properties that are not nullable.
pub(super) fn default(node: Node<'_>, value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, property) in node.defaulted_properties() {
                let absent = match members.get(name) {
                    None => true,
                    Some(value) => value.is_null() && !property.is_explicitly_nullable(),
                };
                if let (true, Some(default)) = (absent, property.default_value()) {
                    members.insert(name.to_owned(), default.clone());
                }
            }
            members.retain(|name, member| {
                let Some(schema) = node.member(name) else { return true };
                if member.is_null() && !schema.is_explicitly_nullable() {
                    match schema.default_value() {
                        Some(default) => member.clone_from(default),
                        None => return false,
                    }
                }
                default(schema, member);
                true
            });
        }
        Value::Array(items) => {
            let Some(schema) = node.items() else { return };
            for item in items {
                if let (true, false, Some(default)) =
                    (item.is_null(), schema.is_explicitly_nullable(), schema.default_value())
                {
                    item.clone_from(default);
                }
                default(schema, item);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
