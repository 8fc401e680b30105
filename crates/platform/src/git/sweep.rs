//! What a git that was killed leaves behind: locks, which would refuse every later push, and halves of pushes.

use std::fs;
use std::io;
use std::path::Path;

/// The start of the name of a repository while it is made; no request can name it.
pub(super) const UNFINISHED: &str = ".new-";
/// The start of the name of what a push has sent and not finished.
const INCOMING: &str = "tmp_objdir-incoming-";

/// Cleans all repositories. Called while no git of ours runs.
pub(crate) fn sweep(root: &Path) -> io::Result<()> {
    for namespace in directories(root)? {
        if namespace.file_name().is_some_and(|name| name.to_string_lossy().starts_with(UNFINISHED)) {
            fs::remove_dir_all(&namespace)?;
            continue;
        }
        for repository in directories(&namespace)? {
            remove_locks(&repository, false)?;
            remove_locks(&repository.join("refs"), true)?;
            for objects in directories(&repository.join("objects"))? {
                if objects.file_name().is_some_and(|name| name.to_string_lossy().starts_with(INCOMING)) {
                    fs::remove_dir_all(&objects)?;
                }
            }
        }
    }
    Ok(())
}

fn remove_locks(directory: &Path, below: bool) -> io::Result<()> {
    for entry in entries(directory)? {
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if below {
                remove_locks(&path, below)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "lock") {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn directories(parent: &Path) -> io::Result<Vec<std::path::PathBuf>> {
    let mut found = entries(parent)?;
    found.retain(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(found.iter().map(fs::DirEntry::path).collect())
}

/// Nothing where there is no directory.
fn entries(directory: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
