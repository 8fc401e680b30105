//! The git command line: never through a shell, never with the user's hooks, never with a credential in an argument.

mod files;
mod push;
mod snapshot;
mod url;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

pub(crate) use push::Remote;
pub(crate) use snapshot::{Difference, Snapshot};
pub(crate) use url::GitUrl;

use crate::failure::{Explain as _, Failure, Result};

/// How git is called: in which directory, with which repository.
#[derive(Debug, Clone)]
pub(crate) struct Git {
    directory: PathBuf,
    settings: Vec<(String, String)>,
    environment: Vec<(&'static str, PathBuf)>,
}

/// What git answered.
pub(crate) struct Answer {
    pub(crate) success: bool,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Git {
    /// git in a directory of the user's. It only reads: no hook, no file-system monitor, no refresh of the index.
    pub(crate) fn reading(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), settings: Vec::new(), environment: Vec::new() }
            .setting("core.fsmonitor", "false")
            .setting("core.hooksPath", "/dev/null")
    }

    /// git on a bare repository of ours, deaf to the configuration of user and machine.
    pub(crate) fn private(repository: &Path) -> Self {
        Self {
            directory: repository.to_owned(),
            settings: Vec::new(),
            environment: vec![
                ("GIT_DIR", repository.to_owned()),
                ("GIT_CONFIG_GLOBAL", PathBuf::from("/dev/null")),
                ("GIT_CONFIG_SYSTEM", PathBuf::from("/dev/null")),
                ("GIT_CONFIG_NOSYSTEM", PathBuf::from("1")),
            ],
        }
        .setting("core.hooksPath", "/dev/null")
        // Whoever owns the machine's temporary directory, this repository is ours.
        .setting("safe.directory", "*")
    }

    /// A setting for each call. Never a secret: it stands in the arguments.
    pub(crate) fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn environment(mut self, name: &'static str, value: &Path) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    /// The directory that git is started in, where that is not the repository.
    pub(crate) fn in_directory(mut self, directory: &Path) -> Self {
        directory.clone_into(&mut self.directory);
        self
    }

    /// Runs git to its end, whatever that is.
    pub(crate) async fn answer<S: AsRef<OsStr>>(&self, arguments: &[S], input: &[u8]) -> Result<Answer> {
        let mut command = Command::new("git");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("GIT_") {
                command.env_remove(name);
            }
        }
        command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_OPTIONAL_LOCKS", "0").env("LC_ALL", "C");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        for (name, value) in &self.settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        command.args(arguments).current_dir(&self.directory).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .context("cannot start git")
            .hint("install git with the machine's package manager")?;
        let stdin = child.stdin.take();
        let feed = async {
            if let Some(mut stdin) = stdin {
                // git that ends early says why on its standard error.
                let _ = stdin.write_all(input).await;
            }
        };
        let (output, ()) = tokio::join!(child.wait_with_output(), feed);
        let output = output.context("cannot run git")?;
        Ok(Answer {
            success: output.status.success(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }

    /// Runs git and expects it to succeed.
    pub(crate) async fn run<S: AsRef<OsStr>>(&self, arguments: &[S], input: &[u8]) -> Result<Vec<u8>> {
        let answer = self.answer(arguments, input).await?;
        if answer.success {
            return Ok(answer.stdout);
        }
        let subcommand =
            arguments.first().map_or_else(String::new, |name| name.as_ref().to_string_lossy().into());
        Err(complaint(&answer.stderr).context(format!("git {subcommand} failed")))
    }

    /// One word of output.
    pub(crate) async fn word<S: AsRef<OsStr>>(&self, arguments: &[S], input: &[u8]) -> Result<String> {
        let output = self.run(arguments, input).await?;
        Ok(String::from_utf8_lossy(&output).trim().to_owned())
    }
}

/// git's own words as a failure.
fn complaint(stderr: &str) -> Failure {
    let lines = || stderr.lines().map(str::trim).filter(|line| !line.is_empty());
    let telling = lines().find(|line| line.starts_with("fatal:") || line.starts_with("error:"));
    let text = telling.or_else(|| lines().next_back()).unwrap_or("it gave no reason");
    let text = crate::output::sanitize::sanitize(text.as_bytes());
    let failure = Failure::new(text.trim_start_matches("fatal: ").trim_start_matches("error: "));
    if stderr.contains("dubious ownership") {
        return failure.hint("the directory belongs to another user; if you trust it: git config --global --add safe.directory DIR");
    }
    failure
}
