//! Files that are looked at again and again, so that a change needs no restart. Kubernetes swaps mounted files through a
//! link, which a watch on the file itself misses; a look is one small read.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use buildplane_tunnel::BoxError;

/// A larger file is none of ours.
const LIMIT: u64 = 1024 * 1024;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("failed to read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// It is too large.
    #[error("{} has more than {LIMIT} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// What it holds is wrong.
    #[error("{} cannot be used", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: BoxError,
    },
}

type Parse<T> = Box<dyn Fn(&str) -> Result<T, BoxError> + Send + Sync>;

/// A file, and how to read what it holds.
pub(crate) struct Followed<T> {
    path: PathBuf,
    parse: Parse<T>,
    /// What it held last, whether that could be used or not; none when it could not even be read.
    seen: Option<Result<String, io::ErrorKind>>,
}

impl<T> Followed<T> {
    pub(crate) fn new(
        path: PathBuf,
        parse: impl Fn(&str) -> Result<T, BoxError> + Send + Sync + 'static,
    ) -> Self {
        Self { path, parse: Box::new(parse), seen: None }
    }

    /// Reads the file; none when it holds what it held the last time, be that good or bad.
    pub(crate) fn look(&mut self) -> Option<Result<T, FileError>> {
        let found = text(&self.path);
        let seen = match &found {
            Ok(text) => Ok(text.clone()),
            Err(FileError::Read { source, .. }) => Err(source.kind()),
            Err(FileError::TooLarge { .. } | FileError::Content { .. }) => Err(io::ErrorKind::FileTooLarge),
        };
        if self.seen.as_ref() == Some(&seen) {
            return None;
        }
        self.seen = Some(seen);
        let content = |source| FileError::Content { path: self.path.clone(), source };
        Some(found.and_then(|text| (self.parse)(&text).map_err(content)))
    }

    /// Looks at the file until `stop`, and tells what has become of it.
    pub(crate) async fn follow(
        mut self,
        every: Duration,
        mut tell: impl FnMut(Result<T, FileError>),
        stop: CancellationToken,
    ) {
        while stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
            // A file of a few kilobytes, most often in memory: shorter than the way to another thread.
            if let Some(changed) = self.look() {
                tell(changed);
            }
        }
    }
}

fn text(path: &Path) -> Result<String, FileError> {
    use std::io::Read as _;
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = String::new();
    let n_bytes = file.take(LIMIT + 1).read_to_string(&mut text).map_err(failed)?;
    if n_bytes as u64 > LIMIT {
        return Err(FileError::TooLarge { path: path.to_owned() });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_once_for_each_change_good_or_bad() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("number");
        let mut followed = Followed::new(path.clone(), |text| Ok(text.trim().parse::<u32>()?));
        let mut look = || followed.look();
        assert!(matches!(look(), Some(Err(FileError::Read { .. }))));
        assert!(look().is_none());
        std::fs::write(&path, "1").unwrap();
        assert!(matches!(look(), Some(Ok(1))));
        assert!(look().is_none());
        std::fs::write(&path, "x").unwrap();
        assert!(matches!(look(), Some(Err(FileError::Content { .. }))));
        assert!(look().is_none());
        std::fs::write(&path, vec![b'1'; 2 * 1024 * 1024]).unwrap();
        assert!(matches!(look(), Some(Err(FileError::TooLarge { .. }))));
        std::fs::write(&path, "1").unwrap();
        assert!(matches!(look(), Some(Ok(1))), "what was good before is good again");
    }
}
