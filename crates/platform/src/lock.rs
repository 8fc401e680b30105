//! One platform a data directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use crate::{Error, Layout};

/// Who only asks whether somebody holds the lock, holds it for a moment itself.
const MOMENT: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_millis(5);

/// The held lock; the kernel lets it go when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock and writes down whose it is, or tells which process has it.
    pub(crate) fn take(layout: &Layout) -> Result<Self, Error> {
        let mut lock = Self::hold(layout)?;
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut lock.file).map_err(|source| Error::path("write", layout.lock(), source))?;
        Ok(lock)
    }

    /// Takes the lock and writes nothing, which works on a full disk too.
    pub(crate) fn hold(layout: &Layout) -> Result<Self, Error> {
        let path = layout.lock();
        let deadline = Instant::now() + MOMENT;
        loop {
            let mut file = open(&path).map_err(|source| Error::path("open", &path, source))?;
            let locked = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
            // Whoever removes a data directory holds its lock: what was just taken may be gone already.
            if locked && is_at(&file, &path) {
                return Ok(Self { file });
            }
            if Instant::now() > deadline {
                let mut holder = String::new();
                // Best effort: the message only gets less precise.
                let _ = file.read_to_string(&mut holder);
                let pid = holder.trim().parse().unwrap_or(0);
                return Err(Error::InUse { path: layout.root().to_owned(), pid });
            }
            thread::sleep(PAUSE);
        }
    }

    /// The process that holds the lock of a data directory, if one does.
    pub(crate) fn holder(layout: &Layout) -> Option<u32> {
        let mut file = File::open(layout.lock()).ok()?;
        if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
            return None;
        }
        let mut holder = String::new();
        file.read_to_string(&mut holder).ok()?;
        holder.trim().parse().ok()
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(held), Ok(there)) = (file.metadata(), fs::metadata(path)) else { return false };
    (held.dev(), held.ino()) == (there.dev(), there.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(home: &tempfile::TempDir) -> Layout {
        let layout = Layout::new(home.path().join("data"));
        layout.create().unwrap();
        layout
    }

    #[test]
    fn a_second_lock_names_the_first_ones_process() {
        let home = tempfile::tempdir().unwrap();
        let layout = layout(&home);
        let _held = Lock::take(&layout).unwrap();
        let Err(Error::InUse { pid, .. }) = Lock::take(&layout) else { panic!("taken twice") };
        assert_eq!(pid, std::process::id());
        assert_eq!(Lock::holder(&layout), Some(pid));
    }

    #[test]
    fn who_only_asks_is_waited_for() {
        let home = tempfile::tempdir().unwrap();
        let layout = layout(&home);
        drop(Lock::take(&layout).unwrap());
        let asking = File::open(layout.lock()).unwrap();
        flock(&asking, FlockOperation::NonBlockingLockShared).unwrap();
        let taking = thread::spawn({
            let layout = layout.clone();
            move || Lock::take(&layout).map(drop)
        });
        thread::sleep(PAUSE * 4);
        drop(asking);
        taking.join().unwrap().unwrap();
    }

    #[test]
    fn the_lock_of_a_directory_that_was_removed_meanwhile_is_not_taken() {
        let home = tempfile::tempdir().unwrap();
        let layout = layout(&home);
        let held = Lock::take(&layout).unwrap();
        let removed = open(&layout.lock()).unwrap();
        fs::remove_file(layout.lock()).unwrap();
        drop(held);
        flock(&removed, FlockOperation::NonBlockingLockExclusive).unwrap();
        assert!(!is_at(&removed, &layout.lock()));
        // The path's own lock is free.
        drop(Lock::take(&layout).unwrap());
    }
}
