//! The writer thread: the only one that touches SQLite and that changes the state.
//!
//! Commands that wait while a batch is being committed form the next batch: one transaction and one fsync for all of
//! them. Compaction rides along in the same transactions, a slice at a time, so it costs no fsync of its own and never
//! holds the file for long.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use crate::config::Config;
use crate::error::{RangeError, WatchError, WriteError};
use crate::log::{ChangesQuery, Log};
use crate::state::{Overlay, State};
use crate::types::{Change, Entry, Expect, Operation, Page, Range, Revision, Value};
use crate::watch::Watch;

/// More writes than this are not put into one transaction.
const MAX_BATCH: usize = 256;
/// Nor more bytes.
const MAX_BATCH_BYTES: usize = 8 << 20;
/// At most this many revisions are compacted with a batch.
const COMPACTION_SLICE: u64 = 512;
/// Changes read from the log for a watcher that starts further back than memory reaches.
const MAX_BACKLOG: usize = 20_000;

pub(crate) enum Command {
    Write(Write),
    PageAt { range: OwnedRange, at: Revision, reply: oneshot::Sender<Result<Page, RangeError>> },
    Watch { prefix: String, from: Revision, reply: oneshot::Sender<Result<Watch, WatchError>> },
    Compact { to: Revision, reply: oneshot::Sender<Result<(), WriteError>> },
    Close,
}

pub(crate) struct Write {
    pub(crate) key: Arc<str>,
    pub(crate) operation: Operation,
    pub(crate) value: Value,
    pub(crate) expect: Expect,
    pub(crate) reply: oneshot::Sender<Result<Entry, WriteError>>,
}

pub(crate) struct OwnedRange {
    pub(crate) prefix: String,
    pub(crate) start_after: Option<String>,
    pub(crate) limit: Option<usize>,
}

#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) commits: AtomicU64,
    pub(crate) acknowledged: AtomicU64,
    pub(crate) compacted: AtomicU64,
}

pub(crate) struct Writer {
    log: Log,
    state: Arc<RwLock<State>>,
    totals: Arc<Totals>,
    config: Config,
    /// When which revision was the latest, a sample every few seconds; tells how old history is.
    samples: VecDeque<(Instant, Revision)>,
    /// Compaction was asked for up to here.
    requested: Revision,
    /// The disk did not keep what it was told to; nothing may be acknowledged any more.
    broken: bool,
}

impl Writer {
    pub(crate) fn new(log: Log, state: Arc<RwLock<State>>, totals: Arc<Totals>, config: Config) -> Self {
        Self { log, state, totals, config, samples: VecDeque::new(), requested: Revision(0), broken: false }
    }

    pub(crate) fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        while let Some(first) = commands.blocking_recv() {
            let mut batch = Vec::new();
            let mut bytes = 0;
            let mut next = Some(first);
            let mut others = Vec::new();
            while let Some(command) = next {
                match command {
                    Command::Write(write) => {
                        bytes += write.value.bytes().len();
                        batch.push(write);
                    }
                    Command::Close => commands.close(),
                    other => others.push(other),
                }
                let room = batch.len() < MAX_BATCH && bytes < MAX_BATCH_BYTES && others.len() < 64;
                next = if room { commands.try_recv().ok() } else { None };
            }
            if !batch.is_empty() {
                self.write(batch);
            }
            for other in others {
                self.serve(other);
            }
        }
        self.state.write().unwrap_or_else(std::sync::PoisonError::into_inner).watchers.close();
    }

    fn serve(&mut self, command: Command) {
        match command {
            Command::PageAt { range, at, reply } => drop(reply.send(self.page_at(&range, at))),
            Command::Watch { prefix, from, reply } => drop(reply.send(self.watch(&prefix, from))),
            Command::Compact { to, reply } => drop(reply.send(self.compact(to))),
            Command::Write(_) | Command::Close => {}
        }
    }

    fn write(&mut self, batch: Vec<Write>) {
        let mut outcomes = Vec::with_capacity(batch.len());
        let mut changes = Vec::with_capacity(batch.len());
        let committed = self.transact(&batch, &mut outcomes, &mut changes);
        match committed {
            Ok(compacted) => {
                let count = changes.len() as u64;
                self.publish(changes, compacted);
                self.totals.acknowledged.fetch_add(count, Ordering::Relaxed);
                for (write, outcome) in batch.into_iter().zip(outcomes) {
                    // A caller that went away is no reason to undo its write.
                    drop(write.reply.send(outcome));
                }
            }
            Err(error) => {
                self.log.rollback();
                for write in batch {
                    drop(write.reply.send(Err(error.clone())));
                }
            }
        }
    }

    fn transact(
        &mut self,
        batch: &[Write],
        outcomes: &mut Vec<Result<Entry, WriteError>>,
        changes: &mut Vec<Change>,
    ) -> Result<Option<Revision>, WriteError> {
        if self.broken {
            return Err(WriteError::Closed);
        }
        let state = self.state.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (mut revision, compacted) = (state.revision, state.compacted);
        let mut pending: HashMap<&str, Option<Entry>> = HashMap::new();
        for write in batch {
            let current = match pending.get(&*write.key) {
                Some(entry) => entry.clone(),
                None => state.current.get(&write.key).cloned(),
            };
            if !holds(write, current.as_ref()) {
                outcomes.push(Err(WriteError::Conflict { current }));
                continue;
            }
            revision = revision.next();
            let value = write.value.render(revision);
            let entry = Entry { revision, value: value.clone() };
            pending.insert(&write.key, (write.operation == Operation::Put).then(|| entry.clone()));
            changes.push(Change {
                key: Arc::clone(&write.key),
                revision,
                operation: write.operation,
                value,
                previous: current,
            });
            outcomes.push(Ok(entry));
        }
        drop(state);
        if changes.is_empty() {
            return Ok(None);
        }
        let target = self.compaction_target(revision, compacted);
        self.commit(changes, target.map(|to| (compacted, to)))?;
        Ok(target)
    }

    fn commit(
        &mut self,
        changes: &[Change],
        compaction: Option<(Revision, Revision)>,
    ) -> Result<(), WriteError> {
        let written = (|| {
            self.log.begin()?;
            // First compaction: it frees pages which the appends may need.
            let mut removed = 0;
            if let Some((from, to)) = compaction {
                removed = self.log.compact(from, to)?;
            }
            for change in changes {
                self.log.append(change)?;
            }
            self.log.commit()?;
            Ok(removed)
        })();
        match written {
            Ok(removed) => {
                self.totals.commits.fetch_add(1, Ordering::Relaxed);
                self.totals.compacted.fetch_add(removed as u64, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn failed(&mut self, error: &rusqlite::Error) -> WriteError {
        self.log.rollback();
        let detail = error.to_string();
        tracing::error!(error = %detail, "failed to commit a batch");
        if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) {
            return WriteError::StorageFull { detail };
        }
        if let Some(failure) = error.sqlite_error()
            && failure.extended_code == rusqlite::ffi::SQLITE_IOERR_FSYNC
        {
            // After a failed fsync the kernel may have dropped the pages: a later success would prove nothing.
            self.broken = true;
        }
        WriteError::Storage { detail }
    }

    fn publish(&mut self, changes: Vec<Change>, compacted: Option<Revision>) {
        let mut state = self.state.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        for change in changes {
            state.apply(change);
        }
        if let Some(compacted) = compacted {
            state.compacted = compacted;
            state.ring.drop_through(compacted);
        }
        let latest = state.revision;
        drop(state);
        let now = Instant::now();
        let step = self.config.history_age / 16;
        if self.samples.back().is_none_or(|(at, _)| now.duration_since(*at) >= step) {
            self.samples.push_back((now, latest));
        }
    }

    /// How far to compact along with the next transaction, if at all.
    fn compaction_target(&mut self, latest: Revision, compacted: Revision) -> Option<Revision> {
        let now = Instant::now();
        let mut wanted = Revision(latest.0.saturating_sub(self.config.history_revisions));
        while self.samples.len() > 1
            && self.samples.get(1).is_some_and(|(at, _)| now.duration_since(*at) > self.config.history_age)
        {
            self.samples.pop_front();
        }
        if let Some((at, revision)) = self.samples.front()
            && now.duration_since(*at) > self.config.history_age
        {
            wanted = wanted.max(*revision);
        }
        let wanted = wanted.max(self.requested);
        // A transaction for each handful of rows would be waste.
        let slice = Revision(wanted.0.min(compacted.0 + COMPACTION_SLICE));
        (slice.0 > compacted.0 + COMPACTION_SLICE / 8 || (slice > compacted && self.requested > compacted))
            .then_some(slice)
    }

    fn compact(&mut self, to: Revision) -> Result<(), WriteError> {
        loop {
            let (latest, compacted) = {
                let state = self.state.read().unwrap_or_else(std::sync::PoisonError::into_inner);
                (state.revision, state.compacted)
            };
            self.requested = Revision(to.0.min(latest.0));
            if compacted >= self.requested {
                return Ok(());
            }
            let slice = Revision(self.requested.0.min(compacted.0 + COMPACTION_SLICE));
            self.commit(&[], Some((compacted, slice)))?;
            self.publish(Vec::new(), Some(slice));
        }
    }

    fn page_at(&self, range: &OwnedRange, at: Revision) -> Result<Page, RangeError> {
        let state = self.state.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        state.reaches(at)?;
        let before = state.ring.first().unwrap_or_else(|| state.revision.next());
        let query = ChangesQuery { prefix: &range.prefix, after: at, before, limit: usize::MAX };
        let mut overlay = Overlay::new();
        for change in
            self.log.changes(&query).map_err(|error| RangeError::Storage { detail: error.to_string() })?
        {
            overlay.entry(change.key).or_insert(change.previous);
        }
        let borrowed = Range {
            prefix: &range.prefix,
            start_after: range.start_after.as_deref(),
            limit: range.limit,
            at: None,
        };
        Ok(state.page_at(&borrowed, at, overlay))
    }

    fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, WatchError> {
        let mut state = self.state.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if from < state.compacted {
            return Err(WatchError::Compacted { compacted: state.compacted });
        }
        let before = state.ring.first().unwrap_or_else(|| state.revision.next());
        let query = ChangesQuery { prefix, after: from, before, limit: MAX_BACKLOG };
        let old =
            self.log.changes(&query).map_err(|error| WatchError::Storage { detail: error.to_string() })?;
        if old.len() == MAX_BACKLOG {
            return Err(WatchError::Compacted { compacted: before });
        }
        let mut backlog: VecDeque<_> = old.into_iter().map(Arc::new).collect();
        backlog.extend(state.ring.after(from).filter(|change| change.key.starts_with(prefix)).cloned());
        Ok(state.watchers.add(prefix, self.config.watch_buffer, backlog))
    }
}

fn holds(write: &Write, current: Option<&Entry>) -> bool {
    let expected = match write.expect {
        Expect::Anything => true,
        Expect::Absent => current.is_none(),
        Expect::Present => current.is_some(),
        Expect::Revision(revision) => current.is_some_and(|entry| entry.revision == revision),
    };
    expected && (write.operation == Operation::Put || current.is_some())
}
