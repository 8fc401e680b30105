//! A local platform for a test: the real binary, its own data directory, free ports.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::eventually::eventually_ok;
use crate::kubectl::{Kubectl, Tools};
use crate::process::{Finished, Running, finish};
use crate::user::OrdinaryUser;

/// How long a platform may take to be ready on a busy machine.
const START: Duration = Duration::from_mins(1);
const STOP: Duration = Duration::from_secs(30);
const COMMAND: Duration = Duration::from_mins(3);

/// How a platform is started.
#[derive(Debug)]
pub struct PlatformBuilder<'a> {
    binary: PathBuf,
    data_dir: Option<PathBuf>,
    user: Option<&'a OrdinaryUser>,
}

impl<'a> PlatformBuilder<'a> {
    /// Uses a data directory that outlives the platform.
    #[must_use]
    pub fn data_dir(mut self, path: &Path) -> Self {
        self.data_dir = Some(path.to_owned());
        self
    }

    /// Runs the platform as another user.
    #[must_use]
    pub fn user(mut self, user: &'a OrdinaryUser) -> Self {
        self.user = Some(user);
        self
    }

    /// Starts the platform and waits until it is ready.
    #[track_caller]
    pub fn start(self) -> LocalPlatform {
        let scratch = tempfile::Builder::new().prefix("bp-test-").tempdir();
        let scratch = scratch.unwrap_or_else(|error| panic!("cannot make a temporary directory: {error}"));
        if let Some(user) = self.user {
            user.give(scratch.path());
        }
        let data_dir = self.data_dir.unwrap_or_else(|| scratch.path().join("data"));
        let mut command = match self.user {
            Some(user) => user.command(&self.binary),
            None => Command::new(&self.binary),
        };
        command.arg("up").args(["--ports", "auto"]).arg("--data-dir").arg(&data_dir);
        let mut process = Running::start(command);
        let state = data_dir.join("platform.json");
        let pid = process.pid();
        let state = eventually_ok("the platform is ready", START, || {
            if let Some(status) = process.ended() {
                panic!(
                    "the platform ended with {status}\n--- stdout\n{}\n--- stderr\n{}",
                    process.stdout(),
                    process.stderr()
                );
            }
            let text = std::fs::read(&state).map_err(|error| error.to_string())?;
            let state: Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
            if state["pid"] == pid { Ok(state) } else { Err("the state is another process's".to_owned()) }
        });
        LocalPlatform { binary: self.binary, data_dir, process: Some(process), state, _scratch: scratch }
    }
}

/// A running platform. It is stopped when dropped, and its data directory removed unless it was given.
#[derive(Debug)]
pub struct LocalPlatform {
    binary: PathBuf,
    data_dir: PathBuf,
    process: Option<Running>,
    state: Value,
    _scratch: TempDir,
}

impl LocalPlatform {
    /// A platform of a `buildplane` binary: `env!("CARGO_BIN_EXE_buildplane")` in its tests.
    pub fn builder<'a>(binary: impl Into<PathBuf>) -> PlatformBuilder<'a> {
        PlatformBuilder { binary: binary.into(), data_dir: None, user: None }
    }

    /// Its data directory.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The kubeconfig that it wrote.
    pub fn kubeconfig(&self) -> PathBuf {
        self.data_dir.join("kubeconfig")
    }

    /// What it says about itself: process, endpoints.
    pub fn state(&self) -> &Value {
        &self.state
    }

    /// kubectl on one of its contexts.
    pub fn kubectl(&self, tools: &Tools, context: &str) -> Kubectl {
        Kubectl::new(tools, &self.kubeconfig(), context)
    }

    /// A `buildplane` command for this platform, not started.
    pub fn command<S: AsRef<str>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments.iter().map(AsRef::as_ref));
        command.env("BUILDPLANE_DATA_DIR", &self.data_dir).env_remove("KUBECONFIG").env_remove("NO_COLOR");
        command
    }

    /// Runs a `buildplane` command for this platform to its end.
    #[track_caller]
    pub fn run<S: AsRef<str>>(&self, arguments: &[S]) -> Finished {
        finish(self.command(arguments), "", COMMAND)
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Running::stderr).unwrap_or_default()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, Running::pid)
    }

    /// Asks it to end, as Ctrl-C does, and waits.
    #[track_caller]
    pub fn stop(mut self) -> Finished {
        self.stop_in_place()
    }

    #[track_caller]
    fn stop_in_place(&mut self) -> Finished {
        let Some(process) = self.process.take() else { panic!("the platform has been stopped already") };
        process.signal("TERM");
        process.wait(STOP)
    }

    /// Kills it with SIGKILL, as a crash does.
    #[track_caller]
    pub fn kill(mut self) {
        if let Some(process) = self.process.take() {
            process.signal("KILL");
            // Waiting collects it; its output no longer matters.
            drop(process);
        }
    }
}

impl Drop for LocalPlatform {
    fn drop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        if process.ended().is_some() {
            return;
        }
        if std::thread::panicking() {
            let log = process.stderr();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            write_note(&format!("--- the platform's log, its end\n{}", tail.join("\n")));
        }
        // Children such as the registry end only with an orderly stop.
        process.signal("TERM");
        let deadline = std::time::Instant::now() + STOP;
        while process.ended().is_none() && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[expect(clippy::print_stderr, reason = "the test harness shows it beside the failure")]
fn write_note(text: &str) {
    eprintln!("{text}");
}
