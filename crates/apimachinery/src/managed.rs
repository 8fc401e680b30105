//! Server-side apply and the tracking of who manages which field.
//!
//! The semantics are those of `structured-merge-diff` and of the field manager layers of the Kubernetes API server,
//! driven by the schema. `metadata.managedFields` of the live object is the only state.
//!
//! An API server calls [`apply`] for an apply patch and [`update`] for every other write (create, replace, any
//! other patch), after it has defaulted the new object and before it stores it.

mod apply;
mod codec;
mod element;
mod entries;
mod set;
mod typed;
mod update;

use jiff::Timestamp;
use serde_json::Value;

pub use codec::CodecError;
pub use element::PathElement;
pub use set::FieldSet;

use crate::schema::Schema;

/// Who writes, when, and through which door.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// The field manager: query parameter `fieldManager`, else the user agent up to its first `/`
    /// ([`manager_from_user_agent`]).
    pub manager: &'a str,
    /// `apiVersion` of the request.
    pub api_version: &'a str,
    /// The subresource written through, empty for the object itself.
    pub subresource: &'a str,
    /// Time of the request.
    pub time: Timestamp,
}

/// What to do where another manager holds a different value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnConflict {
    /// Refuse with [`ApplyError::Conflicts`].
    Fail,
    /// Take the fields (`force=true`).
    Force,
}

/// The fields a request may not change, whatever it says: `status` for the object itself, everything else for the
/// status subresource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All fields may be written: a kind without status subresource, or a create that keeps its status.
    Whole,
    /// Everything but `status`.
    ExceptStatus,
    /// Only `status` (and `metadata` is left as it is).
    OnlyStatus,
}

/// What came of an apply.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The object to store.
    pub object: Value,
    /// Whether it differs from the live object, `managedFields` included. An unchanged object must not be written:
    /// its `resourceVersion` stays.
    pub changed: bool,
}

/// One field another manager holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The other manager, as `"kubectl-client-side-apply" using v1`.
    pub manager: String,
    /// The field, as `.data.foo`.
    pub field: String,
}

impl Conflict {
    /// The `message` of the `Status` cause (reason `FieldManagerConflict`).
    pub fn message(&self) -> String {
        format!("conflict with {}", self.manager)
    }
}

/// Why an apply is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ApplyError {
    /// 409: other managers hold fields with other values. `Display` is the message of the `Status`.
    #[error("{}", conflict_message(.0))]
    Conflicts(Vec<Conflict>),
    /// 400: the applied document is not acceptable.
    #[error("{0}")]
    Invalid(String),
    /// 500: the live object or a manager's field set cannot be read with this schema.
    #[error("failed to merge: {0}")]
    Merge(String),
}

/// Applies a document to the live object.
///
/// `live` is `None` where the object does not exist yet; the result then holds what was applied.
///
/// # Errors
/// See [`ApplyError`].
pub fn apply(
    live: Option<&Value>,
    applied: &Value,
    writer: &Writer<'_>,
    on_conflict: OnConflict,
    schema: &Schema,
    scope: Scope,
) -> Result<Applied, ApplyError> {
    apply::apply(live, applied, writer, on_conflict, schema, scope)
}

/// Records in `new.metadata.managedFields` which fields this write changed.
///
/// `live` is `None` for a create. The fields outside `scope` must already be those of `live`. A write that changes
/// nothing leaves `managedFields` as they are, times included, so that the caller can compare the objects.
pub fn update(live: Option<&Value>, new: Value, writer: &Writer<'_>, schema: &Schema, scope: Scope) -> Value {
    update::update(live, new, writer, schema, scope)
}

/// The field manager Kubernetes derives from a `User-Agent` header.
pub fn manager_from_user_agent(user_agent: &str) -> &str {
    let name = user_agent.split('/').next().unwrap_or_default();
    let mut end = name.len().min(MANAGER_MAX_BYTES);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    if end == 0 { "unknown" } else { &name[..end] }
}

/// Longest name of a field manager.
pub const MANAGER_MAX_BYTES: usize = 128;

impl Scope {
    fn confine(self, fields: &mut FieldSet) {
        match self {
            Self::Whole => {}
            Self::ExceptStatus => fields.retain_fields(|name| name != "status"),
            Self::OnlyStatus => fields.retain_fields(|name| name == "status"),
        }
    }
}

/// As managed fields carry it: UTC, to the second.
fn timestamp(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn conflict_message(conflicts: &[Conflict]) -> String {
    if let [only] = conflicts {
        return format!("Apply failed with 1 conflict: conflict with {}: {}", only.manager, only.field);
    }
    let mut lines = Vec::new();
    let mut manager = None;
    for conflict in conflicts {
        if manager != Some(&conflict.manager) {
            manager = Some(&conflict.manager);
            lines.push(format!("conflicts with {}:", conflict.manager));
        }
        lines.push(format!("- {}", conflict.field));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}

#[cfg(test)]
mod tests;
