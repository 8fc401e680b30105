//! How two documents differ, field by field.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Form, Place, elements, form, items, member};
use crate::managed::element::PathElement;
use crate::managed::set::FieldSet;

/// The fields in which the new document differs; no field is in two of the sets.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::managed) struct Comparison {
    pub(in crate::managed) removed: FieldSet,
    pub(in crate::managed) modified: FieldSet,
    pub(in crate::managed) added: FieldSet,
}

impl Comparison {
    pub(in crate::managed) fn is_same(&self) -> bool {
        self.removed.is_empty() && self.modified.is_empty() && self.added.is_empty()
    }
}

/// Compares two documents; `metadata.managedFields` is not looked at.
pub(in crate::managed) fn compare(place: Place<'_>, old: &Value, new: &Value) -> Comparison {
    let mut walk = Walk::default();
    walk.pair(place, Some(old), Some(new), &Step::Root);
    walk.comparison
}

/// The way to a place, on the stack; becomes a path only where a difference is found.
enum Step<'a> {
    Root,
    Field(&'a Step<'a>, &'a str),
    Item(&'a Step<'a>, &'a PathElement),
}

impl Step<'_> {
    fn path(&self) -> Vec<PathElement> {
        let mut path = Vec::new();
        let mut at = self;
        loop {
            match at {
                Self::Root => break,
                Self::Field(parent, name) => {
                    path.push(PathElement::Field((*name).to_owned()));
                    at = parent;
                }
                Self::Item(parent, element) => {
                    path.push((*element).clone());
                    at = parent;
                }
            }
        }
        path.reverse();
        path
    }

    fn is_managed_fields(&self, name: &str) -> bool {
        name == "managedFields" && matches!(self, Self::Field(Self::Root, "metadata"))
    }
}

#[derive(Default)]
struct Walk {
    comparison: Comparison,
}

impl Walk {
    fn pair(&mut self, place: Place<'_>, old: Option<&Value>, new: Option<&Value>, at: &Step<'_>) {
        let (old_form, new_form) = match (old, new) {
            (None, None) => return,
            (Some(old), None) => (form(place, old), Form::Null),
            (None, Some(new)) => (Form::Null, form(place, new)),
            (Some(old), Some(new)) => (form(place, old), form(place, new)),
        };
        let descended = match (old_form, new_form) {
            (Form::Map(old), Form::Map(new)) if !(old.is_empty() && new.is_empty()) => {
                self.maps(place, Some(old), Some(new), at);
                true
            }
            (Form::Map(old), Form::Null) if !old.is_empty() => {
                self.maps(place, Some(old), None, at);
                true
            }
            (Form::Null, Form::Map(new)) if !new.is_empty() => {
                self.maps(place, None, Some(new), at);
                true
            }
            (Form::List(old), Form::List(new)) if !(old.is_empty() && new.is_empty()) => {
                self.lists(place, old, new, at)
            }
            (Form::List(old), Form::Null) if !old.is_empty() => self.lists(place, old, &[], at),
            (Form::Null, Form::List(new)) if !new.is_empty() => self.lists(place, &[], new, at),
            (old_form, new_form) => {
                self.change_of_form(place, old_form, new_form, at);
                false
            }
        };
        match (old, new) {
            (None, _) => self.comparison.added.insert(at.path()),
            (_, None) => self.comparison.removed.insert(at.path()),
            (Some(old), Some(new)) if !descended && old != new => self.comparison.modified.insert(at.path()),
            _ => {}
        }
    }

    /// Where a value turned from one form into another, what was below goes and what is below comes.
    fn change_of_form(&mut self, place: Place<'_>, old: Form<'_>, new: Form<'_>, at: &Step<'_>) {
        match (old, new) {
            (Form::Map(old), Form::Leaf | Form::List(_)) => self.maps(place, Some(old), None, at),
            (Form::Leaf | Form::List(_), Form::Map(new)) => self.maps(place, None, Some(new), at),
            _ => {}
        }
    }

    fn maps(
        &mut self,
        place: Place<'_>,
        old: Option<&Map<String, Value>>,
        new: Option<&Map<String, Value>>,
        at: &Step<'_>,
    ) {
        for (name, old_value) in old.into_iter().flatten() {
            let new_value = new.and_then(|new| new.get(name));
            if new_value == Some(old_value) || at.is_managed_fields(name) {
                continue;
            }
            self.pair(member(place, name), Some(old_value), new_value, &Step::Field(at, name));
        }
        for (name, new_value) in new.into_iter().flatten() {
            if old.is_some_and(|old| old.contains_key(name)) || at.is_managed_fields(name) {
                continue;
            }
            self.pair(member(place, name), None, Some(new_value), &Step::Field(at, name));
        }
    }

    /// Compares by identity, not position. Returns false, and compares nothing, if some item has no identity.
    fn lists(&mut self, place: Place<'_>, old: &[Value], new: &[Value], at: &Step<'_>) -> bool {
        if old == new {
            return true;
        }
        let (Some(old_elements), Some(new_elements)) = (elements(place, old), elements(place, new)) else {
            return false;
        };
        let mut pairs: BTreeMap<&PathElement, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
        for (element, value) in old_elements.iter().zip(old) {
            pairs.entry(element).or_default().0.push(value);
        }
        for (element, value) in new_elements.iter().zip(new) {
            pairs.entry(element).or_default().1.push(value);
        }
        for (element, (old, new)) in pairs {
            let at = Step::Item(at, element);
            match (old.as_slice(), new.as_slice()) {
                ([_, _, ..], [_, _, ..]) => {
                    if old != new {
                        self.comparison.modified.insert(at.path());
                    }
                }
                ([_, _, ..], rest) => {
                    if let [one] = rest {
                        self.pair(items(place), None, Some(one), &at);
                    }
                    self.comparison.removed.insert(at.path());
                }
                (rest, [_, _, ..]) => {
                    if let [one] = rest {
                        self.pair(items(place), Some(one), None, &at);
                    }
                    self.comparison.added.insert(at.path());
                }
                (old, new) => {
                    let (old, new) = (old.first().copied(), new.first().copied());
                    if old != new {
                        self.pair(items(place), old, new, &at);
                    }
                }
            }
        }
        true
    }
}
