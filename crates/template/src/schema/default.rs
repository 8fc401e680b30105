//! Defaults for what is left out.

use serde_json::{Map, Value as Json};

use super::{Field, Kind};

/// Adds defaults to `value`, at every level. Unlike Kubernetes, it makes an object that is left out from the
/// defaults of its fields, so that a run without any parameters gets all of them. Explicit nulls stay.
pub(super) fn fill(field: &Field, value: &mut Json) {
    match (&field.kind, value) {
        (Kind::Object(fields), Json::Object(entries)) => {
            for (name, field) in fields {
                if let Some(value) = entries.get_mut(name) {
                    fill(field, value);
                } else if let Some(mut value) = absent(field) {
                    fill(field, &mut value);
                    entries.insert(name.clone(), value);
                }
            }
        }
        (Kind::List(element), Json::Array(items)) => items.iter_mut().for_each(|item| fill(element, item)),
        (Kind::Map(element), Json::Object(entries)) => {
            entries.values_mut().for_each(|value| fill(element, value));
        }
        _ => {}
    }
}

/// What stands for a field that is left out.
fn absent(field: &Field) -> Option<Json> {
    match (&field.default, &field.kind) {
        (Some(default), _) => Some(default.clone()),
        (None, Kind::Object(_)) => Some(Json::Object(Map::new())),
        (None, _) => None,
    }
}
