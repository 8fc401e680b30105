//! What can go wrong, by operation.

use std::path::PathBuf;

use crate::types::{Entry, Revision};

/// A store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data directory could not be made.
    #[error("failed to create the data directory {path}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Another process, or another store of this one, has the directory open.
    #[error("the data directory {path} is in use by another process")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The lock file could not be opened or locked.
    #[error("failed to lock the data directory {path}")]
    Lock {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file was written by a newer program, or is something else.
    #[error("{path} has format {found}; this program reads format {supported}")]
    Format {
        /// The database file.
        path: PathBuf,
        /// The format it has.
        found: i64,
        /// The format this program writes.
        supported: i64,
    },
    /// The file is gone or empty, although the directory held a store before.
    #[error(
        "the store at {path} is gone or empty, but there was one: put it back from a copy of the directory, or remove \
         {marker} to begin with an empty one"
    )]
    Lost {
        /// The database file.
        path: PathBuf,
        /// The file that says that there was a store.
        marker: PathBuf,
    },
    /// The file that says that there is a store could not be written.
    #[error("failed to write {path}")]
    Mark {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// SQLite could not open, prepare or read the file.
    #[error("failed to open the store at {path}")]
    Database {
        /// The database file.
        path: PathBuf,
        /// The cause.
        source: rusqlite::Error,
    },
    /// The writer thread could not be started.
    #[error("failed to start the writer thread")]
    Thread {
        /// The cause.
        source: std::io::Error,
    },
}

/// A write did not happen.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// The expectation did not hold.
    #[error("the key holds something else than expected")]
    Conflict {
        /// What the key holds.
        current: Option<Entry>,
    },
    /// There is no space for it; nothing acknowledged is lost, and writes succeed again when there is space.
    #[error("no space left to write to: {detail}")]
    StorageFull {
        /// SQLite's words.
        detail: String,
    },
    /// The write was refused by the storage below.
    #[error("failed to write: {detail}")]
    Storage {
        /// SQLite's words.
        detail: String,
    },
    /// More writes are waiting than the store queues.
    #[error("too many writes are waiting")]
    Overloaded,
    /// The store is closed, or has stopped because the disk no longer keeps what it is told to.
    #[error("the store is closed")]
    Closed,
}

/// A range could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// History before this revision is gone.
    #[error("history before revision {compacted} is compacted")]
    Compacted {
        /// The oldest revision that can be read.
        compacted: Revision,
    },
    /// The revision lies in the future.
    #[error("revision {requested} is newer than the current one, {current}")]
    Future {
        /// The revision asked for.
        requested: Revision,
        /// The latest one.
        current: Revision,
    },
    /// The history could not be read.
    #[error("failed to read history: {detail}")]
    Storage {
        /// SQLite's words.
        detail: String,
    },
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

/// A watch could not start or go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// History before this revision is gone; list again.
    #[error("history before revision {compacted} is compacted")]
    Compacted {
        /// The oldest revision a watch can start from.
        compacted: Revision,
    },
    /// The watcher read too slowly and was closed; list again.
    #[error("the watcher fell behind")]
    Lagged,
    /// The history could not be read.
    #[error("failed to read history: {detail}")]
    Storage {
        /// SQLite's words.
        detail: String,
    },
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}
