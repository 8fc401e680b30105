//! What can be chosen about a store.

use std::time::Duration;

/// Sizes and limits of a store; the default suits one machine.
#[derive(Debug, Clone)]
pub struct Config {
    /// At most this many revisions of history are kept.
    pub history_revisions: u64,
    /// History younger than this is kept, as far as `history_revisions` allows.
    pub history_age: Duration,
    /// At most this many changes are held in memory for watchers that start in the past.
    pub ring_changes: usize,
    /// The changes held in memory have at most this many bytes of values.
    pub ring_bytes: usize,
    /// A watcher with this many undelivered changes is closed.
    pub watch_buffer: usize,
    /// The database file may not grow beyond this; writes are then refused as if the disk were full.
    pub max_bytes: Option<u64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            history_revisions: 50_000,
            history_age: Duration::from_mins(10),
            ring_changes: 8_192,
            ring_bytes: 8 << 20,
            watch_buffer: 4_096,
            max_bytes: None,
        }
    }
}
