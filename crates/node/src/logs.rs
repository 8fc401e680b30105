//! Reading the logs of Pods.

mod reader;
mod registry;

use std::io;
use std::time::SystemTime;

pub use registry::Logs;
pub(crate) use registry::Tail;

/// What part of a log is wanted, and how.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// Stay until the step has ended, handing out lines as they come.
    pub follow: bool,
    /// Put the time at the head of every line.
    pub timestamps: bool,
    /// Only the last lines.
    pub tail_lines: Option<u64>,
    /// Only lines written at this time or later.
    pub since: Option<SystemTime>,
    /// At most this many bytes.
    pub limit_bytes: Option<u64>,
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The Pod has not been started, or its log has been removed with it.
    #[error("no log is kept for pod {uid}")]
    Absent {
        /// The Pod's uid.
        uid: String,
    },
    /// The file cannot be read.
    #[error("failed to read the log of pod {uid}")]
    Read {
        /// The Pod's uid.
        uid: String,
        /// What the system said.
        source: io::Error,
    },
}
