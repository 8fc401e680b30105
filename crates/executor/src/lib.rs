//! Runs one step in a sandbox: its logs, limits and exit.

mod bubblewrap;
mod capability;
mod cgroup;
mod executor;
mod kill;
mod log;
mod mount;
mod probe;
mod step;
mod subordinate;
mod validate;

pub use bubblewrap::{Bubblewrap, Config};
pub use capability::{Capability, UnknownCapability};
pub use executor::{End, Executor, Killer, Outcome, StartError, StepHandle, VolumeError};
pub use log::{CHUNK, LogProgress, LogWriter, Truncation};
pub use mount::{HostEntry, SharedMount};
pub use probe::{Missing, probe};
pub use step::{Access, FileContent, InvalidVolumeId, Limits, Mount, Output, StepSpec, Variable, VolumeId};
pub use validate::InvalidStep;
