//! Which files make up a working tree.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::Git;
use crate::failure::{Explain as _, Result};

/// A file's kind, as git records it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    File,
    Executable,
    Link,
}

impl Mode {
    pub(super) fn octal(self) -> &'static str {
        match self {
            Self::File => "100644",
            Self::Executable => "100755",
            Self::Link => "120000",
        }
    }

    fn of(metadata: &Metadata) -> Option<Self> {
        let kind = metadata.file_type();
        if kind.is_symlink() {
            Some(Self::Link)
        } else if !kind.is_file() {
            None
        } else if metadata.permissions().mode() & 0o100 != 0 {
            Some(Self::Executable)
        } else {
            Some(Self::File)
        }
    }
}

/// The files below a directory, by their path relative to it.
pub(super) type Files = BTreeMap<PathBuf, Mode>;

/// How deep repositories may be nested: a limit for directories made to be endless.
const NESTING: usize = 16;

/// Lists what git would see: tracked files as they are now, and untracked ones that no .gitignore names. Repositories
/// inside, submodules or not, are part of the tree like any other directory.
pub(super) async fn list(root: &Path, scratch: &Path) -> Result<Files> {
    let mut files = Files::new();
    let mut directories = vec![(PathBuf::new(), 0)];
    while let Some((prefix, depth)) = directories.pop() {
        let directory = root.join(&prefix);
        for path in names(&directory, scratch).await? {
            let path = prefix.join(path);
            let absolute = root.join(&path);
            // What is tracked and deleted is not part of the tree.
            let Ok(metadata) = fs::symlink_metadata(&absolute) else { continue };
            if metadata.is_dir() {
                if depth < NESTING && absolute.join(".git").exists() {
                    directories.push((path, depth + 1));
                }
            } else if let Some(mode) = Mode::of(&metadata) {
                files.insert(path, mode);
            }
        }
    }
    Ok(files)
}

async fn names(directory: &Path, scratch: &Path) -> Result<Vec<PathBuf>> {
    let listing = ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "."];
    let output = if is_work_tree(directory).await? {
        Git::reading(directory).run(&listing, b"").await?
    } else {
        Git::private(scratch)
            .environment("GIT_WORK_TREE", directory)
            .in_directory(directory)
            .run(&listing, b"")
            .await?
    };
    let names = output.split(|&byte| byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(|name| PathBuf::from(OsString::from_vec(name.to_vec()))).collect())
}

/// Whether a directory is part of a repository that cares for it. A directory that the surrounding repository ignores
/// stands for itself.
pub(super) async fn is_work_tree(directory: &Path) -> Result<bool> {
    let git = Git::reading(directory);
    let inside = git.answer(&["rev-parse", "--is-inside-work-tree"], b"").await?;
    if inside.stderr.contains("dubious ownership") {
        git.run(&["rev-parse", "--is-inside-work-tree"], b"").await?;
    }
    if !inside.success || inside.stdout.trim_ascii() != b"true" {
        return Ok(false);
    }
    let prefix = git.run(&["rev-parse", "--show-prefix"], b"").await?;
    let prefix = prefix.strip_suffix(b"\n").unwrap_or(&prefix);
    if prefix.is_empty() {
        return Ok(true);
    }
    let ignored = git
        .answer(&[OsStr::new("check-ignore"), OsStr::new("-q"), OsStr::new("--"), directory.as_os_str()], b"")
        .await
        .context("cannot ask git whether the directory is ignored")?;
    Ok(!ignored.success)
}

/// Paths for `git hash-object --stdin-paths`, one a line, quoted where a line would not hold them.
pub(super) fn path_lines<'a>(paths: impl Iterator<Item = &'a Path>) -> Vec<u8> {
    let mut lines = Vec::new();
    for path in paths {
        let bytes = path.as_os_str().as_bytes();
        if bytes.first() == Some(&b'"') || bytes.contains(&b'\n') {
            lines.push(b'"');
            for &byte in bytes {
                match byte {
                    b'"' | b'\\' => lines.extend([b'\\', byte]),
                    b'\n' => lines.extend(b"\\n"),
                    _ => lines.push(byte),
                }
            }
            lines.push(b'"');
        } else {
            lines.extend(bytes);
        }
        lines.push(b'\n');
    }
    lines
}
