//! The handle to a store.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use crate::config::Config;
use crate::error::{OpenError, RangeError, WatchError, WriteError};
use crate::log::Log;
use crate::state::{Overlay, State};
use crate::types::{Counters, Entry, Expect, Operation, Page, Range, Revision, Value};
use crate::watch::Watch;
use crate::writer::{Command, OwnedRange, Totals, Write, Writer};

/// Writes that may wait for the writer thread; beyond it callers are told that the store is overloaded.
const QUEUE: usize = 4_096;

/// A store; clones are handles to the same one. It closes when the last handle goes.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    state: Arc<RwLock<State>>,
    commands: mpsc::Sender<Command>,
    totals: Arc<Totals>,
    watch_buffer: usize,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens the store in a directory, which is made if it is missing. Blocks while the log is read.
    pub fn open(directory: impl AsRef<Path>, config: Config) -> Result<Self, OpenError> {
        let directory = directory.as_ref();
        std::fs::create_dir_all(directory)
            .map_err(|source| OpenError::Directory { path: directory.into(), source })?;
        let lock = lock(directory)?;
        let path = directory.join("store.db");
        let log = Log::open(&path, config.max_bytes)?;
        let database = |source| OpenError::Database { path: path.clone(), source };
        let mut state = State::new(log.compacted().map_err(database)?, &config);
        log.replay(|row| state.replay(row)).map_err(database)?;
        let state = Arc::new(RwLock::new(state));
        let totals = Arc::new(Totals::default());
        let (commands, receiver) = mpsc::channel(QUEUE);
        let watch_buffer = config.watch_buffer;
        let writer = Writer::new(log, Arc::clone(&state), Arc::clone(&totals), config);
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || {
                writer.run(receiver);
                drop(lock);
            })
            .map_err(|source| OpenError::Thread { source })?;
        let thread = Mutex::new(Some(thread));
        Ok(Self { inner: Arc::new(Inner { state, commands, totals, watch_buffer, thread }) })
    }

    /// What a key holds.
    pub fn get(&self, key: &str) -> Option<Entry> {
        self.read().current.get(key).cloned()
    }

    /// The latest revision; everything up to it has been handed to the watchers.
    pub fn revision(&self) -> Revision {
        self.read().revision
    }

    /// The oldest revision that can still be read or watched from.
    pub fn compacted(&self) -> Revision {
        self.read().compacted
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.read().current.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The latest entries under a prefix.
    pub fn entries(&self, prefix: &str) -> Vec<(Arc<str>, Entry)> {
        self.read().page(&Range { prefix, ..Range::default() }).entries
    }

    /// The entries of a range, all from one revision.
    pub async fn range(&self, range: Range<'_>) -> Result<Page, RangeError> {
        let Some(at) = range.at else { return Ok(self.read().page(&range)) };
        {
            let state = self.read();
            if state.reaches(at)? {
                return Ok(state.page_at(&range, at, Overlay::new()));
            }
        }
        let (reply, answer) = oneshot::channel();
        let range = OwnedRange {
            prefix: range.prefix.into(),
            start_after: range.start_after.map(Into::into),
            limit: range.limit,
        };
        let command = Command::PageAt { range, at, reply };
        self.inner.commands.send(command).await.map_err(|_| RangeError::Closed)?;
        answer.await.map_err(|_| RangeError::Closed)?
    }

    /// Puts a value if the expectation holds. When this returns, the write is on disk and visible.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the write happens.
    pub async fn write(&self, key: &str, value: Value, expect: Expect) -> Result<Entry, WriteError> {
        self.change(key, Operation::Put, value, expect).await
    }

    /// Removes a key if it is there and the expectation holds; watchers are given `last_words`.
    ///
    /// # Cancel safety
    /// As with [`Store::write`].
    pub async fn delete(&self, key: &str, last_words: Value, expect: Expect) -> Result<Entry, WriteError> {
        self.change(key, Operation::Delete, last_words, expect).await
    }

    async fn change(
        &self,
        key: &str,
        operation: Operation,
        value: Value,
        expect: Expect,
    ) -> Result<Entry, WriteError> {
        let (reply, answer) = oneshot::channel();
        let write = Write { key: key.into(), operation, value, expect, reply };
        self.inner.commands.try_send(Command::Write(write)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => WriteError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => WriteError::Closed,
        })?;
        answer.await.map_err(|_| WriteError::Closed)?
    }

    /// The changes of keys with a prefix after the revision `from`.
    pub async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, WatchError> {
        {
            let mut state = self.inner.state.write().unwrap_or_else(PoisonError::into_inner);
            if from < state.compacted {
                return Err(WatchError::Compacted { compacted: state.compacted });
            }
            if state.reaches(from).unwrap_or(true) {
                let backlog: VecDeque<_> =
                    state.ring.after(from).filter(|change| change.key.starts_with(prefix)).cloned().collect();
                return Ok(state.watchers.add(prefix, self.inner.watch_buffer, backlog));
            }
        }
        let (reply, answer) = oneshot::channel();
        let command = Command::Watch { prefix: prefix.into(), from, reply };
        self.inner.commands.send(command).await.map_err(|_| WatchError::Closed)?;
        answer.await.map_err(|_| WatchError::Closed)?
    }

    /// Forgets history up to a revision (at most the latest).
    pub async fn compact(&self, to: Revision) -> Result<(), WriteError> {
        let (reply, answer) = oneshot::channel();
        self.inner.commands.send(Command::Compact { to, reply }).await.map_err(|_| WriteError::Closed)?;
        answer.await.map_err(|_| WriteError::Closed)?
    }

    /// What was done since the store was opened.
    pub fn counters(&self) -> Counters {
        let totals = &self.inner.totals;
        Counters {
            commits: totals.commits.load(Ordering::Relaxed),
            acknowledged: totals.acknowledged.load(Ordering::Relaxed),
            compacted: totals.compacted.load(Ordering::Relaxed),
            watchers: self.read().watchers.len() as u64,
        }
    }

    /// Refuses further writes, ends the watches, finishes what was queued and lets go of the directory, whatever other
    /// handles there are.
    pub async fn close(&self) {
        drop(self.inner.commands.send(Command::Close).await);
        let thread = self.inner.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && tokio::task::spawn_blocking(move || thread.join()).await.is_err()
        {
            tracing::error!("the writer thread could not be joined");
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.inner.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("revision", &self.revision()).finish_non_exhaustive()
    }
}

fn lock(directory: &Path) -> Result<File, OpenError> {
    let failed = |source| OpenError::Lock { path: directory.into(), source };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(directory.join("lock"))
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: directory.into() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}
