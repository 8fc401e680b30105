//! A revisioned key-value store with watch history on SQLite.
//!
//! Every write gets the next [`Revision`]; readers see the latest state or, within the kept history, the state at an
//! earlier revision; watchers see every change after the revision they name, in order, exactly once.
//!
//! The store never looks into values. Its single concession: a [`Value`] may have one place where the store writes
//! the revision it gives to it, so that a stored value can carry its own revision and be handed out without a copy.
//!
//! ```text
//!  write ─▶ queue ─▶ writer thread ─▶ log table (one transaction a batch, fsync) ─▶ state ─▶ acknowledged
//!                                                                                    │
//!  get, range ◀──────────────── BTreeMap of current entries ◀────────────────────────┤
//!  watch      ◀──────────────── ring of recent changes, older ones from the log ◀────┘
//! ```
//!
//! Guarantees: nothing is acknowledged or visible before it is on disk; a failed batch leaves no trace; one data
//! directory is open once; a watcher that lags is closed with an error, never buffered without limit.
//!
//! Start reading at [`Store`], then `writer` and `state`.

mod config;
mod error;
mod log;
mod state;
mod store;
mod types;
mod watch;
mod writer;

pub use config::Config;
pub use error::{OpenError, RangeError, WatchError, WriteError};
pub use store::Store;
pub use types::{Change, Counters, Entry, Expect, Operation, Page, Range, Revision, Value};
pub use watch::Watch;
