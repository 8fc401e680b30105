//! One platform a data directory.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::{FlockOperation, flock};

use crate::{Error, Layout};

/// The held lock; the kernel lets it go when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, or tells which process has it.
    pub(crate) fn take(layout: &Layout) -> Result<Self, Error> {
        let path = layout.lock();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|source| Error::path("open", &path, source))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            // Best effort: the message only gets less precise.
            let _ = file.read_to_string(&mut holder);
            return Err(Error::InUse {
                path: layout.root().to_owned(),
                pid: holder.trim().parse().unwrap_or(0),
            });
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(|source| Error::path("write", &path, source))?;
        Ok(Self { _file: file })
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
