//! What bubblewrap is told, and the descriptors it is told about.
//!
//! The arguments go through a descriptor, since among them are variables with secrets in them, and an argument list can
//! be read by every user of the host.

use std::io::{self, Seek as _, Write as _};
use std::os::fd::{OwnedFd, RawFd};

use command_fds::FdMapping;
use rustix::fs::{MemfdFlags, memfd_create};

/// Descriptors with a place of their own; files come after them.
pub(super) const OUTPUTS: RawFd = 3;
pub(super) const STATUS: RawFd = 4;
pub(super) const SECCOMP: RawFd = 5;
pub(super) const ARGUMENTS: RawFd = 6;
/// The program's first shell closes these two, and a shell knows one digit only.
pub(super) const LISTENER: RawFd = 7;
pub(super) const INNER: RawFd = 9;
const FIRST_FILE: RawFd = 20;

/// Whether a step's set-up puts a descriptor of its own on this number.
pub(super) fn taken(arguments: &Arguments, number: RawFd) -> bool {
    number == ARGUMENTS || arguments.files.iter().any(|file| file.child_fd == number)
}

/// Arguments being written.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    text: Vec<u8>,
    files: Vec<FdMapping>,
}

impl Arguments {
    /// Adds arguments, none of which holds a NUL byte.
    pub(super) fn push<'a>(&mut self, arguments: impl IntoIterator<Item = &'a str>) {
        for argument in arguments {
            self.text.extend_from_slice(argument.as_bytes());
            self.text.push(0);
        }
    }

    /// Adds a file with this content.
    pub(super) fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        let number = FIRST_FILE + RawFd::try_from(self.files.len()).unwrap_or(RawFd::MAX - FIRST_FILE);
        self.push(["--perms", &format!("{mode:04o}"), "--file", &number.to_string(), path]);
        self.files.push(FdMapping { parent_fd: in_memory(content)?, child_fd: number });
        Ok(())
    }

    /// Hands over a descriptor.
    pub(super) fn descriptor(&mut self, parent_fd: OwnedFd, child_fd: RawFd) {
        self.files.push(FdMapping { parent_fd, child_fd });
    }

    /// The descriptors a child must be given.
    pub(super) fn into_mappings(mut self) -> io::Result<Vec<FdMapping>> {
        let text = in_memory(&self.text)?;
        self.descriptor(text, ARGUMENTS);
        Ok(self.files)
    }
}

/// A file that exists in memory only, read from its start.
pub(super) fn in_memory(content: &[u8]) -> io::Result<OwnedFd> {
    let mut file = std::fs::File::from(memfd_create("step", MemfdFlags::CLOEXEC)?);
    file.write_all(content)?;
    file.rewind()?;
    Ok(file.into())
}
