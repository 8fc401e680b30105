//! The order of merged lists: what the patch names comes in the patch's order, what only the server has stays where
//! it was relative to its neighbors.

use std::collections::{HashMap, HashSet};

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
    let identities = |items: &[&Value]| -> HashSet<String> {
        items.iter().filter_map(|item| identity(item, key)).collect()
    };
    let (deleted, known) = (identities(&deleted), positions(before, key));
    let is_deleted = |item: &Value| identity(item, key).is_some_and(|identity| deleted.contains(&identity));
    let mut order: Vec<Value> = before.iter().filter(|item| !is_deleted(item)).cloned().collect();
    let n_freed = before.len() - order.len();
    let new = plain.into_iter().filter(|item| place(&known, item, key).is_none());
    order.extend(new.take(n_freed).cloned());
    order
}

/// The patch's own items must come in the order it asks for.
fn check_order(patch: &[Value], order: &[Value], key: Option<&str>) -> Result<(), PatchError> {
    let mut rest = order.iter();
    let plain = patch.iter().filter(|item| item.get(super::DIRECTIVE).is_none());
    for item in plain {
        let wanted = identity(item, key);
        if wanted.is_none() || !rest.any(|next| identity(next, key) == wanted) {
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
    let (order, server) = (positions(order, key), positions(server, key));
    let (mut named, mut others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| place(&order, item, key).is_some());
    named.sort_by_cached_key(|item| place(&order, item, key));
    others.sort_by_cached_key(|item| place(&server, item, key));

    let mut arranged = Vec::with_capacity(named.len() + others.len());
    let mut others = others.into_iter().peekable();
    for item in named {
        let item_place = place(&server, &item, key);
        while let Some(other) = others.peek() {
            match (place(&server, other, key), item_place) {
                (Some(other_place), Some(item_place)) if other_place < item_place => {
                    arranged.extend(others.next());
                }
                _ => break,
            }
        }
        arranged.push(item);
    }
    arranged.extend(others);
    arranged
}

/// What tells an item of a merging list from the others; none if it lacks the key.
pub(super) fn identity(item: &Value, key: Option<&str>) -> Option<String> {
    match key {
        Some(key) => item.get(key).map(Value::to_string),
        None => Some(item.to_string()),
    }
}

/// The first position of each item.
fn positions(list: &[Value], key: Option<&str>) -> HashMap<String, usize> {
    let mut positions = HashMap::with_capacity(list.len());
    for (position, item) in list.iter().enumerate() {
        if let Some(identity) = identity(item, key) {
            positions.entry(identity).or_insert(position);
        }
    }
    positions
}

fn place(positions: &HashMap<String, usize>, item: &Value, key: Option<&str>) -> Option<usize> {
    positions.get(&identity(item, key)?).copied()
}
