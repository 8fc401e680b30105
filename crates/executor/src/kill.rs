//! Telling the thread that watches a step to end it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};

/// A flag that can be polled.
#[derive(Debug)]
pub(crate) struct KillSwitch {
    event: OwnedFd,
    killed: AtomicBool,
}

impl KillSwitch {
    pub(crate) fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { event, killed: AtomicBool::new(false) })
    }

    pub(crate) fn kill(&self) {
        self.killed.store(true, Ordering::Release);
        // It can only fail when the counter is at its end, and then the thread is awake already.
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }
}

impl AsFd for KillSwitch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
