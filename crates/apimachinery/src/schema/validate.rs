//! Validation of an object against its schema.

use serde_json::Value;

use super::{Node, Previous};
use crate::field::FieldError;

pub(super) fn validate(_node: Node<'_>, _value: &Value, _previous: Previous<'_>) -> Vec<FieldError> {
    Vec::new()
}
