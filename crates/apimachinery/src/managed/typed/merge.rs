//! Merging an applied document into the live one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{Form, Place, form, item_element, items, member};
use crate::managed::element::PathElement;

/// Leaves are taken from `applied` where it has them; nothing of `live` is lost. Lists keep the order of `applied`,
/// the items only `live` has staying where they were relative to their neighbors.
///
/// # Errors
/// The place and reason of a list whose items cannot be told apart.
pub(in crate::managed) fn merge(place: Place<'_>, live: &Value, applied: &Value) -> Result<Value, String> {
    Ok(pair(place, Some(live), Some(applied))?.unwrap_or(Value::Null))
}

fn pair(place: Place<'_>, live: Option<&Value>, applied: Option<&Value>) -> Result<Option<Value>, String> {
    let (live, applied) = match (live, applied) {
        (None, None) => return Ok(None),
        (Some(only), None) | (None, Some(only)) => match form(place, only) {
            // Even alone, a list is looked into: its items must be distinguishable.
            Form::List(list) if live.is_none() && !list.is_empty() => {
                return lists(place, &[], list).map(Some);
            }
            Form::Map(members) if live.is_none() && !members.is_empty() => {
                return maps(place, None, members).map(Some);
            }
            _ => return Ok(Some(only.clone())),
        },
        (Some(live), Some(applied)) => (live, applied),
    };
    let merged = match (form(place, live), form(place, applied)) {
        (Form::Map(live), Form::Map(applied)) if !(live.is_empty() && applied.is_empty()) => {
            maps(place, Some(live), applied)?
        }
        (Form::List(live), Form::List(applied)) if !(live.is_empty() && applied.is_empty()) => {
            lists(place, live, applied)?
        }
        // Applying null to a map or list takes nothing from it.
        (Form::Map(members), Form::Null) if !members.is_empty() => live.clone(),
        (Form::List(list), Form::Null) if !list.is_empty() => live.clone(),
        (_, Form::Map(applied)) if !applied.is_empty() => maps(place, None, applied)?,
        (_, Form::List(applied)) if !applied.is_empty() => lists(place, &[], applied)?,
        _ => applied.clone(),
    };
    Ok(Some(merged))
}

fn maps(
    place: Place<'_>,
    live: Option<&Map<String, Value>>,
    applied: &Map<String, Value>,
) -> Result<Value, String> {
    let mut merged = Map::new();
    for (name, live) in live.into_iter().flatten() {
        if !applied.contains_key(name) {
            merged.insert(name.clone(), live.clone());
        }
    }
    for (name, value) in applied {
        let live = live.and_then(|live| live.get(name));
        let value =
            pair(member(place, name), live, Some(value)).map_err(|error| format!(".{name}{error}"))?;
        if let Some(value) = value {
            merged.insert(name.clone(), value);
        }
    }
    Ok(Value::Object(merged))
}

/// The live list, in which items that occur more than once are not merged with.
struct Live<'v> {
    list: &'v [Value],
    elements: Vec<PathElement>,
    by_element: BTreeMap<PathElement, Option<&'v Value>>,
}

fn lists(place: Place<'_>, live: &[Value], applied: &[Value]) -> Result<Value, String> {
    let applied_elements = applied_elements(place, applied)?;
    let observed: BTreeMap<&PathElement, &Value> = applied_elements.iter().zip(applied).collect();
    let live = index_live(place, live)?;

    let mut merged = Vec::with_capacity(live.list.len().max(applied.len()));
    let mut take =
        |element: &PathElement, live: Option<&Value>, applied: Option<&Value>| -> Result<(), String> {
            let value = pair(items(place), live, applied).map_err(|error| format!("{element}{error}"))?;
            merged.extend(value);
            Ok(())
        };

    // Items of both lists come in the order of the applied one; an item only one list has is taken as soon as it is
    // reached. `shared` is the next item of both that the applied order asks for.
    let mut order = applied_elements.iter().filter(|element| live.by_element.contains_key(*element));
    let mut shared = order.next();
    let mut done: BTreeSet<&PathElement> = BTreeSet::new();
    let (mut l, mut a) = (0, 0);
    while l < live.elements.len() || a < applied_elements.len() {
        if let (Some(left), Some(right)) = (live.elements.get(l), applied_elements.get(a)) {
            if left == right {
                done.insert(right);
                take(right, live.by_element.get(left).copied().flatten(), observed.get(right).copied())?;
                (l, a) = (l + 1, a + 1);
                shared = order.next();
                continue;
            }
            if observed.contains_key(left) && shared.is_some_and(|shared| shared != left) {
                l += 1;
                continue;
            }
        }
        if let Some(left) = live.elements.get(l) {
            if !observed.contains_key(left) {
                take(left, live.list.get(l), None)?;
                l += 1;
                continue;
            }
            if done.contains(left) {
                l += 1;
            }
        }
        if let Some(right) = applied_elements.get(a) {
            done.insert(right);
            take(right, live.by_element.get(right).copied().flatten(), observed.get(right).copied())?;
            a += 1;
            if shared == Some(right) {
                shared = order.next();
            }
        }
    }
    Ok(Value::Array(merged))
}

fn applied_elements(place: Place<'_>, applied: &[Value]) -> Result<Vec<PathElement>, String> {
    let mut seen = BTreeSet::new();
    let mut elements = Vec::with_capacity(applied.len());
    for (index, item) in applied.iter().enumerate() {
        let element = item_element(place, item).map_err(|error| format!(": element {index}: {error}"))?;
        if !seen.insert(element.clone()) {
            return Err(format!(": duplicate entries for key {element}"));
        }
        elements.push(element);
    }
    Ok(elements)
}

fn index_live<'v>(place: Place<'_>, list: &'v [Value]) -> Result<Live<'v>, String> {
    let mut elements = Vec::with_capacity(list.len());
    let mut by_element = BTreeMap::new();
    for (index, item) in list.iter().enumerate() {
        let element = item_element(place, item).map_err(|error| format!(": element {index}: {error}"))?;
        by_element.entry(element.clone()).and_modify(|first| *first = None).or_insert(Some(item));
        elements.push(element);
    }
    Ok(Live { list, elements, by_element })
}
