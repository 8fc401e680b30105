//! What can go wrong while a platform starts, each with what to do about it.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

/// Why a platform could not start, or stopped.
#[expect(missing_docs, reason = "the texts say what each field means")]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A path in the data directory cannot be made or used.
    #[error("cannot {action} {path}")]
    Path { action: &'static str, path: PathBuf, source: io::Error },
    /// Another platform holds the data directory.
    #[error("the data directory {path} is in use by process {pid}")]
    InUse { path: PathBuf, pid: u32 },
    /// The data directory is readable by others.
    #[error("the data directory {path} belongs to user id {owner}, not to user id {user}")]
    ForeignDirectory { path: PathBuf, owner: u32, user: u32 },
    /// The data directory holds what a platform has not put there.
    #[error("the directory {path} holds {}, which is not buildplane's", stranger.display())]
    NotOurs { path: PathBuf, stranger: OsString },
    /// A workspace that a build left behind cannot be removed.
    #[error("cannot remove the workspaces of builds in {path}")]
    Workspaces { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    /// A file of the data directory does not hold what was written to it.
    #[error("the file {path} is damaged")]
    Damaged { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    /// A fixed port cannot be used.
    #[error("cannot listen on port {port} ({purpose}) of {address}")]
    Bind { port: u16, purpose: &'static str, address: std::net::IpAddr, source: io::Error },
    /// A fixed port is taken.
    #[error("port {port} ({purpose}) on {address} is taken")]
    PortTaken { port: u16, purpose: &'static str, address: std::net::IpAddr, source: io::Error },
    /// A program of the machine is missing.
    #[error("no {program} found on PATH or beside the buildplane binary")]
    ProgramMissing { program: &'static str },
    /// A child process could not be started.
    #[error("cannot start {program}")]
    Spawn { program: &'static str, source: io::Error },
    /// A part did not become ready in time.
    #[error("{part} was not ready within {seconds} s: {last}")]
    NotReady { part: &'static str, seconds: u64, last: String },
    /// A part ended although nobody asked it to.
    #[error("{part} ended unexpectedly: {reason}")]
    PartEnded { part: &'static str, reason: String },
    /// Certificates could not be made or read.
    #[error("cannot prepare the certificates of {what}")]
    Pki { what: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
    /// A part could not be made.
    #[error("cannot prepare {part}")]
    Part { part: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
    /// An object that the platform needs could not be written.
    #[error("cannot write {object} to the {api} API")]
    Seed { object: String, api: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
    /// The embedded API's store could not be opened.
    #[error("cannot open the store of the {api}")]
    Store { api: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
    /// A client of one of the APIs could not be made.
    #[error("cannot connect to the {api}")]
    Client { api: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
}

impl Error {
    /// One line that tells a person what to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::InUse { path, .. } => Some(format!(
                "stop it with `buildplane down --data-dir {0}`, or take another directory with --data-dir",
                path.display()
            )),
            Self::ForeignDirectory { .. } => {
                Some("run as the directory's owner, or take another directory with --data-dir".to_owned())
            }
            Self::NotOurs { .. } => Some("give a directory of its own, new or empty, with --data-dir".to_owned()),
            Self::Damaged { path, .. } => Some(format!(
                "put the file back from a backup; or remove it and it is made anew, with new keys (rm {})",
                path.display()
            )),
            Self::Store { .. } => Some(
                "is the disk full? A damaged store is put back from a copy of the data directory; without one, \
                 `buildplane down --purge` removes everything and the next `up` begins anew"
                    .to_owned(),
            ),
            Self::Bind { .. } => Some("let `--ports auto` take free ports".to_owned()),
            Self::PortTaken { .. } => {
                Some("stop what holds the port, or let `--ports auto` take free ones".to_owned())
            }
            Self::ProgramMissing { program: "docker-registry" } => Some(
                "`scripts/setup` in the repository unpacks it; or install CNCF distribution's registry as docker-registry"
                    .to_owned(),
            ),
            Self::ProgramMissing { program } => Some(format!("install {program} with the machine's package manager")),
            Self::Path { source, .. }
                if matches!(
                    source.kind(),
                    io::ErrorKind::PermissionDenied
                        | io::ErrorKind::ReadOnlyFilesystem
                        | io::ErrorKind::NotADirectory
                        | io::ErrorKind::AlreadyExists
                ) =>
            {
                Some("take a directory that you may write, with --data-dir".to_owned())
            }
            Self::Path { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free some disk space, or take a directory on another disk with --data-dir".to_owned())
            }
            _ => None,
        }
    }

    pub(crate) fn path(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Path { action, path: path.into(), source }
    }
}
