//! The order of merged lists: what the patch names comes in the patch's order, what only the server has stays where
//! it was relative to its neighbors.

use serde_json::{Map, Value};

use super::merge_list;
use crate::patch::PatchError;
use crate::schema::Node;

/// Handles `$setElementOrder/<field>`: merges the patch's list, if there is one, and arranges the result.
pub(super) fn set(
    target: &mut Map<String, Value>,
    patch: Option<&Value>,
    field: &str,
    order: &Value,
    node: Option<Node<'_>>,
) -> Result<(), PatchError> {
    let malformed = || PatchError::Malformed("invalid patch format of setElementOrder list".to_owned());
    let Value::Array(order) = order else { return Err(malformed()) };
    let before = match target.get(field) {
        None => None,
        Some(Value::Array(list)) => Some(list.clone()),
        Some(_) => return Err(malformed()),
    };
    let patch = match patch {
        None => None,
        Some(Value::Null) => {
            target.remove(field);
            return Ok(());
        }
        Some(Value::Array(list)) => Some(list),
        Some(_) => return Err(malformed()),
    };
    let key = node.and_then(Node::patch_key);
    if let Some(patch) = patch {
        check_order(patch, order, key)?;
    }
    let server = server_order(before.as_deref().unwrap_or_default(), patch.map(Vec::as_slice), key);
    let merged = match (before, patch) {
        (None, None) => return Ok(()),
        (Some(list), None) => list,
        (list, Some(patch)) => merge_list(list.unwrap_or_default(), patch, node)?,
    };
    let arranged = arrange(merged, order, &server, key);
    target.insert(field.to_owned(), Value::Array(arranged));
    Ok(())
}

/// The order of the server's list as upstream sees it: new items take the places that deleted ones leave at its end,
/// so that an item which replaces another comes after what only the server has.
fn server_order(before: &[Value], patch: Option<&[Value]>, key: Option<&str>) -> Vec<Value> {
    let (Some(patch), Some(_)) = (patch, key) else { return before.to_vec() };
    let (deleted, plain): (Vec<&Value>, Vec<&Value>) = patch
        .iter()
        .partition(|item| item.get(super::DIRECTIVE).is_some_and(|directive| directive == "delete"));
    let is_in = |list: &[&Value], item: &Value| list.iter().any(|other| same(other, item, key));
    let mut order: Vec<Value> = before.iter().filter(|item| !is_in(&deleted, item)).cloned().collect();
    let n_freed = before.len() - order.len();
    let new = plain.into_iter().filter(|item| !before.iter().any(|other| same(other, item, key)));
    order.extend(new.take(n_freed).cloned());
    order
}

/// The patch's own items must come in the order it asks for.
fn check_order(patch: &[Value], order: &[Value], key: Option<&str>) -> Result<(), PatchError> {
    let mut rest = order.iter();
    let plain = patch.iter().filter(|item| item.get(super::DIRECTIVE).is_none());
    for item in plain {
        if !rest.any(|wanted| same(wanted, item, key)) {
            let (patch, order) = (Value::from(patch.to_vec()), Value::from(order.to_vec()));
            return Err(PatchError::Malformed(format!(
                "The order in patch list:\n{patch}\n doesn't match $setElementOrder list:\n{order}\n"
            )));
        }
    }
    Ok(())
}

/// Interleaves the items that `order` names, in that order, with the others, in the order of `server`.
pub(super) fn arrange(
    merged: Vec<Value>,
    order: &[Value],
    server: &[Value],
    key: Option<&str>,
) -> Vec<Value> {
    let position = |list: &[Value], item: &Value| list.iter().position(|other| same(other, item, key));
    let (mut named, mut others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| position(order, item).is_some());
    named.sort_by_key(|item| position(order, item));
    others.sort_by_key(|item| position(server, item));

    let mut arranged = Vec::with_capacity(named.len() + others.len());
    let mut others = others.into_iter().peekable();
    for item in named {
        let place = position(server, &item);
        while let Some(other) = others.peek() {
            match (position(server, other), place) {
                (Some(other), Some(place)) if other < place => arranged.extend(others.next()),
                _ => break,
            }
        }
        arranged.push(item);
    }
    arranged.extend(others);
    arranged
}

fn same(a: &Value, b: &Value, key: Option<&str>) -> bool {
    match key {
        Some(key) => a.get(key).is_some() && a.get(key) == b.get(key),
        None => a == b,
    }
}
