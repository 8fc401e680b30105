//! JSON patch.

use serde_json::Value;

use super::PatchError;

/// As in Kubernetes.
const MAX_OPERATIONS: usize = 10_000;

pub(super) fn apply(document: &Value, patch: &Value) -> Result<Value, PatchError> {
    let n_operations = patch.as_array().map_or(0, Vec::len);
    if n_operations > MAX_OPERATIONS {
        return Err(PatchError::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {n_operations}"
        )));
    }
    let operations: json_patch::Patch = serde_json::from_value(patch.clone())
        .map_err(|error| PatchError::Malformed(format!("error decoding patch: {error}")))?;
    let mut patched = document.clone();
    json_patch::patch(&mut patched, &operations).map_err(PatchError::Inapplicable)?;
    Ok(patched)
}
