//! Where everything lies in the data directory.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::Error;

/// The paths of one data directory. Everything below it is for its owner alone.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout of a data directory that need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Makes the directories that are missing, mode 0700, and refuses one that belongs to somebody else.
    pub(crate) fn create(&self) -> Result<(), Error> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        for dir in [
            self.root.clone(),
            self.control_plane(),
            self.build_plane(),
            self.pki(),
            self.registry(),
            self.git(),
            self.node(),
        ] {
            builder.create(&dir).map_err(|source| Error::path("create the directory", &dir, source))?;
        }
        let metadata = fs::metadata(&self.root)
            .map_err(|source| Error::path("read the directory", &self.root, source))?;
        let user = rustix::process::geteuid().as_raw();
        if metadata.uid() != user {
            return Err(Error::ForeignDirectory { path: self.root.clone(), owner: metadata.uid(), user });
        }
        let mut permissions = metadata.permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o700);
        fs::set_permissions(&self.root, permissions)
            .map_err(|source| Error::path("close the directory to others", &self.root, source))
    }

    /// The data directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }
    /// The kubeconfig with the contexts `control-plane`, `build-plane` and `via-gateway`.
    pub fn kubeconfig(&self) -> PathBuf {
        self.root.join("kubeconfig")
    }
    /// The log of a detached platform.
    pub fn log(&self) -> PathBuf {
        self.root.join("platform.log")
    }
    /// What runs now: see [`crate::state`].
    pub fn state(&self) -> PathBuf {
        self.root.join("platform.json")
    }
    /// The credentials a developer's client uses towards the platform's git server.
    pub fn git_credentials(&self) -> PathBuf {
        self.root.join("git-credentials.json")
    }
    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }
    pub(crate) fn control_plane(&self) -> PathBuf {
        self.root.join("control-plane")
    }
    pub(crate) fn build_plane(&self) -> PathBuf {
        self.root.join("build-plane")
    }
    pub(crate) fn pki(&self) -> PathBuf {
        self.root.join("pki")
    }
    pub(crate) fn registry(&self) -> PathBuf {
        self.root.join("registry")
    }
    pub(crate) fn git(&self) -> PathBuf {
        self.root.join("git")
    }
    pub(crate) fn node(&self) -> PathBuf {
        self.root.join("node")
    }
}

/// Writes a file that only its owner may read, whole or not at all.
pub(crate) fn write_private(path: &Path, contents: &[u8]) -> Result<(), Error> {
    write_atomically(path, contents).map_err(|source| Error::path("write", path, source))
}

fn write_atomically(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut scratch = path.as_os_str().to_owned();
    scratch.push(".new");
    let scratch = PathBuf::from(scratch);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&scratch)?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(&scratch, path)
}

/// Removes a data directory and everything in it.
///
/// Refuses a directory that does not look like one of ours, so that a mistyped `--data-dir`
/// deletes nothing. The caller has made sure that no platform runs on it.
pub fn purge(root: &Path) -> Result<(), Error> {
    let layout = Layout::new(root);
    match fs::symlink_metadata(root) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Error::path("read the directory", root, source)),
        Ok(_) => {}
    }
    if !layout.lock().exists() {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "it is not a data directory of buildplane");
        return Err(Error::path("purge", root, source));
    }
    fs::remove_dir_all(root).map_err(|source| Error::path("remove the directory", root, source))
}
