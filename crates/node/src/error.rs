//! Why a node could not be made or had to stop.

use std::path::PathBuf;

/// Why a node could not be made or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data directory cannot be used.
    #[error("failed to prepare the node's directory {}", path.display())]
    Prepare {
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
