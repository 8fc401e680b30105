//! The columns of the built-in kinds.

use jiff::Timestamp;
use serde_json::Value;

use super::age::age;
use super::{Column, Columns};

pub(super) fn columns(group: &str, resource: &str) -> Columns {
    let text = Column::derived;
    let wide = |name, cell| Column { priority: 1, ..Column::derived(name, cell) };
    let number = |name, cell| Column { kind: "integer".to_owned(), ..Column::derived(name, cell) };
    let created = || Column { kind: "date".to_owned(), ..Column::derived("Created At", created_cell) };
    let age = || Column::derived("Age", age_cell);
    match (group, resource) {
        ("", "pods") => Columns::new(vec![
            text("Ready", pod::ready),
            text("Status", pod::status),
            text("Restarts", pod::restarts),
            age(),
            wide("IP", pod::ip),
            wide("Node", pod::node),
        ]),
        ("", "namespaces") => Columns::new(vec![text("Status", |o, _| at(o, "/status/phase")), age()]),
        ("", "secrets") => {
            Columns::new(vec![text("Type", |o, _| at(o, "/type")), number("Data", data_count), age()])
        }
        ("", "configmaps") => Columns::new(vec![number("Data", data_count), age()]),
        ("", "serviceaccounts") => {
            Columns::new(vec![number("Secrets", |o, _| count(o, &["secrets"])), age()])
        }
        ("", "persistentvolumeclaims") => Columns::new(vec![
            text("Status", |o, _| at(o, "/status/phase")),
            text("Volume", |o, _| at(o, "/spec/volumeName")),
            text("Capacity", |o, _| at(o, "/status/capacity/storage")),
            text("Access Modes", access_modes),
            text("StorageClass", |o, _| at(o, "/spec/storageClassName")),
            age(),
            wide("VolumeMode", |o, _| at(o, "/spec/volumeMode")),
        ]),
        ("" | "events.k8s.io", "events") => event_columns(),
        ("coordination.k8s.io", "leases") => {
            Columns::new(vec![text("Holder", |o, _| at(o, "/spec/holderIdentity")), age()])
        }
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => Columns::new(vec![
            text("Role", role_ref),
            age(),
            wide("Users", |o, _| subjects(o, "User")),
            wide("Groups", |o, _| subjects(o, "Group")),
            wide("ServiceAccounts", |o, _| subjects(o, "ServiceAccount")),
        ]),
        ("rbac.authorization.k8s.io" | "apiextensions.k8s.io", _) => Columns::new(vec![created()]),
        _ => Columns::new(vec![age()]),
    }
}

/// Events are the only built-in kind whose first column is not the name.
fn event_columns() -> Columns {
    let text = Column::derived;
    let wide = |name, cell| Column { priority: 1, ..Column::derived(name, cell) };
    Columns {
        columns: vec![
            text("Last Seen", event::last_seen),
            text("Type", |o, _| at(o, "/type")),
            text("Reason", |o, _| at(o, "/reason")),
            text("Object", event::object),
            wide("Source", event::source),
            text("Message", event::message),
            wide("First Seen", event::first_seen),
            wide("Count", event::count),
            Column { format: "name".to_owned(), ..wide("Name", name_cell) },
        ],
    }
}

pub(super) fn name_cell(object: &Value, _: Timestamp) -> Value {
    at(object, "/metadata/name")
}

pub(super) fn age_cell(object: &Value, now: Timestamp) -> Value {
    Value::from(age_at(object, "/metadata/creationTimestamp", now))
}

fn created_cell(object: &Value, _: Timestamp) -> Value {
    at(object, "/metadata/creationTimestamp")
}

/// A text of the object, empty where there is none.
fn at(object: &Value, pointer: &str) -> Value {
    object.pointer(pointer).filter(|value| !value.is_null()).cloned().unwrap_or_else(|| Value::from(""))
}

fn text_at<'v>(object: &'v Value, pointer: &str) -> &'v str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn age_at(object: &Value, pointer: &str, now: Timestamp) -> String {
    age(text_at(object, pointer), now).unwrap_or_else(|| "<unknown>".to_owned())
}

fn list<'v>(object: &'v Value, pointer: &str) -> &'v [Value] {
    object.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn count(object: &Value, fields: &[&str]) -> Value {
    let size = |field: &&str| match object.get(*field) {
        Some(Value::Array(items)) => items.len(),
        Some(Value::Object(members)) => members.len(),
        _ => 0,
    };
    Value::from(fields.iter().map(size).sum::<usize>())
}

fn data_count(object: &Value, _: Timestamp) -> Value {
    count(object, &["data", "binaryData"])
}

fn access_modes(object: &Value, _: Timestamp) -> Value {
    let short = |mode: &Value| match mode.as_str() {
        Some("ReadWriteOnce") => "RWO",
        Some("ReadOnlyMany") => "ROX",
        Some("ReadWriteMany") => "RWX",
        Some("ReadWriteOncePod") => "RWOP",
        _ => "",
    };
    let bound = list(object, "/status/accessModes");
    let modes = if bound.is_empty() { list(object, "/spec/accessModes") } else { bound };
    Value::from(modes.iter().map(short).collect::<Vec<_>>().join(","))
}

fn role_ref(object: &Value, _: Timestamp) -> Value {
    Value::from(format!("{}/{}", text_at(object, "/roleRef/kind"), text_at(object, "/roleRef/name")))
}

fn subjects(object: &Value, kind: &str) -> Value {
    let of_kind = list(object, "/subjects").iter().filter(|subject| text_at(subject, "/kind") == kind);
    let names: Vec<String> = of_kind
        .map(|subject| match (kind, text_at(subject, "/namespace")) {
            ("ServiceAccount", namespace) => format!("{namespace}/{}", text_at(subject, "/name")),
            _ => text_at(subject, "/name").to_owned(),
        })
        .collect();
    Value::from(names.join(", "))
}

mod pod {
    use super::{Timestamp, Value, at, list, text_at};

    fn statuses(object: &Value) -> &[Value] {
        list(object, "/status/containerStatuses")
    }

    pub(super) fn ready(object: &Value, _: Timestamp) -> Value {
        let n_ready =
            statuses(object).iter().filter(|status| status.get("ready") == Some(&Value::Bool(true))).count();
        Value::from(format!("{n_ready}/{}", list(object, "/spec/containers").len()))
    }

    /// The phase, unless a reason says more.
    pub(super) fn status(object: &Value, _: Timestamp) -> Value {
        let deleted = !text_at(object, "/metadata/deletionTimestamp").is_empty();
        let reason = text_at(object, "/status/reason");
        let mut shown = if reason.is_empty() { text_at(object, "/status/phase") } else { reason };
        if reason.is_empty() {
            for container in statuses(object).iter().rev() {
                let waiting = text_at(container, "/state/waiting/reason");
                let terminated = text_at(container, "/state/terminated/reason");
                if !waiting.is_empty() {
                    shown = waiting;
                } else if !terminated.is_empty() {
                    shown = terminated;
                }
            }
        }
        match (deleted, reason) {
            (true, "NodeLost") => Value::from("Unknown"),
            (true, _) if !matches!(text_at(object, "/status/phase"), "Succeeded" | "Failed") => {
                Value::from("Terminating")
            }
            _ => Value::from(shown),
        }
    }

    pub(super) fn restarts(object: &Value, _: Timestamp) -> Value {
        let restarts = statuses(object).iter().filter_map(|status| status.get("restartCount")?.as_u64());
        Value::from(restarts.sum::<u64>().to_string())
    }

    pub(super) fn ip(object: &Value, _: Timestamp) -> Value {
        or_none(&at(object, "/status/podIP"))
    }

    pub(super) fn node(object: &Value, _: Timestamp) -> Value {
        or_none(&at(object, "/spec/nodeName"))
    }

    fn or_none(value: &Value) -> Value {
        if value == "" { Value::from("<none>") } else { value.clone() }
    }
}

/// Both `v1` and `events.k8s.io/v1` events.
mod event {
    use super::{Timestamp, Value, age_at, at, text_at};

    pub(super) fn last_seen(object: &Value, now: Timestamp) -> Value {
        let times = ["/series/lastObservedTime", "/lastTimestamp", "/deprecatedLastTimestamp", "/eventTime"];
        Value::from(first_age(object, &times, now))
    }

    pub(super) fn first_seen(object: &Value, now: Timestamp) -> Value {
        Value::from(first_age(object, &["/firstTimestamp", "/deprecatedFirstTimestamp", "/eventTime"], now))
    }

    fn first_age(object: &Value, pointers: &[&str], now: Timestamp) -> String {
        let found = pointers.iter().find(|pointer| !text_at(object, pointer).is_empty());
        found.map_or_else(|| "<unknown>".to_owned(), |pointer| age_at(object, pointer, now))
    }

    pub(super) fn object(object: &Value, _: Timestamp) -> Value {
        let involved =
            object.get("involvedObject").or_else(|| object.get("regarding")).unwrap_or(&Value::Null);
        let (kind, name) = (text_at(involved, "/kind").to_lowercase(), text_at(involved, "/name"));
        Value::from(if name.is_empty() { kind } else { format!("{kind}/{name}") })
    }

    pub(super) fn source(object: &Value, _: Timestamp) -> Value {
        let reporting = at(object, "/reportingController");
        let component = at(object, "/source/component");
        if component == "" {
            if reporting == "" { at(object, "/reportingComponent") } else { reporting }
        } else {
            component
        }
    }

    pub(super) fn message(object: &Value, _: Timestamp) -> Value {
        let message = object.get("message").or_else(|| object.get("note")).and_then(Value::as_str);
        Value::from(message.unwrap_or_default().trim())
    }

    pub(super) fn count(object: &Value, _: Timestamp) -> Value {
        let counts = ["/series/count", "/count", "/deprecatedCount"];
        let count = counts.iter().find_map(|pointer| object.pointer(pointer)?.as_u64());
        Value::from(count.unwrap_or(1).to_string())
    }
}
