//! Where everything lies in the data directory.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt as _};
use std::path::{Path, PathBuf};

use buildplane_executor::{Bubblewrap, Executor as _};

use crate::Error;
use crate::lock::Lock;

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

    /// Refuses a directory that belongs to somebody else, or that is none of ours and holds something: it would be
    /// closed to others and filled. Changes nothing; a directory that does not exist is fine.
    ///
    /// Of a data directory that a platform has lived in, returns what else lies there: a reason for a word, not for
    /// refusing to start.
    pub fn check(&self) -> Result<Vec<OsString>, Error> {
        self.check_owner()?;
        let strangers = self.strangers()?;
        match strangers.first() {
            Some(stranger) if !self.is_lived_in() => {
                Err(Error::NotOurs { path: self.root.clone(), stranger: stranger.clone() })
            }
            _ => Ok(strangers),
        }
    }

    /// Whether a platform has been here: it has made its keys, which nobody else has reason to.
    fn is_lived_in(&self) -> bool {
        self.authority("control-plane").is_file() && self.control_plane().is_dir()
    }

    /// Makes the directories that are missing, mode 0700, after [`Layout::check`], whose answer it passes on.
    pub(crate) fn create(&self) -> Result<Vec<OsString>, Error> {
        let strangers = self.check()?;
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
        fs::set_permissions(&self.root, fs::Permissions::from_mode(0o700))
            .map_err(|source| Error::path("close the directory to others", &self.root, source))?;
        Ok(strangers)
    }

    fn check_owner(&self) -> Result<(), Error> {
        let metadata = match fs::metadata(&self.root) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(Error::path("read the directory", &self.root, source)),
        };
        let user = rustix::process::geteuid().as_raw();
        if metadata.uid() != user {
            return Err(Error::ForeignDirectory { path: self.root.clone(), owner: metadata.uid(), user });
        }
        Ok(())
    }

    /// What lies in the data directory and is none of [`OURS`]. Nothing when there is no such directory.
    fn strangers(&self) -> Result<Vec<OsString>, Error> {
        let cannot = |source| Error::path("read the directory", &self.root, source);
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(cannot(source)),
        };
        let mut strangers = Vec::new();
        for entry in entries {
            let name = entry.map_err(cannot)?.file_name();
            if !is_ours(&name) {
                strangers.push(name);
            }
        }
        strangers.sort();
        Ok(strangers)
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
    /// The policy of the platform's own agent, as its ConfigMap says.
    pub(crate) fn agent_policy(&self) -> PathBuf {
        self.root.join("agent-policy.yaml")
    }
    /// The ports of the last start.
    pub(crate) fn ports(&self) -> PathBuf {
        self.root.join("ports.json")
    }
    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join(LOCK)
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
    /// Key and certificate of one of the platform's authorities.
    pub(crate) fn authority(&self, what: &str) -> PathBuf {
        self.pki().join(format!("{what}-ca.pem"))
    }
    /// The key that one of the APIs signs its ServiceAccounts' tokens with.
    pub(crate) fn token_key(&self, what: &str) -> PathBuf {
        self.pki().join(format!("{what}-tokens.pem"))
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

const LOCK: &str = "lock";

/// Everything that lies directly in a data directory.
const OURS: [&str; 15] = [
    "agent-policy.yaml",
    "build-plane",
    "control-plane",
    "git",
    "git-credentials.json",
    "kubeconfig",
    "kubeconfig.lock", // kubectl's, while it writes
    LOCK,
    "node",
    "pki",
    "platform.json",
    "platform.log",
    "platform.log.1",
    "ports.json",
    "registry",
];

fn is_ours(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    OURS.contains(&name.strip_suffix(SCRATCH).unwrap_or(name))
}

/// The end of a file's name while it is written.
const SCRATCH: &str = ".new";

/// Writes a file that only its owner may read, whole or not at all.
pub(crate) fn write_private(path: &Path, contents: &[u8]) -> Result<(), Error> {
    write_atomically(path, contents).map_err(|source| Error::path("write", path, source))
}

fn write_atomically(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut scratch = path.as_os_str().to_owned();
    scratch.push(SCRATCH);
    let scratch = PathBuf::from(scratch);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&scratch)?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(&scratch, path)
}

/// Removes a data directory and everything in it, unless a platform runs on it.
///
/// Refuses a directory that does not look like one of ours, or that holds anything else, so that a mistyped
/// `--data-dir` deletes nothing. Nothing is removed before that is known.
pub async fn purge(root: &Path) -> Result<(), Error> {
    let layout = Layout::new(root);
    match fs::metadata(root) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => return remove_link(root),
        Err(source) => return Err(Error::path("read the directory", root, source)),
        Ok(_) => {}
    }
    layout.check_owner()?;
    if let Some(stranger) = layout.strangers()?.into_iter().next() {
        return Err(Error::NotOurs { path: root.to_owned(), stranger });
    }
    let lock = Lock::hold(&layout)?;
    remove_workspaces(&layout.node().join("volumes")).await?;
    let cannot = |source| Error::path("remove the directory", root, source);
    // The lock's file last: as long as it is there, nobody else starts here.
    for name in OURS.into_iter().filter(|name| *name != LOCK) {
        for name in [name.to_owned(), format!("{name}{SCRATCH}")] {
            remove(&root.join(name)).map_err(cannot)?;
        }
    }
    remove(&layout.lock()).map_err(cannot)?;
    drop(lock);
    let there = fs::canonicalize(root).map_err(cannot)?;
    fs::remove_dir(there).map_err(cannot)?;
    remove_link(root)
}

/// Workspaces of builds that were in flight belong to subordinate ids, which an ordinary user cannot remove directly;
/// who made them, removes them.
async fn remove_workspaces(volumes: &Path) -> Result<(), Error> {
    if !volumes.is_dir() {
        return Ok(());
    }
    let removed: Result<(), Box<dyn std::error::Error + Send + Sync>> = async {
        let executor = Bubblewrap::new(buildplane_executor::Config::new(volumes))?;
        for volume in executor.volumes()? {
            executor.remove_volume(&volume).await?;
        }
        Ok(())
    }
    .await;
    removed.map_err(|source| Error::Workspaces { path: volumes.to_owned(), source })
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// A data directory may be given by a symbolic link, which goes with it.
fn remove_link(root: &Path) -> Result<(), Error> {
    if root.is_symlink() {
        return fs::remove_file(root).map_err(|source| Error::path("remove the link", root, source));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn a_directory_with_other_peoples_files_is_neither_taken_nor_closed_nor_removed() {
        let home = tempfile::tempdir().unwrap();
        // `lock` alone says nothing: /var has one.
        for name in ["lock", "thesis.txt"] {
            fs::write(home.path().join(name), "precious").unwrap();
        }
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let taken = Layout::new(home.path()).create().unwrap_err();
        assert!(taken.to_string().ends_with("holds thesis.txt, which is not buildplane's"), "{taken}");
        assert!(taken.hint().is_some());
        assert_eq!(mode(home.path()), 0o755);
        assert!(matches!(purge(home.path()).await, Err(Error::NotOurs { .. })));
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2);
    }

    #[tokio::test]
    async fn a_data_directory_with_one_file_too_many_is_used_and_not_purged() {
        let home = tempfile::tempdir().unwrap();
        let layout = Layout::new(home.path().join("data"));
        assert!(layout.create().unwrap().is_empty());
        fs::create_dir_all(layout.node().join("volumes/kept")).unwrap();
        fs::write(layout.root().join("notes.txt"), "mine").unwrap();
        assert!(matches!(layout.create(), Err(Error::NotOurs { .. })), "no platform has lived here");
        fs::write(layout.authority("control-plane"), "").unwrap();
        assert_eq!(layout.create().unwrap(), ["notes.txt"]);
        assert!(matches!(purge(layout.root()).await, Err(Error::NotOurs { .. })));
        assert!(layout.node().join("volumes/kept").is_dir(), "a purge that is refused has removed nothing");
        fs::remove_file(layout.root().join("notes.txt")).unwrap();
        let running = Lock::take(&layout).unwrap();
        assert!(matches!(purge(layout.root()).await, Err(Error::InUse { .. })));
        assert!(layout.node().join("volumes/kept").is_dir());
        drop(running);
    }

    #[tokio::test]
    async fn what_was_made_goes_with_a_purge_also_through_a_link_and_twice() {
        let home = tempfile::tempdir().unwrap();
        let (data, link) = (home.path().join("data"), home.path().join("link"));
        fs::create_dir(&data).unwrap();
        std::os::unix::fs::symlink(&data, &link).unwrap();
        let layout = Layout::new(&link);
        layout.create().unwrap();
        drop(Lock::take(&layout).unwrap());
        assert_eq!(mode(&data), 0o700);
        // A crash in the middle of a write leaves such a file.
        fs::write(data.join("platform.json.new"), "{").unwrap();
        purge(&link).await.unwrap();
        purge(&link).await.unwrap();
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_running_platform_is_not_purged() {
        let home = tempfile::tempdir().unwrap();
        let layout = Layout::new(home.path().join("data"));
        layout.create().unwrap();
        let running = Lock::take(&layout).unwrap();
        assert!(matches!(purge(layout.root()).await, Err(Error::InUse { .. })));
        drop(running);
        purge(layout.root()).await.unwrap();
        assert!(!layout.root().exists());
    }
}
