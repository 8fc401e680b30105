//! `metadata.managedFields`: the managers of an object and their field sets.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Writer;
use super::set::FieldSet;
use crate::schema::Node;

/// How a manager came by its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// What makes a manager the same one again. The order is that of Kubernetes' textual identifier, so that lists of
/// conflicts come out in the same order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ManagerKey {
    pub(super) name: String,
    pub(super) operation: Operation,
    /// Updaters are told apart by version, appliers are not (empty).
    pub(super) api_version: String,
    pub(super) subresource: String,
}

impl ManagerKey {
    pub(super) fn of(writer: &Writer<'_>, operation: Operation) -> Self {
        let api_version = match operation {
            Operation::Apply => "",
            Operation::Update => writer.api_version,
        };
        let name = if writer.manager.is_empty() { "unknown" } else { writer.manager };
        Self {
            name: name.to_owned(),
            operation,
            api_version: api_version.to_owned(),
            subresource: writer.subresource.to_owned(),
        }
    }
}

impl std::fmt::Display for ManagerKey {
    /// As the messages about conflicts name a manager.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&crate::field::quote(&self.name))?;
        if !self.subresource.is_empty() {
            write!(f, " with subresource {}", crate::field::quote(&self.subresource))?;
        }
        match self.operation {
            Operation::Apply => Ok(()),
            Operation::Update => write!(f, " using {}", self.api_version),
        }
    }
}

/// One manager's share.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Share {
    pub(super) api_version: String,
    /// RFC 3339, to the second; compared as text, which for UTC is the order of time.
    pub(super) time: Option<String>,
    pub(super) fields: FieldSet,
}

/// All managers of an object.
pub(super) type Managers = BTreeMap<ManagerKey, Share>;

/// The value of `metadata.managedFields`, if there is one.
pub(super) fn raw(object: &Value) -> Option<&Value> {
    object.get("metadata")?.get("managedFields").filter(|value| !value.is_null())
}

/// Reads the managers of an object. Returns `None` if an entry is malformed: such a list counts as absent.
pub(super) fn decode(list: Option<&Value>, schema: Node<'_>) -> Option<Managers> {
    let mut managers = Managers::new();
    let Some(list) = list else { return Some(managers) };
    for entry in list.as_array()? {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        let operation = match text("operation") {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        if text("fieldsType") != "FieldsV1" {
            return None;
        }
        let mut fields = match entry.get("fieldsV1") {
            None | Some(Value::Null) => FieldSet::default(),
            Some(fields) => FieldSet::from_fields_v1(fields).ok()?,
        };
        fields.reconcile(schema);
        let key = ManagerKey {
            name: text("manager").to_owned(),
            operation,
            api_version: if operation == Operation::Update {
                text("apiVersion").to_owned()
            } else {
                String::new()
            },
            subresource: text("subresource").to_owned(),
        };
        let time = entry.get("time").and_then(Value::as_str).map(str::to_owned);
        managers.insert(key, Share { api_version: text("apiVersion").to_owned(), time, fields });
    }
    Some(managers)
}

/// Writes the managers into the object, those that hold nothing left out; none at all removes the list.
pub(super) fn encode(object: &mut Value, managers: &Managers) {
    let mut entries: Vec<(&ManagerKey, &Share)> =
        managers.iter().filter(|(_, share)| !share.fields.is_empty()).collect();
    entries.sort_by(|(a, a_share), (b, b_share)| {
        let rank = |key: &ManagerKey| (key.name.clone(), key.api_version.clone(), key.subresource.clone());
        a.operation
            .cmp(&b.operation)
            .then(a_share.time.cmp(&b_share.time))
            .then_with(|| rank(a).cmp(&rank(b)))
    });
    let list: Vec<Value> = entries.into_iter().map(|(key, share)| encode_entry(key, share)).collect();
    set_raw(object, (!list.is_empty()).then_some(Value::Array(list)));
}

fn encode_entry(key: &ManagerKey, share: &Share) -> Value {
    let mut entry = Map::new();
    let mut put = |name: &str, value: &str| entry.insert(name.to_owned(), Value::from(value));
    put("apiVersion", &share.api_version);
    put("fieldsType", "FieldsV1");
    put("manager", &key.name);
    put("operation", key.operation.name());
    if !key.subresource.is_empty() {
        put("subresource", &key.subresource);
    }
    if let Some(time) = &share.time {
        put("time", time);
    }
    entry.insert("fieldsV1".to_owned(), share.fields.to_fields_v1());
    Value::Object(entry)
}

/// Sets or removes `metadata.managedFields`.
pub(super) fn set_raw(object: &mut Value, list: Option<Value>) {
    let Value::Object(members) = object else { return };
    match list {
        Some(list) => {
            let metadata = members.entry("metadata").or_insert(Value::Null);
            if !metadata.is_object() {
                *metadata = Value::Object(Map::new());
            }
            if let Value::Object(metadata) = metadata {
                metadata.insert("managedFields".to_owned(), list);
            }
        }
        None => {
            if let Some(Value::Object(metadata)) = members.get_mut("metadata") {
                metadata.remove("managedFields");
            }
        }
    }
}

/// Takes `metadata.managedFields` out of an object.
pub(super) fn take_raw(object: &mut Value) -> Option<Value> {
    object.get_mut("metadata")?.as_object_mut()?.remove("managedFields").filter(|value| !value.is_null())
}

/// The fields the system sets, which nobody manages.
pub(super) fn strip_system_fields(fields: &mut FieldSet) {
    let field = |name: &str| super::PathElement::Field(name.to_owned());
    let mut system = FieldSet::default();
    for name in ["apiVersion", "kind", "metadata"] {
        system.insert([field(name)]);
    }
    for name in SYSTEM_METADATA {
        system.insert([field("metadata"), field(name)]);
    }
    fields.subtract(&system);
}

const SYSTEM_METADATA: [&str; 9] = [
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "clusterName",
    "generation",
    "managedFields",
    "resourceVersion",
];
