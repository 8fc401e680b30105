//! Strategic merge patch: a merge patch in which lists of the schema merge by key.

mod order;

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::PatchError;
use crate::schema::{Node, Schema};

/// `delete` or `replace` for the map or list it stands in.
const DIRECTIVE: &str = "$patch";
/// Followed by `/<field>`: values to take out of a list of scalars.
const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList/";
/// Followed by `/<field>`: the order the patch wants, by keys or values.
const SET_ORDER: &str = "$setElementOrder/";
/// The only fields of the map that stay.
const RETAIN_KEYS: &str = "$retainKeys";

pub(super) fn apply(document: &Value, patch: &Value, schema: &Schema) -> Result<Value, PatchError> {
    let Value::Object(patch) = patch else {
        return Err(PatchError::Malformed(
            "error decoding patch: a strategic merge patch must be an object".to_owned(),
        ));
    };
    let Value::Object(document) = document else {
        return Err(PatchError::Malformed("only an object can be patched".to_owned()));
    };
    merge_map(document.clone(), patch, Some(schema.root())).map(Value::Object)
}

type Members = Map<String, Value>;

fn merge_map(mut target: Members, patch: &Members, node: Option<Node<'_>>) -> Result<Members, PatchError> {
    match patch.get(DIRECTIVE) {
        None => {}
        Some(Value::String(directive)) if directive == "delete" => return Ok(Members::new()),
        Some(Value::String(directive)) if directive == "replace" => {
            return Ok(patch.iter().filter(|(name, _)| *name != DIRECTIVE).map(owned).collect());
        }
        Some(directive) => return Err(unknown_directive(directive, patch)),
    }
    retain_keys(&mut target, patch)?;
    for (name, order) in patch {
        if let Some(field) = name.strip_prefix(SET_ORDER) {
            let list = node.and_then(|node| node.member(field));
            order::set(&mut target, patch.get(field), field, order, list)?;
        }
    }
    for (name, value) in patch {
        if let Some(field) = name.strip_prefix(DELETE_FROM_LIST) {
            delete_from_list(&mut target, field, value)?;
        } else if !is_directive(name) && !patch.contains_key(&format!("{SET_ORDER}{name}")) {
            merge_member(&mut target, name, value, node.and_then(|node| node.member(name)))?;
        }
    }
    Ok(target)
}

fn owned((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}

fn is_directive(name: &str) -> bool {
    name == DIRECTIVE
        || name == RETAIN_KEYS
        || name.starts_with(SET_ORDER)
        || name.starts_with(DELETE_FROM_LIST)
}

fn merge_member(
    target: &mut Members,
    name: &str,
    value: &Value,
    node: Option<Node<'_>>,
) -> Result<(), PatchError> {
    let merged = match (target.remove(name), value) {
        (_, Value::Null) => return Ok(()),
        (Some(Value::Object(current)), Value::Object(patch)) => {
            merge_map(current, patch, node).map(Value::Object)?
        }
        (Some(Value::Array(current)), Value::Array(patch)) => {
            merge_list(current, patch, node).map(Value::Array)?
        }
        (_, new) => match without_directives(new) {
            Some(new) => new,
            None => return Ok(()),
        },
    };
    target.insert(name.to_owned(), merged);
    Ok(())
}

/// What a patch value means where there is nothing to merge it with.
fn without_directives(value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Object(members) if members.contains_key(DIRECTIVE) => None,
        Value::Object(members) => {
            let kept = members.iter().filter(|(name, _)| !is_directive(name));
            let kept = kept.filter_map(|(name, value)| Some((name.clone(), without_directives(value)?)));
            Some(Value::Object(kept.collect()))
        }
        Value::Array(items) => Some(Value::Array(items.iter().filter_map(without_directives).collect())),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(value.clone()),
    }
}

fn retain_keys(target: &mut Members, patch: &Members) -> Result<(), PatchError> {
    let Some(keys) = patch.get(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(keys) = keys else {
        return Err(PatchError::Malformed("invalid patch format of retainKeys".to_owned()));
    };
    let retained = |name: &str| keys.iter().any(|key| key == name);
    if patch.iter().any(|(name, value)| !value.is_null() && !is_directive(name) && !retained(name)) {
        return Err(PatchError::Contradictory("patch content doesn't match retainKeys list".to_owned()));
    }
    target.retain(|name, _| retained(name));
    Ok(())
}

fn delete_from_list(target: &mut Members, field: &str, values: &Value) -> Result<(), PatchError> {
    let Value::Array(values) = values else {
        return Err(PatchError::Malformed("invalid patch format of primitive list".to_owned()));
    };
    if let Some(Value::Array(list)) = target.get_mut(field) {
        let values: HashSet<String> = values.iter().map(Value::to_string).collect();
        list.retain(|item| !values.contains(&item.to_string()));
    }
    Ok(())
}

/// A list where the schema says so is merged, any other is replaced.
fn merge_list(
    current: Vec<Value>,
    patch: &[Value],
    node: Option<Node<'_>>,
) -> Result<Vec<Value>, PatchError> {
    let Some(node) = node.filter(|node| node.patch_strategy().merge) else {
        return Ok(patch.iter().filter_map(without_directives).collect());
    };
    if current.is_empty() && patch.is_empty() {
        return Ok(current);
    }
    let before = current.clone();
    let Some(key) = node.patch_key() else {
        let mut merged = current;
        let mut known: HashSet<String> = merged.iter().map(Value::to_string).collect();
        for item in patch {
            if item.is_object() || item.is_array() {
                return Err(PatchError::Malformed(
                    "lists of lists and of maps without a key cannot be merged".to_owned(),
                ));
            }
            if known.insert(item.to_string()) {
                merged.push(item.clone());
            }
        }
        return Ok(order::arrange(merged, patch, &before, None));
    };
    let (mut merged, patch) = match special_items(current, patch, key)? {
        Special::Replaced(list) => return Ok(list),
        Special::Remaining { list, patch } => (list, patch),
    };
    let mut places = HashMap::with_capacity(merged.len());
    for (place, item) in merged.iter().enumerate() {
        if let Some(identity) = order::identity(item, Some(key)) {
            places.entry(identity).or_insert(place);
        }
    }
    for item in &patch {
        let (Value::Object(members), Some(identity)) = (item, order::identity(item, Some(key))) else {
            continue;
        };
        if let Some(existing) = places.get(&identity).and_then(|place| merged.get_mut(*place)) {
            if let Value::Object(current) = existing.take() {
                *existing = Value::Object(merge_map(current, members, node.items())?);
            }
        } else {
            places.insert(identity, merged.len());
            merged.extend(without_directives(item));
        }
    }
    Ok(order::arrange(merged, &patch, &before, Some(key)))
}

enum Special {
    /// `$patch: replace`: the patch is the list.
    Replaced(Vec<Value>),
    /// Deletions are done; what is left to merge.
    Remaining { list: Vec<Value>, patch: Vec<Value> },
}

fn special_items(mut list: Vec<Value>, patch: &[Value], key: &str) -> Result<Special, PatchError> {
    let mut plain = Vec::with_capacity(patch.len());
    let mut deleted = HashSet::new();
    let mut is_replaced = false;
    for item in patch {
        let Value::Object(members) = item else {
            return Err(PatchError::Malformed(format!(
                "a list that merges by {key} holds something else than maps"
            )));
        };
        match members.get(DIRECTIVE) {
            Some(Value::String(directive)) if directive == "replace" => is_replaced = true,
            Some(Value::String(directive)) if directive == "delete" => {
                let identity = order::identity(item, Some(key)).ok_or_else(|| no_key(item, key))?;
                deleted.insert(identity);
            }
            Some(directive) => return Err(unknown_directive(directive, members)),
            None => plain.push(item.clone()),
        }
    }
    list.retain(|item| order::identity(item, Some(key)).is_none_or(|identity| !deleted.contains(&identity)));
    if is_replaced {
        return Ok(Special::Replaced(plain.iter().filter_map(without_directives).collect()));
    }
    match plain.iter().find(|item| item.get(key).is_none()) {
        Some(item) => Err(no_key(item, key)),
        None => Ok(Special::Remaining { list, patch: plain }),
    }
}

fn no_key(item: &Value, key: &str) -> PatchError {
    PatchError::Malformed(format!("map: {item} does not contain declared merge key: {key}"))
}

fn unknown_directive(directive: &Value, patch: &Members) -> PatchError {
    let patch = Value::Object(patch.clone());
    PatchError::Malformed(format!("unknown patch type: {directive} in map: {patch}"))
}

#[cfg(test)]
mod tests;
