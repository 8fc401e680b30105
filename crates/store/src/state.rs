//! What is in memory: the current entries, the ring of recent changes, the open watchers.
//!
//! Only the writer thread changes it, after a commit; readers take the lock for moments.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use crate::config::Config;
use crate::error::RangeError;
use crate::log::Row;
use crate::types::{Change, Entry, Operation, Page, Range, Revision};
use crate::watch::Watchers;

pub(crate) struct State {
    pub(crate) current: BTreeMap<Arc<str>, Entry>,
    pub(crate) revision: Revision,
    pub(crate) compacted: Revision,
    pub(crate) ring: Ring,
    pub(crate) watchers: Watchers,
}

/// What keys held at an earlier revision, where that differs from now.
pub(crate) type Overlay = BTreeMap<Arc<str>, Option<Entry>>;

impl State {
    pub(crate) fn new(compacted: Revision, config: &Config) -> Self {
        Self {
            current: BTreeMap::new(),
            revision: compacted.max(Revision::FIRST),
            compacted,
            ring: Ring {
                changes: VecDeque::new(),
                bytes: 0,
                max_changes: config.ring_changes,
                max_bytes: config.ring_bytes,
            },
            watchers: Watchers::default(),
        }
    }

    /// Takes up a row of the log at start.
    pub(crate) fn replay(&mut self, row: Row) {
        let previous = self.current.get(&row.key).filter(|entry| entry.revision == row.previous).cloned();
        let change = Change {
            key: row.key,
            revision: row.revision,
            operation: row.operation,
            value: row.value,
            previous,
        };
        self.revision = self.revision.max(change.revision);
        self.enter(&change);
        if change.revision > self.compacted {
            self.ring.push(Arc::new(change));
        }
    }

    /// Takes up a committed change and tells the watchers.
    pub(crate) fn apply(&mut self, change: Change) {
        self.enter(&change);
        let change = Arc::new(change);
        self.watchers.publish(&change);
        self.revision = change.revision;
        self.ring.push(change);
    }

    fn enter(&mut self, change: &Change) {
        match change.operation {
            Operation::Put => {
                let entry = Entry { revision: change.revision, value: change.value.clone() };
                self.current.insert(Arc::clone(&change.key), entry);
            }
            Operation::Delete => {
                self.current.remove(&change.key);
            }
        }
    }

    /// Whether the state at `at` can be told from memory; an error when it cannot be told at all.
    pub(crate) fn reaches(&self, at: Revision) -> Result<bool, RangeError> {
        if at < self.compacted {
            Err(RangeError::Compacted { compacted: self.compacted })
        } else if at > self.revision {
            Err(RangeError::Future { requested: at, current: self.revision })
        } else {
            Ok(at == self.revision || self.ring.covers(at))
        }
    }

    /// What the range held at `at`, given what differs; `overlay` need not cover what is in the ring.
    pub(crate) fn page_at(&self, range: &Range<'_>, at: Revision, mut overlay: Overlay) -> Page {
        for change in self.ring.after(at).filter(|change| change.key.starts_with(range.prefix)) {
            overlay.entry(Arc::clone(&change.key)).or_insert_with(|| change.previous.clone());
        }
        let after = range.start_after.unwrap_or_default();
        let mut then = overlay.iter().filter(|(key, _)| key.as_ref() > after || after.is_empty()).peekable();
        let mut now = self.within(range).peekable();
        // Two sorted sequences in step; where both have a key, what was then counts.
        let merged = std::iter::from_fn(move || {
            loop {
                match (now.peek(), then.peek()) {
                    (Some((key, _)), Some((other, _))) if key < other => return now.next(),
                    (_, None) => return now.next(),
                    (at, Some((other, _))) => {
                        if at.is_some_and(|(key, _)| key == other) {
                            now.next();
                        }
                        if let Some((key, Some(entry))) = then.next() {
                            return Some((key, entry));
                        }
                    }
                }
            }
        });
        page(merged, range.limit, at)
    }

    pub(crate) fn page(&self, range: &Range<'_>) -> Page {
        page(self.within(range), range.limit, self.revision)
    }

    fn within<'a>(&'a self, range: &'a Range<'_>) -> impl Iterator<Item = (&'a Arc<str>, &'a Entry)> {
        let start = match range.start_after {
            Some(after) if after >= range.prefix => Bound::Excluded(after),
            _ => Bound::Included(range.prefix),
        };
        self.current
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(range.prefix))
    }
}

fn page<'a>(
    mut entries: impl Iterator<Item = (&'a Arc<str>, &'a Entry)>,
    limit: Option<usize>,
    revision: Revision,
) -> Page {
    let taken = entries
        .by_ref()
        .take(limit.unwrap_or(usize::MAX))
        .map(|(key, entry)| (Arc::clone(key), entry.clone()))
        .collect();
    Page { entries: taken, revision, more: entries.next().is_some() }
}

/// The latest changes, bounded in number and bytes.
pub(crate) struct Ring {
    changes: VecDeque<Arc<Change>>,
    bytes: usize,
    max_changes: usize,
    max_bytes: usize,
}

impl Ring {
    fn push(&mut self, change: Arc<Change>) {
        self.bytes += change.weight();
        self.changes.push_back(change);
        while self.changes.len() > self.max_changes || self.bytes > self.max_bytes {
            let Some(dropped) = self.changes.pop_front() else { break };
            self.bytes -= dropped.weight();
        }
    }

    pub(crate) fn drop_through(&mut self, revision: Revision) {
        while let Some(first) = self.changes.front() {
            if first.revision > revision {
                break;
            }
            self.bytes -= first.weight();
            self.changes.pop_front();
        }
    }

    /// The first revision held, if any.
    pub(crate) fn first(&self) -> Option<Revision> {
        self.changes.front().map(|change| change.revision)
    }

    fn covers(&self, at: Revision) -> bool {
        self.first().is_some_and(|first| first <= at.next())
    }

    /// The changes after `at`, oldest first, as far as they are held.
    pub(crate) fn after(&self, at: Revision) -> impl Iterator<Item = &Arc<Change>> {
        // Revisions are consecutive, so the place of one follows from the first.
        let skip = self.first().map_or(0, |first| (at.0 + 1).saturating_sub(first.0));
        self.changes.range(usize::try_from(skip).unwrap_or(usize::MAX).min(self.changes.len())..)
    }
}
