//! Pruning of unknown fields and filling in of defaults.

use serde_json::Value;

use super::Node;

pub(super) fn prune(_node: Node<'_>, _value: &mut Value) -> Vec<String> {
    Vec::new()
}

pub(super) fn default(_node: Node<'_>, _value: &mut Value) {}
