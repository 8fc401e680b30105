//! The compiled form of a schema: an arena of nodes, because the schemas of some kinds are recursive.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Number, Value};

use super::rules::Rule;

pub(crate) type NodeId = u32;

#[derive(Debug)]
pub(crate) struct Arena {
    pub(super) nodes: Vec<NodeData>,
    /// Whether Kubernetes would judge the object by this schema alone (custom resources), or by code of its own
    /// that is laxer about duplicates in keyed lists (built-in kinds).
    pub(super) custom: bool,
}

/// The JSON types a value may have; none named is every type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Types(u8);

const TYPE_NAMES: [&str; 6] = ["object", "array", "boolean", "integer", "number", "string"];

impl Types {
    pub(super) const OBJECT: Self = Self(1);
    pub(super) const ARRAY: Self = Self(1 << 1);
    pub(super) const BOOLEAN: Self = Self(1 << 2);
    pub(super) const INTEGER: Self = Self(1 << 3);
    pub(super) const NUMBER: Self = Self(1 << 4);
    pub(super) const STRING: Self = Self(1 << 5);
    pub(super) const NUMERIC: Self = Self((1 << 3) | (1 << 4));
    pub(super) const INTEGER_OR_STRING: Self = Self((1 << 3) | (1 << 5));

    pub(super) fn named(name: &str) -> Option<Self> {
        TYPE_NAMES.iter().position(|known| *known == name).map(|bit| Self(1 << bit))
    }

    pub(super) fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(super) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn is_any(self) -> bool {
        self == Self::default()
    }

    /// The names as the messages show them, `integer,string`.
    pub(super) fn names(self) -> String {
        let held = TYPE_NAMES.iter().enumerate().filter(|(bit, _)| self.0 & (1 << bit) != 0);
        held.map(|(_, name)| *name).collect::<Vec<_>>().join(",")
    }
}

/// `x-kubernetes-list-type`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ListType {
    /// One value as a whole.
    #[default]
    Atomic,
    /// Scalars, each at most once.
    Set,
    /// Objects told apart by these keys.
    Map(Vec<String>),
}

/// `x-kubernetes-patch-strategy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PatchStrategy {
    /// Lists are merged, by key or as sets of scalars.
    pub(crate) merge: bool,
    /// Fields the patch does not retain are dropped.
    pub(crate) retain_keys: bool,
}

/// What may stand in an object beside its properties.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Additional {
    /// Nothing: it is pruned.
    #[default]
    Unknown,
    /// Entries of this schema.
    Schema(NodeId),
}

#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "they mirror the flags of the OpenAPI vocabulary")]
pub(crate) struct NodeData {
    /// While compiling: a reference to be replaced by its target.
    pub(super) same_as: Option<NodeId>,
    /// While compiling: the alternatives of a type that is one of several, to be united.
    pub(super) union_of: Vec<NodeId>,
    pub(super) types: Types,
    pub(super) nullable: bool,
    pub(super) int_or_string: bool,
    pub(super) preserve_unknown: bool,
    pub(super) embedded_resource: bool,
    pub(super) properties: BTreeMap<String, NodeId>,
    /// Those properties that have a default.
    pub(super) defaulted: Vec<String>,
    pub(super) additional: Additional,
    pub(super) items: Option<NodeId>,
    pub(super) list_type: ListType,
    pub(super) atomic_map: bool,
    pub(super) patch_key: Option<String>,
    pub(super) patch_strategy: PatchStrategy,
    pub(super) default: Option<Value>,
    pub(super) checks: Option<Box<Checks>>,
    pub(super) rules: Vec<Rule>,
    /// Whether this node or one below it is a set, a map list or an embedded resource of a custom resource.
    pub(super) has_invariants: bool,
    /// Whether this node or one below it has rules.
    pub(super) has_rules: bool,
}

/// The value constraints of a node; most nodes have none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checks {
    pub(super) required: Vec<String>,
    pub(super) one_of_values: Option<Vec<Value>>,
    pub(super) pattern: Option<Regex>,
    pub(super) format: Option<String>,
    pub(super) min_length: Option<u64>,
    pub(super) max_length: Option<u64>,
    pub(super) min_items: Option<u64>,
    pub(super) max_items: Option<u64>,
    pub(super) unique_items: bool,
    pub(super) min_properties: Option<u64>,
    pub(super) max_properties: Option<u64>,
    pub(super) minimum: Option<Number>,
    pub(super) maximum: Option<Number>,
    pub(super) exclusive_minimum: bool,
    pub(super) exclusive_maximum: bool,
    pub(super) multiple_of: Option<Number>,
    pub(super) all_of: Vec<NodeId>,
    pub(super) any_of: Vec<NodeId>,
    pub(super) one_of: Vec<NodeId>,
    pub(super) not: Option<NodeId>,
}

/// A place in a schema.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node<'a> {
    arena: &'a Arena,
    pub(super) data: &'a NodeData,
}

impl<'a> Node<'a> {
    pub(crate) fn root(arena: &'a Arena) -> Self {
        Self { arena, data: &arena.nodes[0] }
    }

    /// Node ids only come from the compiler, which made the arena they point into.
    pub(super) fn at(self, id: NodeId) -> Self {
        Self { arena: self.arena, data: &self.arena.nodes[id as usize] }
    }

    /// The schema of a named property (not of a map's entry).
    pub(crate) fn property(self, name: &str) -> Option<Self> {
        self.data.properties.get(name).map(|id| self.at(*id))
    }

    /// The schema of an object's member: property, map entry, or an unknown one that is preserved.
    pub(crate) fn member(self, name: &str) -> Option<Self> {
        self.property(name).or_else(|| self.entry())
    }

    /// The schema of a map's entries.
    pub(crate) fn entry(self) -> Option<Self> {
        match self.data.additional {
            Additional::Schema(id) => Some(self.at(id)),
            Additional::Unknown => None,
        }
    }

    /// The schema of a list's items.
    pub(crate) fn items(self) -> Option<Self> {
        self.data.items.map(|id| self.at(id))
    }

    pub(crate) fn list_type(self) -> &'a ListType {
        &self.data.list_type
    }

    pub(crate) fn is_atomic_map(self) -> bool {
        self.data.atomic_map
    }

    pub(crate) fn patch_key(self) -> Option<&'a str> {
        self.data.patch_key.as_deref()
    }

    pub(crate) fn patch_strategy(self) -> PatchStrategy {
        self.data.patch_strategy
    }

    /// See [`Arena::custom`].
    pub(super) fn is_custom(self) -> bool {
        self.arena.custom
    }

    pub(crate) fn default_value(self) -> Option<&'a Value> {
        self.data.default.as_ref()
    }

    pub(super) fn has_rules(self) -> bool {
        self.data.has_rules
    }

    /// Whether the schema asks for a type.
    pub(super) fn says_type(self) -> bool {
        !self.data.types.is_any() || self.data.int_or_string
    }

    /// Whether the schema says `nullable`.
    pub(crate) fn is_explicitly_nullable(self) -> bool {
        self.data.nullable
    }

    pub(super) fn defaulted_properties(self) -> impl Iterator<Item = (&'a str, Self)> {
        self.data.defaulted.iter().filter_map(move |name| Some((name.as_str(), self.property(name)?)))
    }

    pub(crate) fn preserves_unknown(self) -> bool {
        self.data.preserve_unknown
    }
}
