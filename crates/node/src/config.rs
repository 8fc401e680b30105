//! What a node is told when it is made.

use std::path::PathBuf;
use std::time::Duration;

use buildplane_executor::{HostEntry, SharedMount};

/// What a node is told when it is made.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directory of the node alone: volumes, logs. Created with mode 0700 where it is absent.
    pub data_dir: PathBuf,
    /// Image names (without tag or digest) that mean the host's tools, such as `buildplane/tools`.
    pub images: Vec<String>,
    /// Files and directories of the host that every step sees read-only.
    pub extra_mounts: Vec<SharedMount>,
    /// Names every step resolves without asking a server.
    pub hosts: Vec<HostEntry>,
    /// How many Pods run at once; more wait.
    pub max_parallel: usize,
    /// Longest time one Pod may run when it names no `activeDeadlineSeconds`.
    pub max_duration: Duration,
    /// Bytes of one Pod's log that are kept; the rest is dropped with a note.
    pub log_limit: u64,
    /// Steps are stopped when the file system of `data_dir` has less room than this many bytes.
    pub min_free_bytes: u64,
}

impl Config {
    /// The usual limits, for a node that keeps its state in `data_dir`.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            images: vec!["buildplane/tools".to_owned(), "ghcr.io/buildplane/tools".to_owned()],
            extra_mounts: Vec::new(),
            hosts: Vec::new(),
            max_parallel: 4,
            max_duration: Duration::from_hours(1),
            log_limit: 64 << 20,
            min_free_bytes: 256 << 20,
        }
    }
}
