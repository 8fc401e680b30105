//! JSON patch.

use json_patch::{AddOperation, CopyOperation, MoveOperation, Patch, PatchOperation, ReplaceOperation};
use serde_json::Value;

use super::PatchError;

/// As in Kubernetes.
const MAX_OPERATIONS: usize = 10_000;
/// All that `copy` operations copy together: each can double the document.
const MAX_COPIED_BYTES: usize = 3 << 20;
/// Deepest nesting a patch may produce; without it, paths that lead ever deeper exhaust the stack.
const MAX_DEPTH: usize = 128;

pub(super) fn apply(document: &Value, patch: &Value) -> Result<Value, PatchError> {
    let n_operations = patch.as_array().map_or(0, Vec::len);
    if n_operations > MAX_OPERATIONS {
        return Err(PatchError::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {n_operations}"
        )));
    }
    let Patch(operations) = serde_json::from_value(patch.clone())
        .map_err(|error| PatchError::Malformed(format!("error decoding patch: {error}")))?;
    let mut patched = document.clone();
    let mut n_copied = 0;
    for operation in &operations {
        n_copied += check(&patched, operation)?;
        if n_copied > MAX_COPIED_BYTES {
            return Err(PatchError::TooLarge(format!("The patch copies more than {MAX_COPIED_BYTES} bytes")));
        }
        json_patch::patch(&mut patched, std::slice::from_ref(operation)).map_err(PatchError::Inapplicable)?;
    }
    Ok(patched)
}

/// Refuses what would nest too deeply; returns how many bytes the operation copies.
fn check(document: &Value, operation: &PatchOperation) -> Result<usize, PatchError> {
    let (path, value) = match operation {
        PatchOperation::Add(AddOperation { path, value })
        | PatchOperation::Replace(ReplaceOperation { path, value }) => (path, Some(value)),
        PatchOperation::Copy(CopyOperation { from, path })
        | PatchOperation::Move(MoveOperation { from, path }) => (path, document.pointer(from.as_str())),
        PatchOperation::Remove(_) | PatchOperation::Test(_) => return Ok(0),
    };
    let depth = path.as_str().matches('/').count() + value.map_or(0, depth);
    if depth > MAX_DEPTH {
        return Err(PatchError::TooLarge(format!("The patch nests deeper than {MAX_DEPTH} levels")));
    }
    let is_copy = matches!(operation, PatchOperation::Copy(_));
    Ok(if is_copy { value.map_or(0, size) } else { 0 })
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Roughly the length of the text.
fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 2 + items.iter().map(|item| 1 + size(item)).sum::<usize>(),
        Value::Object(members) => {
            2 + members.iter().map(|(name, value)| 4 + name.len() + size(value)).sum::<usize>()
        }
        Value::String(text) => 2 + text.len(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
    }
}
