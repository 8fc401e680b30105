//! What runs on a data directory, as other processes see it.

use std::fs;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::lock::Lock;
use crate::{Endpoints, Error, Layout, layout};

/// A platform that runs now.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Running {
    /// Its process.
    pub pid: u32,
    /// The version of its binary.
    pub version: String,
    /// When it became ready.
    pub started_at: Timestamp,
    /// How long it took from start to ready, in milliseconds.
    pub ready_after_ms: u64,
    /// Where its parts listen.
    pub endpoints: Endpoints,
}

/// The process that holds the data directory, ready or not.
pub fn holder(layout: &Layout) -> Option<u32> {
    Lock::holder(layout)
}

/// The platform that is up on this data directory, or nothing.
///
/// A state file that a killed process left behind does not count: the lock decides.
pub fn read(layout: &Layout) -> Option<Running> {
    let holder = holder(layout)?;
    let running: Running = serde_json::from_slice(&fs::read(layout.state()).ok()?).ok()?;
    (running.pid == holder).then_some(running)
}

pub(crate) fn write(layout: &Layout, running: &Running) -> Result<(), Error> {
    // A struct of strings and numbers always serialises.
    let text = serde_json::to_vec_pretty(running).unwrap_or_default();
    layout::write_private(&layout.state(), &text)
}

pub(crate) fn clear(layout: &Layout) {
    // A leftover is harmless: `read` compares its process with the lock's holder.
    let _ = fs::remove_file(layout.state());
}
