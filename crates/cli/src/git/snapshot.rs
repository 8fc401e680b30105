//! A directory as it is, as a commit of its own: the user's index, refs and hooks are never touched.

use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::Git;
use super::files::{self, Files, Mode};
use crate::failure::{Explain as _, Failure, Result};

/// A commit in a temporary repository. It is a function of the files alone: the same tree is the same commit.
pub(crate) struct Snapshot {
    scratch: TempDir,
    /// The commit's id.
    pub(crate) commit: String,
    /// Against the repository that the directory is in, if it is in one.
    pub(crate) difference: Option<Difference>,
    files: Files,
}

/// How a working tree differs from the commit that is checked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Difference {
    /// There is no commit yet.
    NoCommit,
    /// Nothing differs.
    Clean { head: String },
    /// Files differ.
    Changed { head: String, changed: usize, untracked: usize },
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = |count: usize| if count == 1 { "file" } else { "files" };
        match self {
            Self::NoCommit => out.write_str("the repository has no commit yet"),
            Self::Clean { head } => write!(out, "same as HEAD {head}"),
            Self::Changed { head, changed, untracked } => {
                write!(out, "differs from HEAD {head}: ")?;
                match (changed, untracked) {
                    (0, untracked) => write!(out, "{untracked} untracked {}", files(*untracked)),
                    (changed, 0) => write!(out, "{changed} changed {}", files(*changed)),
                    (changed, untracked) => {
                        write!(out, "{changed} changed and {untracked} untracked {}", files(*untracked))
                    }
                }
            }
        }
    }
}

/// Author, committer and date of every snapshot, so that equal trees give equal commits.
const IDENTITY: [(&str, &str); 6] = [
    ("GIT_AUTHOR_NAME", "buildplane"),
    ("GIT_AUTHOR_EMAIL", "buildplane@localhost"),
    ("GIT_AUTHOR_DATE", "2000-01-01T00:00:00Z"),
    ("GIT_COMMITTER_NAME", "buildplane"),
    ("GIT_COMMITTER_EMAIL", "buildplane@localhost"),
    ("GIT_COMMITTER_DATE", "2000-01-01T00:00:00Z"),
];

impl Snapshot {
    /// Takes the directory as it is now.
    pub(crate) async fn take(directory: &Path) -> Result<Self> {
        let root = fs::canonicalize(directory).context(format!("cannot read {}", directory.display()))?;
        if !root.is_dir() {
            return Err(Failure::new(format!("{} is not a directory", directory.display())));
        }
        let scratch = tempfile::Builder::new()
            .prefix("buildplane-snapshot-")
            .tempdir()
            .context("cannot make a temporary directory")?;
        let repository = scratch.path().join("git");
        let init = ["init", "--quiet", "--bare", "--template="];
        fs::create_dir(&repository).context("cannot make a temporary repository")?;
        Git::private(&repository).run(&init, b"").await?;
        let files = files::list(&root, &repository).await?;
        if files.is_empty() {
            return Err(Failure::new(format!("there is nothing to build in {}", directory.display()))
                .hint("the directory has no files, or .gitignore excludes them all"));
        }
        let commit = commit(&root, &files, scratch.path(), &repository).await?;
        let difference = difference(&root).await?;
        Ok(Self { scratch, commit, difference, files })
    }

    /// Whether a file, by its path relative to the directory, is part of the snapshot.
    pub(crate) fn contains(&self, path: &Path) -> bool {
        let normal: PathBuf =
            path.components().filter(|part| *part != std::path::Component::CurDir).collect();
        self.files.contains_key(&normal)
    }

    pub(crate) fn n_files(&self) -> usize {
        self.files.len()
    }

    pub(super) fn repository(&self) -> PathBuf {
        self.scratch.path().join("git")
    }

    /// A private place for files that live as long as the snapshot.
    pub(super) fn scratch(&self) -> &Path {
        self.scratch.path()
    }
}

async fn commit(root: &Path, files: &Files, scratch: &Path, repository: &Path) -> Result<String> {
    let git = Git::private(repository);
    let links = scratch.join("links");
    fs::create_dir(&links).context("cannot make a temporary directory")?;
    let mut contents = Vec::with_capacity(files.len());
    for (index, (path, mode)) in files.iter().enumerate() {
        let absolute = root.join(path);
        contents.push(if *mode == Mode::Link {
            // git hashes files, so a link's target is put into one.
            let target = fs::read_link(&absolute).context(format!("cannot read {}", absolute.display()))?;
            let file = links.join(index.to_string());
            fs::write(&file, target.as_os_str().as_bytes()).context("cannot write a temporary file")?;
            file
        } else {
            absolute
        });
    }
    // Without filters: the files as they are, whatever .gitattributes would make of them.
    let paths = files::path_lines(contents.iter().map(PathBuf::as_path));
    let hashes = git
        .word(&["hash-object", "-w", "--no-filters", "--stdin-paths"], &paths)
        .await
        .context("cannot take a snapshot of the files")?;
    let hashes: Vec<&str> = hashes.lines().collect();
    if hashes.len() != files.len() {
        return Err(Failure::new("git did not take every file of the directory"));
    }
    let mut index = Vec::new();
    for ((path, mode), hash) in files.iter().zip(hashes) {
        index.extend(format!("{} {hash}\t", mode.octal()).bytes());
        index.extend(path.as_os_str().as_bytes());
        index.push(0);
    }
    git.run(&["update-index", "-z", "--index-info"], &index).await?;
    let tree = git.word(&["write-tree"], b"").await?;
    let git = IDENTITY.into_iter().fold(git, |git, (name, value)| git.environment(name, Path::new(value)));
    git.word(&["commit-tree", &tree, "-m", "Working tree, as buildplane build found it"], b"").await
}

async fn difference(root: &Path) -> Result<Option<Difference>> {
    if !files::is_work_tree(root).await? {
        return Ok(None);
    }
    let git = Git::reading(root);
    let head = git.answer(&["rev-parse", "--short", "--verify", "--quiet", "HEAD"], b"").await?;
    if !head.success {
        return Ok(Some(Difference::NoCommit));
    }
    let head = String::from_utf8_lossy(&head.stdout).trim().to_owned();
    let status = git
        .run(&["status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", "."], b"")
        .await?;
    let entries = || status.split(|&byte| byte == 0).filter(|entry| !entry.is_empty());
    let untracked = entries().filter(|entry| entry.starts_with(b"??")).count();
    let changed = entries().count() - untracked;
    Ok(Some(if changed + untracked == 0 {
        Difference::Clean { head }
    } else {
        Difference::Changed { head, changed, untracked }
    }))
}

#[cfg(test)]
mod tests;
