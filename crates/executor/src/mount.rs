//! What a step sees of the world outside its sandbox.

use std::net::IpAddr;
use std::path::PathBuf;

/// A file or directory of the host that every step of an executor sees, read-only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedMount {
    /// Where it is on the host. May lie in a directory that only the platform's user can enter.
    pub source: PathBuf,
    /// Where a step finds it.
    pub target: String,
}

/// A name that a step resolves without asking a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostEntry {
    /// The address.
    pub address: IpAddr,
    /// The name.
    pub name: String,
}
