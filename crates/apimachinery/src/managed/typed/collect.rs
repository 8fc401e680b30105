//! The set of fields a document has.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Form, Place, elements, form, items, member};
use crate::managed::element::PathElement;
use crate::managed::set::FieldSet;

/// Every leaf, every list item, every key of a map; a structure only where it is empty.
pub(in crate::managed) fn field_set(place: Place<'_>, document: &Value) -> FieldSet {
    collect(place, document).below
}

struct Collected {
    /// Whether the value is a field of its own, and not only what is below it.
    is_leaf: bool,
    below: FieldSet,
}

fn collect(place: Place<'_>, value: &Value) -> Collected {
    let mut below = FieldSet::default();
    match form(place, value) {
        Form::Null | Form::Leaf => return Collected { is_leaf: true, below },
        Form::Map(members) => {
            for (name, value) in members {
                let is_named = place.is_some_and(|node| node.property(name).is_some());
                let collected = collect(member(place, name), value);
                let is_empty_map = value.as_object().is_some_and(serde_json::Map::is_empty);
                let is_member = collected.is_leaf || is_empty_map || !is_named;
                below.add(PathElement::Field(name.clone()), is_member, collected.below);
            }
        }
        Form::List(list) => {
            let Some(elements) = elements(place, list) else { return Collected { is_leaf: true, below } };
            let mut counts: BTreeMap<&PathElement, usize> = BTreeMap::new();
            for element in &elements {
                *counts.entry(element).or_default() += 1;
            }
            for (element, value) in elements.iter().zip(list) {
                // Of items that cannot be told apart, only the fact that they are there is owned.
                let is_duplicate = counts.get(element).is_some_and(|count| *count > 1);
                let inner =
                    if is_duplicate { FieldSet::default() } else { collect(items(place), value).below };
                below.add(element.clone(), true, inner);
            }
        }
    }
    Collected { is_leaf: false, below }
}
