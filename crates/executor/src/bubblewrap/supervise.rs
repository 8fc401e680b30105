//! Watching one step from its start to the end of its last process.

use std::collections::BTreeMap;
use std::io::{self, PipeReader, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tracing::warn;

use super::launch::Launched;
use super::outputs::Outputs;
use super::status::Status;
use crate::cgroup::Cgroup;
use crate::kill::KillSwitch;
use crate::{End, Limits, LogWriter, Outcome, Output};

/// How often free space is looked at and an unfinished line is written down.
const TICK: Duration = Duration::from_millis(500);

/// The most that is read at once.
const READ: usize = 64 << 10;

/// A step being watched, on a thread of its own.
pub(super) struct Watch<'a> {
    pub(super) log: LogWriter,
    pub(super) wanted: Vec<Output>,
    pub(super) limits: Limits,
    pub(super) switch: &'a KillSwitch,
    pub(super) cgroup: Option<Cgroup>,
    /// Where free space is looked at.
    pub(super) volumes: &'a Path,
}

/// What goes on while a step runs.
struct Running {
    child: Child,
    output: Option<PipeReader>,
    status_pipe: Option<PipeReader>,
    outputs_pipe: Option<PipeReader>,
    status: Status,
    outputs: Outputs,
    /// The first process of the sandbox; when it has ended, all of them have.
    first: Option<OwnedFd>,
    first_ended: bool,
    /// The last of what was written, for the message of a sandbox that could not be set up.
    tail: Vec<u8>,
    stopped: Option<End>,
}

impl Watch<'_> {
    /// Watches until no process of the step is left.
    pub(super) fn run(mut self, launched: Launched) -> Outcome {
        let started_at = SystemTime::now();
        let mut running = Running {
            child: launched.child,
            output: Some(launched.output),
            status_pipe: Some(launched.status),
            outputs_pipe: launched.outputs,
            status: Status::default(),
            outputs: Outputs::default(),
            first: None,
            first_ended: false,
            tail: Vec::new(),
            stopped: None,
        };
        let deadline = Instant::now().checked_add(self.limits.duration);
        let mut next_tick = Instant::now() + TICK;
        while !running.is_over() {
            if let Err(error) = running.wait(self.switch, next_tick, &mut self.log) {
                warn!(%error, "lost sight of a step; it is being killed");
                running.stop(End::Failed(format!("lost sight of the step: {error}")));
                break;
            }
            self.enforce(&mut running, deadline, &mut next_tick);
        }
        self.finish(running, started_at)
    }

    fn enforce(&mut self, running: &mut Running, deadline: Option<Instant>, next_tick: &mut Instant) {
        if self.switch.is_killed() {
            running.stop(End::Killed);
        }
        let now = Instant::now();
        if deadline.is_some_and(|deadline| now >= deadline) {
            running.stop(End::TimedOut);
        }
        if now >= *next_tick {
            *next_tick = now + TICK;
            self.log.flush();
            if free_bytes(self.volumes).is_some_and(|free| free < self.limits.min_free) {
                running.stop(End::DiskFull);
            }
        }
    }

    fn finish(mut self, mut running: Running, started_at: SystemTime) -> Outcome {
        let exited = running.reap();
        let end = match (running.stopped.take(), exited) {
            (Some(end), _) => end,
            (None, _) if self.cgroup.as_ref().is_some_and(Cgroup::ran_out_of_memory) => End::OutOfMemory,
            (None, Ok(())) => match running.status.exit_code() {
                Some(code) => End::Exited(code),
                None => End::Failed(running.complaint()),
            },
            (None, Err(error)) => End::Failed(format!("lost sight of the step: {error}")),
        };
        if let Some(note) = note(&end, &self.limits) {
            self.log.flush();
            self.log.note(&note);
        }
        if let Some(cgroup) = self.cgroup {
            cgroup.remove();
        }
        let log_truncation = self.log.truncation();
        drop(self.log);
        let outputs = running.outputs.into_files(&self.wanted);
        Outcome { end, started_at, finished_at: SystemTime::now(), outputs, log_truncation }
    }
}

/// The last line of a log whose step did not end by itself.
fn note(end: &End, limits: &Limits) -> Option<String> {
    match end {
        End::Exited(_) => None,
        End::TimedOut => Some(format!("[killed: it ran longer than {} s]", limits.duration.as_secs())),
        End::Killed => Some("[killed on request]".to_owned()),
        End::OutOfMemory => Some("[killed: it used more memory than it may]".to_owned()),
        End::DiskFull => Some("[killed: the disk is full]".to_owned()),
        End::Failed(message) => Some(format!("[the sandbox failed: {message}]")),
    }
}

impl Running {
    /// The sandbox is empty and everything it wrote has been read; or it never came to be.
    fn is_over(&self) -> bool {
        let silent = self.output.is_none() && self.status_pipe.is_none();
        silent && (self.first.is_none() || self.first_ended)
    }

    /// Waits for something to happen, and takes in what did.
    fn wait(&mut self, switch: &KillSwitch, until: Instant, log: &mut LogWriter) -> io::Result<()> {
        let killed = self.stopped.is_some() || switch.is_killed();
        let mut polled: Vec<(Source, BorrowedFd<'_>)> = Vec::with_capacity(5);
        let sources = [
            (Source::Output, self.output.as_ref().map(AsFd::as_fd)),
            (Source::Status, self.status_pipe.as_ref().map(AsFd::as_fd)),
            (Source::Outputs, self.outputs_pipe.as_ref().map(AsFd::as_fd)),
            (Source::First, self.first.as_ref().filter(|_| !self.first_ended).map(AsFd::as_fd)),
            // Once it has been seen it stays readable, and there is nothing more to learn from it.
            (Source::Switch, Some(switch.as_fd()).filter(|_| !killed)),
        ];
        polled.extend(sources.into_iter().filter_map(|(source, fd)| Some((source, fd?))));
        let mut fds: Vec<_> =
            polled.iter().map(|(_, fd)| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<Source> = polled
            .iter()
            .zip(&fds)
            .filter(|(_, fd)| !fd.revents().is_empty())
            .map(|((source, _), _)| *source)
            .collect();
        for source in ready {
            self.take(source, log)?;
        }
        Ok(())
    }

    fn take(&mut self, source: Source, log: &mut LogWriter) -> io::Result<()> {
        match source {
            Source::Output => {
                if let Some(bytes) = read(&mut self.output)? {
                    log.write(&bytes);
                    self.tail.extend_from_slice(&bytes);
                    let excess = self.tail.len().saturating_sub(512);
                    self.tail.drain(..excess);
                }
            }
            Source::Status => {
                if let Some(bytes) = read(&mut self.status_pipe)? {
                    self.status.take(&bytes);
                    self.open_first()?;
                }
            }
            Source::Outputs => {
                if let Some(bytes) = read(&mut self.outputs_pipe)? {
                    self.outputs.take(&bytes);
                }
            }
            Source::First => self.first_ended = true,
            Source::Switch => {}
        }
        Ok(())
    }

    fn open_first(&mut self) -> io::Result<()> {
        if let (None, Some(pid_of_first)) = (&self.first, self.status.child_pid()) {
            match Pid::from_raw(pid_of_first).map(|pid| pidfd_open(pid, PidfdFlags::empty())) {
                Some(Ok(fd)) => self.first = Some(fd),
                // It has come and gone already.
                Some(Err(rustix::io::Errno::SRCH)) | None => {}
                Some(Err(error)) => return Err(error.into()),
            }
            if self.stopped.is_some() || !is_armed(pid_of_first) {
                self.kill_all();
            } else if let Some(mut input) = self.child.stdin.take() {
                // A sandbox that has ended already will not read it.
                let _ = input.write_all(b"go\n");
            }
        }
        Ok(())
    }

    /// Kills every process of the step, for this reason if there was none before.
    fn stop(&mut self, end: End) {
        if self.stopped.is_none() {
            self.stopped = Some(end);
            self.kill_all();
        }
    }

    /// The kernel ends a process namespace with its first process. While that is not known yet nothing is killed:
    /// bubblewrap's child would outlive it, and will be killed as soon as bubblewrap has named it.
    fn kill_all(&self) {
        if let Some(first) = &self.first {
            // It may have ended meanwhile, which is as good.
            let _ = pidfd_send_signal(first, Signal::KILL);
        }
    }

    /// Waits for bubblewrap itself, which has nothing left to do.
    fn reap(&mut self) -> io::Result<()> {
        if self.first.is_some() && !self.first_ended {
            self.kill_all();
            if let Some(first) = &self.first {
                let _ = poll(&mut [PollFd::new(first, PollFlags::IN)], None);
            }
        }
        self.child.wait().map(|_| ())
    }

    fn complaint(&self) -> String {
        let tail = String::from_utf8_lossy(&self.tail);
        let line = tail.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
        line.trim().to_owned()
    }
}

#[derive(Clone, Copy)]
enum Source {
    Output,
    Status,
    Outputs,
    First,
    Switch,
}

/// Reads what is there; at the end the pipe is let go.
fn read(pipe: &mut Option<PipeReader>) -> io::Result<Option<Vec<u8>>> {
    let Some(reader) = pipe else { return Ok(None) };
    let mut buffer = vec![0; READ];
    let length = match reader.read(&mut buffer) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(None),
        result => result?,
    };
    if length == 0 {
        *pipe = None;
        return Ok(None);
    }
    buffer.truncate(length);
    Ok(Some(buffer))
}

/// Waits until the first process of a sandbox will die with bubblewrap. It asks the kernel for that and then installs its
/// filter, which shows from outside. `false` when it never does, or has gone.
fn is_armed(pid: i32) -> bool {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { return false };
        if status.lines().any(|line| line == "Seccomp:\t2") {
            return true;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    false
}

fn free_bytes(path: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(path).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

/// The outputs by name.
pub(super) type Files = BTreeMap<String, Vec<u8>>;
