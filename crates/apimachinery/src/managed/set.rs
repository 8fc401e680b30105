//! Sets of fields.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as MapEntry;
use std::fmt;

use super::element::PathElement;
use crate::schema::{ListType, Node};

/// A set of paths into an object.
///
/// A path is a member by itself: owning `.spec.a` does not imply owning `.spec`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    entries: BTreeMap<PathElement, Entry>,
}

/// Invariant: a member, or something below it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) is_member: bool,
    pub(super) below: FieldSet,
}

impl Entry {
    fn is_empty(&self) -> bool {
        !self.is_member && self.below.is_empty()
    }
}

impl FieldSet {
    /// Whether it has no member.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the path is a member.
    pub fn contains(&self, path: &[PathElement]) -> bool {
        match path {
            [] => false,
            [last] => self.entries.get(last).is_some_and(|entry| entry.is_member),
            [first, rest @ ..] => self.entries.get(first).is_some_and(|entry| entry.below.contains(rest)),
        }
    }

    /// Adds a path; the empty path is nobody's.
    pub fn insert(&mut self, path: impl IntoIterator<Item = PathElement>) {
        let mut path = path.into_iter().peekable();
        let mut set = self;
        while let Some(element) = path.next() {
            let entry = set.entries.entry(element).or_default();
            if path.peek().is_none() {
                entry.is_member = true;
                return;
            }
            set = &mut entry.below;
        }
    }

    /// Every member, parents before what is below them.
    pub fn paths(&self) -> Vec<Vec<PathElement>> {
        let mut paths = Vec::new();
        self.collect_paths(&mut Vec::new(), &mut paths);
        paths
    }

    fn collect_paths(&self, prefix: &mut Vec<PathElement>, paths: &mut Vec<Vec<PathElement>>) {
        for (element, entry) in &self.entries {
            prefix.push(element.clone());
            if entry.is_member {
                paths.push(prefix.clone());
            }
            entry.below.collect_paths(prefix, paths);
            prefix.pop();
        }
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&PathElement, &Entry)> {
        self.entries.iter()
    }

    pub(super) fn entry(&self, element: &PathElement) -> Option<&Entry> {
        self.entries.get(element)
    }

    /// Adds a direct entry, unless it would be empty.
    pub(super) fn add(&mut self, element: PathElement, is_member: bool, below: Self) {
        if !is_member && below.is_empty() {
            return;
        }
        match self.entries.entry(element) {
            MapEntry::Vacant(vacant) => {
                vacant.insert(Entry { is_member, below });
            }
            MapEntry::Occupied(mut occupied) => {
                let entry = occupied.get_mut();
                entry.is_member |= is_member;
                entry.below.unite(below);
            }
        }
    }

    /// Adds every member of the other set.
    pub fn unite(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
            return;
        }
        for (element, entry) in other.entries {
            self.add(element, entry.is_member, entry.below);
        }
    }

    /// The members of both.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut union = self.clone();
        union.unite(other.clone());
        union
    }

    /// The members that are in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut common = Self::default();
        for (element, entry) in &self.entries {
            let Some(theirs) = other.entries.get(element) else { continue };
            let below = entry.below.intersection(&theirs.below);
            common.add(element.clone(), entry.is_member && theirs.is_member, below);
        }
        common
    }

    /// Removes the members of the other set; what is below a removed path stays.
    pub fn subtract(&mut self, other: &Self) {
        for (element, theirs) in &other.entries {
            let Some(entry) = self.entries.get_mut(element) else { continue };
            entry.is_member &= !theirs.is_member;
            entry.below.subtract(&theirs.below);
            if entry.is_empty() {
                self.entries.remove(element);
            }
        }
    }

    /// The members that are not in the other set.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut difference = self.clone();
        difference.subtract(other);
        difference
    }

    /// Keeps only the members at or below these top-level fields.
    pub(super) fn retain_fields(&mut self, keep: impl Fn(&str) -> bool) {
        self.entries.retain(|element, _| matches!(element, PathElement::Field(name) if keep(name)));
    }

    /// With the structure fields above members made members: owning `.a.b.c` owns `.a` too where `a` is a named
    /// field, but not where it is a map's key. Without it, removing the last field would leave an empty struct.
    pub(super) fn with_named_fields(&self, node: Option<Node<'_>>) -> Self {
        let entries = self.entries.iter().map(|(element, entry)| {
            let (named, child) = match element {
                PathElement::Field(name) => (
                    node.is_some_and(|node| node.property(name).is_some()),
                    node.and_then(|node| node.member(name)),
                ),
                PathElement::Key(_) => (false, node.and_then(Node::items)),
                PathElement::Value(_) | PathElement::Index(_) => (false, None),
            };
            let is_member = entry.is_member || (named && !entry.below.is_empty());
            (element.clone(), Entry { is_member, below: entry.below.with_named_fields(child) })
        });
        Self { entries: entries.collect() }
    }

    /// Collapses what lies below a list or map that the schema now calls atomic into the list or map itself.
    pub(super) fn reconcile(&mut self, node: Node<'_>) {
        for (element, entry) in &mut self.entries {
            let child = match element {
                PathElement::Field(name) => node.member(name),
                PathElement::Key(_) => node.items(),
                PathElement::Value(_) | PathElement::Index(_) => None,
            };
            let Some(child) = child else { continue };
            let is_atomic_list = *child.list_type() == ListType::Atomic && child.items().is_some();
            if (is_atomic_list || child.is_atomic_map()) && !entry.below.is_empty() {
                *entry = Entry { is_member: true, below: Self::default() };
            } else {
                entry.below.reconcile(child);
            }
        }
    }
}

impl fmt::Display for FieldSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for path in self.paths() {
            for element in path {
                element.fmt(f)?;
            }
            f.write_str("\n")?;
        }
        Ok(())
    }
}
