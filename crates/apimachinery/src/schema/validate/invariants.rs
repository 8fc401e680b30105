//! What custom resources are held to beside their types: items of sets and map lists must be told apart, and
//! embedded resources must look like resources.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::field::{FieldError, Location};
use crate::names;
use crate::schema::{ListType, MAX_REPORTED, Node, Previous};

/// Errors of embedded resources; those of lists only if the old object had none.
pub(in crate::schema) fn invariants(
    node: Node<'_>,
    value: &Value,
    previous: Previous<'_>,
) -> Vec<FieldError> {
    let mut walk = Walk::default();
    walk.value(node, value, &Location::Root);
    let Walk { mut errors, lists } = walk;
    let tolerated = match previous {
        Previous::Object(old) if !lists.is_empty() => {
            let mut before = Walk::default();
            before.value(node, old, &Location::Root);
            !before.lists.is_empty()
        }
        Previous::Absent | Previous::Object(_) => false,
    };
    if !tolerated {
        errors.extend(lists);
    }
    errors.truncate(MAX_REPORTED);
    errors
}

#[derive(Default)]
struct Walk {
    errors: Vec<FieldError>,
    lists: Vec<FieldError>,
}

impl Walk {
    fn value(&mut self, node: Node<'_>, value: &Value, at: &Location<'_>) {
        if !node.data.has_invariants || self.errors.len() + self.lists.len() >= MAX_REPORTED {
            return;
        }
        match value {
            Value::Object(members) => {
                if node.data.embedded_resource {
                    self.embedded(members, at);
                }
                for (name, member) in members {
                    if let Some(schema) = node.property(name) {
                        self.value(schema, member, &Location::Field(at, name));
                    } else if let Some(schema) = node.entry() {
                        self.value(schema, member, &Location::Key(at, name));
                    }
                }
            }
            Value::Array(items) => {
                match node.list_type() {
                    ListType::Atomic => {}
                    ListType::Set => self.unique(items.iter().cloned(), at),
                    ListType::Map(keys) => self.map_list(keys, items, at),
                }
                let Some(schema) = node.items().filter(|schema| schema.data.has_invariants) else { return };
                for (index, item) in items.iter().enumerate() {
                    self.value(schema, item, &Location::Index(at, index));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn map_list(&mut self, keys: &[String], items: &[Value], at: &Location<'_>) {
        let strange = items.iter().enumerate().find(|(_, item)| !item.is_object() && !item.is_null());
        if let Some((index, item)) = strange {
            let problem = "must be an object for an array of list-type map";
            self.lists.push(FieldError::invalid(
                Location::Index(at, index).to_string(),
                item.clone(),
                problem,
            ));
            return;
        }
        self.unique(items.iter().map(|item| key_of(keys, item)), at);
    }

    /// Reports the second of several equal values.
    fn unique(&mut self, values: impl Iterator<Item = Value>, at: &Location<'_>) {
        // The text of a value is canonical: object keys are sorted.
        let mut seen: HashMap<String, u32> = HashMap::new();
        for (index, value) in values.enumerate() {
            let times = seen.entry(value.to_string()).or_default();
            *times += 1;
            if *times == 2 {
                self.lists.push(FieldError::duplicate(Location::Index(at, index).to_string(), value));
            }
        }
    }

    fn embedded(&mut self, members: &Map<String, Value>, at: &Location<'_>) {
        for name in ["apiVersion", "kind"] {
            let field = Location::Field(at, name).to_string();
            match members.get(name) {
                None => self.errors.push(FieldError::required(field, "")),
                Some(Value::String(text)) => {
                    let problem = match name {
                        _ if text.is_empty() => Some("must not be empty".to_owned()),
                        "apiVersion" => (text.matches('/').count() > 1)
                            .then(|| format!("unexpected GroupVersion string: {text}")),
                        _ => kind_problem(text),
                    };
                    self.errors
                        .extend(problem.map(|problem| FieldError::invalid(field, text.as_str(), problem)));
                }
                Some(other) => {
                    self.errors.push(FieldError::invalid(field, other.clone(), "must be a string"));
                }
            }
        }
        if let Some(Value::Object(metadata)) = members.get("metadata") {
            self.metadata(metadata, &Location::Field(at, "metadata"));
        }
    }

    fn metadata(&mut self, metadata: &Map<String, Value>, at: &Location<'_>) {
        let field = |name| Location::Field(at, name).to_string();
        if let Some(name) = metadata.get("name").and_then(Value::as_str) {
            self.errors.extend(names::as_errors(&field("name"), name, &names::path_segment(name)));
        }
        if let Some(Value::Object(labels)) = metadata.get("labels") {
            self.errors.extend(names::labels(&field("labels"), labels));
        }
        if let Some(Value::Object(annotations)) = metadata.get("annotations") {
            self.errors.extend(names::annotations(&field("annotations"), annotations));
        }
    }
}

fn kind_problem(kind: &str) -> Option<String> {
    let wrong = names::dns1035_label(&kind.to_lowercase());
    (!wrong.is_empty())
        .then(|| format!("may have mixed case, but should otherwise match: {}", wrong.join(",")))
}

/// The key fields an item has.
fn key_of(keys: &[String], item: &Value) -> Value {
    let fields = keys.iter().filter_map(|key| Some((key.clone(), item.get(key)?.clone())));
    Value::Object(fields.collect())
}

/// The items of an old list by their keys; only map lists can tell which item continues which.
pub(in crate::schema) struct OldItems<'v> {
    keys: &'v [String],
    by_key: HashMap<String, &'v Value>,
}

impl<'v> OldItems<'v> {
    pub(in crate::schema) fn new(node: Node<'v>, old: Option<&'v Value>) -> Self {
        let ListType::Map(keys) = node.list_type() else { return Self { keys: &[], by_key: HashMap::new() } };
        let mut by_key = HashMap::new();
        for item in old.and_then(Value::as_array).into_iter().flatten() {
            by_key.entry(key_of(keys, item).to_string()).or_insert(item);
        }
        Self { keys, by_key }
    }

    pub(in crate::schema) fn get(&self, item: &Value) -> Option<&'v Value> {
        if self.by_key.is_empty() {
            return None;
        }
        self.by_key.get(&key_of(self.keys, item).to_string()).copied()
    }
}
