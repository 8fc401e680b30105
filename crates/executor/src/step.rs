//! One step, as it is asked for.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::{Capability, HostEntry, LogWriter};

/// One step, as it is asked for.
///
/// What a step is not given here it does not have: the environment is empty but for `PATH` and `HOME`, the root is
/// the executor's allow-list, nothing of the host can be written.
#[derive(Debug)]
pub struct StepSpec {
    /// Names the step in the platform's own log and is its host name: a DNS label.
    pub name: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Variables, later ones winning.
    pub environment: Vec<Variable>,
    /// Where the program starts; `/` when absent.
    pub working_directory: Option<String>,
    /// What is mounted, in this order.
    pub mounts: Vec<Mount>,
    /// What the step holds over its own user namespace; usually nothing.
    pub capabilities: Vec<Capability>,
    /// What the step may use up.
    pub limits: Limits,
    /// Names resolved without asking a server.
    pub hosts: Vec<HostEntry>,
    /// Files handed back when the step has ended.
    pub outputs: Vec<Output>,
    /// Where standard output and standard error go.
    pub log: LogWriter,
}

/// An environment variable. Its value may be a secret: it never reaches an argument list, and `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Variable {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

impl fmt::Debug for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Variable").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Something mounted into a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mount {
    /// A directory that outlives the step; made with [`Executor::create_volume`](crate::Executor::create_volume).
    Volume {
        /// Which one.
        id: VolumeId,
        /// Where the step finds it.
        target: String,
        /// Whether the step may change it.
        access: Access,
    },
    /// Files given by content: secrets, configuration. They exist in memory, in this step alone.
    Files {
        /// Directory that holds nothing but them.
        target: String,
        /// The files.
        files: Vec<FileContent>,
    },
    /// An empty directory in memory.
    Memory {
        /// Where the step finds it.
        target: String,
        /// The most it may hold, in bytes.
        size: u64,
    },
}

impl Mount {
    /// Where the step finds it.
    pub fn target(&self) -> &str {
        match self {
            Self::Volume { target, .. } | Self::Files { target, .. } | Self::Memory { target, .. } => target,
        }
    }
}

/// Whether a step may change what is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It may.
    ReadWrite,
    /// It may not.
    ReadOnly,
}

/// A file given by its content; `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct FileContent {
    /// Path below the mount's target.
    pub path: String,
    /// Content.
    pub bytes: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
}

impl fmt::Debug for FileContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileContent")
            .field("path", &self.path)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// What a step may use up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long it may run.
    pub duration: Duration,
    /// How much memory it may use, where the machine can limit that.
    pub memory: Option<u64>,
    /// The size of each of its writable memory file systems (`/tmp`, `/var`).
    pub scratch: u64,
    /// The largest file it may write.
    pub file_size: Option<u64>,
    /// It is stopped when the file system of its volumes has less room than this many bytes.
    pub min_free: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            duration: Duration::from_hours(1),
            memory: None,
            scratch: 1 << 30,
            file_size: None,
            min_free: 256 << 20,
        }
    }
}

/// A file handed back when a step has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Name it is handed back under.
    pub name: String,
    /// Absolute path in the step.
    pub path: String,
}

impl Output {
    /// The most of one file that is handed back; a longer file is cut off here.
    pub const LIMIT: usize = 256 << 10;
}

/// Names a volume: letters, digits, `-`, `_` and `.`, as a Kubernetes uid or a name derived from one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeId(String);

impl VolumeId {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name that cannot name a volume.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} cannot name a volume")]
pub struct InvalidVolumeId {
    name: String,
}

impl FromStr for VolumeId {
    type Err = InvalidVolumeId;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let first = name.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
        if first && name.len() <= 200 && name.chars().all(plain) {
            Ok(Self(name.to_owned()))
        } else {
            Err(InvalidVolumeId { name: name.to_owned() })
        }
    }
}
