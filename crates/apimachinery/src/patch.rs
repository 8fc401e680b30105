//! The three patches of the Kubernetes API that are not apply.
//!
//! All take the current document and return the patched copy; what may be patched, and what the result must look
//! like, is judged by the caller.

mod json;
mod merge;
mod strategic;

use serde_json::Value;

use crate::schema::Schema;

/// Why a patch does not apply; [`PatchError::http_status`] says how a server answers.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// The patch document is not a patch of its type.
    #[error("{0}")]
    Malformed(String),
    /// The patch is longer than allowed.
    #[error("{0}")]
    TooLarge(String),
    /// A `test` operation did not hold, or a path does not exist in this document.
    #[error("the server rejected our request due to an error in our request")]
    Inapplicable(#[source] json_patch::PatchError),
}

impl PatchError {
    /// The HTTP status Kubernetes answers with: 400, 413 or 422.
    pub fn http_status(&self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::TooLarge(_) => 413,
            Self::Inapplicable(_) => 422,
        }
    }
}

/// `application/json-patch+json` (RFC 6902).
///
/// # Errors
/// Not a list of operations, too many of them, or one that does not apply.
pub fn json_patch(document: &Value, patch: &Value) -> Result<Value, PatchError> {
    json::apply(document, patch)
}

/// `application/merge-patch+json` (RFC 7386).
///
/// # Errors
/// The patch is not an object.
pub fn merge_patch(document: &Value, patch: &Value) -> Result<Value, PatchError> {
    merge::apply(document, patch)
}

/// `application/strategic-merge-patch+json`, for built-in kinds only.
///
/// # Errors
/// The patch is not an object, or a directive or a list in it does not fit the schema.
pub fn strategic_merge(document: &Value, patch: &Value, schema: &Schema) -> Result<Value, PatchError> {
    strategic::apply(document, patch, schema)
}
