//! The words of the store: revisions, values, entries, changes.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// A point in the history of the whole store; every write makes the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision of a store nothing was written to.
    pub const FIRST: Self = Self(1);

    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Bytes to be written, with at most one place for their revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    bytes: Bytes,
    revision_at: Option<usize>,
}

impl Value {
    /// Bytes that are kept as they are.
    pub fn plain(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), revision_at: None }
    }

    /// Bytes into which the store inserts the revision of the write, in decimal, before the byte at `offset` (at the
    /// end when `offset` lies beyond it).
    pub fn with_revision_at(bytes: impl Into<Bytes>, offset: usize) -> Self {
        let bytes = bytes.into();
        let revision_at = Some(offset.min(bytes.len()));
        Self { bytes, revision_at }
    }

    /// The bytes, without the revision.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn render(&self, revision: Revision) -> Bytes {
        let Some(at) = self.revision_at else { return self.bytes.clone() };
        let digits = revision.to_string();
        let mut out = Vec::with_capacity(self.bytes.len() + digits.len());
        out.extend_from_slice(&self.bytes[..at]);
        out.extend_from_slice(digits.as_bytes());
        out.extend_from_slice(&self.bytes[at..]);
        out.into()
    }
}

/// What a key holds: the value and the revision that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The revision of the write that put the value here.
    pub revision: Revision,
    /// The value.
    pub value: Bytes,
}

/// What must hold for a write to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Anything,
    /// The key holds nothing.
    Absent,
    /// The key holds something.
    Present,
    /// The key holds what this revision wrote.
    Revision(Revision),
}

/// What a change did to its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// The key got a value.
    Put,
    /// The key lost its value.
    Delete,
}

/// One write, as watchers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key written to.
    pub key: Arc<str>,
    /// The revision of the write.
    pub revision: Revision,
    /// Put or delete.
    pub operation: Operation,
    /// The new value; for a delete the last words given with it (empty when there were none).
    pub value: Bytes,
    /// What the key held before.
    pub previous: Option<Entry>,
}

impl Change {
    pub(crate) fn weight(&self) -> usize {
        self.key.len() + self.value.len() + self.previous.as_ref().map_or(0, |p| p.value.len()) + 96
    }
}

/// Which entries to read.
#[derive(Debug, Clone, Default)]
pub struct Range<'a> {
    /// Only keys that start so.
    pub prefix: &'a str,
    /// Only keys after this one.
    pub start_after: Option<&'a str>,
    /// At most so many (all when absent).
    pub limit: Option<usize>,
    /// The state at this revision (the latest when absent).
    pub at: Option<Revision>,
}

/// Entries in key order, all from one revision of the store.
#[derive(Debug, Clone)]
pub struct Page {
    /// Keys and what they held.
    pub entries: Vec<(Arc<str>, Entry)>,
    /// The revision of the store they are from.
    pub revision: Revision,
    /// Whether the range has entries beyond the limit.
    pub more: bool,
}

/// What a store has done since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Transactions committed; each is one fsync of the write-ahead log (checkpoints come on top).
    pub commits: u64,
    /// Writes acknowledged.
    pub acknowledged: u64,
    /// Rows of history removed.
    pub compacted: u64,
    /// Watchers open now.
    pub watchers: u64,
}
