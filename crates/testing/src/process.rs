//! Programs started by tests: what they said is kept, and none outlives its test.

use std::fmt;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A program's end and everything it said.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The command line, for messages.
    pub command: String,
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// Whether the exit code is 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// Standard output; panics unless the program succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.success(), "{self}");
        self.stdout
    }

    /// Standard error; panics if the program succeeded.
    #[track_caller]
    pub fn failed(self) -> String {
        assert!(!self.success(), "it should have failed: {self}");
        self.stderr
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, code, stdout, stderr } = self;
        write!(out, "`{command}` ended with {code:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

/// Runs a program to its end with `input`; kills it after `patience` and panics.
#[track_caller]
pub fn finish(mut command: Command, input: &str, patience: Duration) -> Finished {
    command.stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() });
    let mut running = Running::start(command);
    if let Some(mut stdin) = running.child.stdin.take() {
        // A program that ends without reading its input says why elsewhere.
        let _ = stdin.write_all(input.as_bytes());
    }
    running.wait(patience)
}

type Text = Arc<Mutex<String>>;

/// A program that runs beside the test. It is killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    command: String,
    stdout: Text,
    stderr: Text,
    readers: Vec<JoinHandle<()>>,
}

impl Running {
    /// Starts a program; its output is collected from now on.
    #[track_caller]
    pub fn start(mut command: Command) -> Self {
        let line = command_line(&command);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start `{line}`: {error}"));
        let (stdout, stderr) = (Text::default(), Text::default());
        let mut readers = Vec::new();
        readers.extend(child.stdout.take().map(|pipe| collect(pipe, Arc::clone(&stdout))));
        readers.extend(child.stderr.take().map(|pipe| collect(pipe, Arc::clone(&stderr))));
        Self { child, command: line, stdout, stderr, readers }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Standard output so far.
    pub fn stdout(&self) -> String {
        text(&self.stdout)
    }

    /// Standard error so far.
    pub fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// The exit status, if the program has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends a signal by its name, such as `INT`.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "cannot send SIG{name} to `{}`", self.command);
    }

    /// Waits for the end; kills the program after `patience` and panics.
    #[track_caller]
    pub fn wait(mut self, patience: Duration) -> Finished {
        let deadline = Instant::now() + patience;
        let status = loop {
            if let Some(status) = self.ended() {
                break Some(status);
            }
            if Instant::now() >= deadline {
                break None;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        if status.is_none() {
            self.kill();
        }
        // Grandchildren may hold the pipes open; what they say later is not waited for.
        let drained = Instant::now() + Duration::from_secs(2);
        while self.readers.iter().any(|reader| !reader.is_finished()) && Instant::now() < drained {
            std::thread::sleep(Duration::from_millis(5));
        }
        let finished = Finished {
            command: self.command.clone(),
            code: status.and_then(|status| status.code()),
            stdout: self.stdout(),
            stderr: self.stderr(),
        };
        assert!(status.is_some(), "killed after {patience:?}: {finished}");
        finished
    }

    fn kill(&mut self) {
        // It may have ended by itself just now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

fn collect(pipe: impl Read + Send + 'static, into: Text) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            into.lock().unwrap_or_else(PoisonError::into_inner).push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    })
}

fn text(of: &Text) -> String {
    of.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn command_line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|part| part.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_program_is_run_with_its_input_to_its_end() {
        let finished = finish(shell("cat; echo no >&2; exit 3"), "in", Duration::from_secs(10));
        assert_eq!(
            (finished.code, finished.stdout.as_str(), finished.stderr.as_str()),
            (Some(3), "in", "no\n")
        );
    }

    #[test]
    #[should_panic(expected = "killed after")]
    fn a_program_that_hangs_is_killed() {
        finish(shell("exec sleep 60"), "", Duration::from_millis(50));
    }

    #[test]
    fn a_dropped_program_is_gone() {
        let running = Running::start(shell("exec sleep 60"));
        let proc = format!("/proc/{}", running.pid());
        assert!(std::path::Path::new(&proc).exists());
        drop(running);
        assert!(!std::path::Path::new(&proc).exists());
    }
}
