//! Runs one step in a sandbox: its logs, limits and exit.

mod mount;
mod probe;

pub use mount::{HostEntry, SharedMount};
pub use probe::Missing;
