//! `--detach`: the platform in a process of its own that outlives this one.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::process::Stdio;

use buildplane_platform::Layout;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use super::announce::Announcement;
use super::explain;
use crate::exit::ExitStatus;
use crate::failure::{Explain as _, Failure, Result};
use crate::output::line;
use crate::signals::Interrupts;

/// A log longer than this is set aside at the next start.
const LOG_LIMIT: u64 = 16 << 20;
/// Lines of the log that a failed start shows.
const LOG_TAIL: usize = 5;

pub(super) async fn run(data_dir: &Path, ports: &str) -> Result<ExitStatus> {
    let mut interrupts = Interrupts::listen()?;
    let layout = Layout::new(data_dir);
    // Before anything of ours lies there. The platform's own process checks again.
    layout.check().map_err(explain)?;
    let log = open_log(&layout)?;
    let binary = std::env::current_exe().context("cannot find the buildplane binary")?;
    let mut command = Command::new(binary);
    command.args(["up", "--announce", "--ports", ports, "--data-dir"]).arg(data_dir);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).current_dir("/");
    let mut child = command.spawn().context("cannot start the platform's process")?;
    let stdout = child.stdout.take().ok_or_else(|| Failure::new("the platform's process has no output"))?;
    tokio::select! {
        outcome = attend(stdout, &layout) => outcome,
        () = interrupts.next() => {
            stop(&mut child).await;
            Ok(ExitStatus::Interrupted)
        }
    }
}

/// Passes on what the platform says until it is ready or has failed.
async fn attend(stdout: ChildStdout, layout: &Layout) -> Result<ExitStatus> {
    let mut lines = BufReader::new(stdout).lines();
    while let Some(text) = lines.next_line().await? {
        match serde_json::from_str(&text) {
            Ok(Announcement::Progress(text)) => line(text)?,
            Ok(Announcement::Ready { instructions }) => {
                for text in instructions {
                    line(text)?;
                }
                line("`buildplane down` stops the platform; its state stays.")?;
                return Ok(ExitStatus::Success);
            }
            Ok(Announcement::Failed { chain, hint, exit }) => {
                return Err(Announcement::failure(chain, hint, exit));
            }
            Err(_) => line(text)?,
        }
    }
    let log = fs::read_to_string(layout.log()).unwrap_or_default();
    let tail: Vec<&str> = log.lines().rev().take(LOG_TAIL).collect();
    let failure =
        tail.into_iter().fold(Failure::new("the platform ended while it started"), |failure, text| {
            failure.cause(crate::output::sanitize::sanitize(text.as_bytes()))
        });
    Err(failure.hint(format!("its log is {}", layout.log().display())))
}

async fn stop(child: &mut Child) {
    if let Some(process) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
        // It may have ended by itself.
        let _ = kill_process(process, Signal::TERM);
    }
    let _ = child.wait().await;
}

fn open_log(layout: &Layout) -> Result<File> {
    let (root, path) = (layout.root(), layout.log());
    let cannot = format!("cannot use the data directory {}", root.display());
    let hint = "take a directory that you may write, with --data-dir";
    let made = DirBuilder::new().recursive(true).mode(0o700).create(root);
    made.context(cannot.clone()).hint(hint)?;
    if fs::metadata(&path).is_ok_and(|metadata| metadata.len() > LOG_LIMIT) {
        // If that fails the log only gets longer.
        let _ = fs::rename(&path, path.with_extension("log.1"));
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(&path).context(cannot).hint(hint)
}

/// Lets the terminal that started the platform close without ending it.
pub(super) fn leave_session() {
    // It fails only for a process that leads a group, which then has a session of its own already.
    let _ = rustix::process::setsid();
}
