//! Schemas of fields whose content the API does not describe.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};

/// A JSON object with any content.
pub type Object = Map<String, Value>;

/// The schema of an [`Object`]: kept as it is written.
pub(crate) fn object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// The schema of a list of objects with any content.
pub(crate) fn objects(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    })
}
