//! From compiled nodes to a schema: references are resolved, unions made, and nodes marked that need extra walks.

use std::sync::Arc;

use super::{Compiler, Source};
use crate::schema::model::{Additional, Arena, NodeData, NodeId};
use crate::schema::{ListType, PatchStrategy, Schema};

impl Compiler<'_> {
    pub(super) fn finish(mut self) -> Schema {
        for id in 0..self.nodes.len() {
            self.dereference(id);
        }
        for id in 0..self.nodes.len() {
            self.unite(id);
        }
        for id in 0..self.nodes.len() {
            let has_default = |child: &NodeId| self.nodes[*child as usize].default.is_some();
            let properties = &self.nodes[id].properties;
            let defaulted =
                properties.iter().filter(|(_, child)| has_default(child)).map(|(name, _)| name.clone());
            self.nodes[id].defaulted = defaulted.collect();
        }
        if matches!(self.source, Source::CustomResource) {
            self.mark();
        }
        let custom = matches!(self.source, Source::CustomResource);
        Schema { arena: Arc::new(Arena { nodes: self.nodes, custom }) }
    }

    /// Makes one node of the alternatives of a type such as "a schema or a boolean": it has the types and the
    /// members of all of them.
    fn unite(&mut self, id: usize) {
        for alternative in std::mem::take(&mut self.nodes[id].union_of) {
            let other = self.nodes[alternative as usize].clone();
            let node = &mut self.nodes[id];
            node.types.add(other.types);
            node.preserve_unknown |= other.preserve_unknown;
            node.properties.extend(other.properties);
            node.items = node.items.or(other.items);
            if node.additional == Additional::Unknown {
                node.additional = other.additional;
            }
        }
    }

    /// Notes which parts of a custom resource's schema need the walks that most parts do not. Children are compiled
    /// after their parents, so that one pass from the end sees them first.
    fn mark(&mut self) {
        for id in (0..self.nodes.len()).rev() {
            let node = &self.nodes[id];
            let entry = match node.additional {
                Additional::Schema(entry) => Some(entry),
                Additional::Unknown => None,
            };
            let below: Vec<NodeId> =
                node.properties.values().copied().chain(node.items).chain(entry).collect();
            let any_below =
                |has: fn(&NodeData) -> bool| below.iter().any(|child| has(&self.nodes[*child as usize]));
            let has_rules = !node.rules.is_empty() || any_below(|child| child.has_rules);
            let has_invariants = node.embedded_resource
                || node.list_type != ListType::Atomic
                || any_below(|child| child.has_invariants);
            self.nodes[id].has_rules = has_rules;
            self.nodes[id].has_invariants = has_invariants;
        }
    }

    /// Replaces a reference by a copy of its target, what was said beside it taking precedence.
    fn dereference(&mut self, id: usize) {
        let mut target = self.nodes[id].same_as;
        // References may lead to references; more hops than nodes is a circle that defines nothing.
        for _ in 0..self.nodes.len() {
            match target.and_then(|next| self.nodes[next as usize].same_as) {
                Some(next) => target = Some(next),
                None => break,
            }
        }
        let Some(target) = target else { return };
        let mut node = self.nodes[target as usize].clone();
        node.same_as = None;
        let beside = &self.nodes[id];
        node.nullable |= beside.nullable;
        node.atomic_map |= beside.atomic_map;
        if beside.default.is_some() {
            node.default.clone_from(&beside.default);
        }
        if beside.list_type != ListType::Atomic {
            node.list_type = beside.list_type.clone();
        }
        if beside.patch_strategy != PatchStrategy::default() {
            node.patch_key.clone_from(&beside.patch_key);
            node.patch_strategy = beside.patch_strategy;
        }
        self.nodes[id] = node;
    }
}
