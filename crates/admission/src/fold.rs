//! Comparing field names as the reader of the object does.

/// Whether a key is read as `field`. Argo reads Workflows with Go's encoding/json, which takes a field under any case:
/// `hostnetwork` is as good as `hostNetwork` there, so that it must be here.
pub(crate) fn is_field(key: &str, field: &str) -> bool {
    key.eq_ignore_ascii_case(field)
}
