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
    /// The parts of a strategic merge patch contradict each other.
    #[error("{0}")]
    Contradictory(String),
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
            Self::Contradictory(_) | Self::Inapplicable(_) => 422,
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_patches_apply_whole_or_not_at_all() {
        let document = json!({"a": {"b/c": 1, "d~e": [1, 2]}});
        let check = |patch: Value, expected: Option<Value>| {
            let patched = json_patch(&document, &patch);
            match expected {
                Some(expected) => assert_eq!(patched.unwrap(), expected, "{patch}"),
                None => assert!(patched.is_err(), "{patch}"),
            }
        };
        check(
            json!([{"op": "replace", "path": "/a/b~1c", "value": 2}]),
            Some(json!({"a": {"b/c": 2, "d~e": [1, 2]}})),
        );
        check(
            json!([{"op": "add", "path": "/a/d~0e/-", "value": 3}]),
            Some(json!({"a": {"b/c": 1, "d~e": [1, 2, 3]}})),
        );
        check(json!([{"op": "test", "path": "/a/b~1c", "value": 1}]), Some(document.clone()));
        check(json!([{"op": "test", "path": "/a/b~1c", "value": 2}]), None);
        check(json!([{"op": "remove", "path": "/a"}, {"op": "remove", "path": "/x"}]), None);
        check(json!({"op": "remove"}), None);
    }

    #[test]
    fn refusals_have_kubernetes_status_codes() {
        let check = |result: Result<Value, PatchError>, status: u16| {
            assert_eq!(result.unwrap_err().http_status(), status);
        };
        let document = json!({});
        check(json_patch(&document, &json!([{"op": "test", "path": "/a", "value": 1}])), 422);
        check(json_patch(&document, &json!([{"op": "leap"}])), 400);
        let many: Vec<Value> = (0..10_001).map(|_| json!({"op": "remove", "path": "/a"})).collect();
        check(json_patch(&document, &Value::from(many)), 413);
        check(merge_patch(&document, &json!([])), 400);
        check(strategic_merge(&document, &json!(1), &Schema::permissive()), 400);
    }

    #[test]
    fn a_small_patch_makes_no_large_document() {
        let doubling: Vec<Value> =
            (0..64).map(|n| json!({"op": "copy", "from": "", "path": format!("/copy{n}")})).collect();
        let document = json!({"seed": "x".repeat(1000)});
        assert_eq!(json_patch(&document, &Value::from(doubling)).unwrap_err().http_status(), 413);

        let deepening: Vec<Value> =
            (0..1000).map(|n| json!({"op": "add", "path": "/a".repeat(n + 1), "value": {}})).collect();
        assert_eq!(json_patch(&json!({}), &Value::from(deepening)).unwrap_err().http_status(), 413);
    }

    #[test]
    fn merge_patches_follow_the_examples_of_rfc_7386() {
        let check = |document: Value, patch: Value, expected: Value| {
            assert_eq!(merge_patch(&document, &patch).unwrap(), expected, "{document} {patch}");
        };
        check(json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"}));
        check(json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"}));
        check(json!({"a": "b"}), json!({"a": null}), json!({}));
        check(json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"}));
        check(json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}}));
        check(json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]}));
        check(json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1}));
        check(json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}}));
    }
}
