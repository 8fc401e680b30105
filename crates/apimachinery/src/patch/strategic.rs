//! Strategic merge patch.

use serde_json::Value;

use super::PatchError;
use crate::schema::Schema;

pub(super) fn apply(document: &Value, patch: &Value, _schema: &Schema) -> Result<Value, PatchError> {
    super::merge_patch(document, patch)
}
