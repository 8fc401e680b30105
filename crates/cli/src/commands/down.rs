//! `buildplane down`.

use std::time::{Duration, Instant};

use buildplane_platform::{Layout, state};
use rustix::process::{Pid, Signal, kill_process};

use crate::commands::up::explain;
use crate::connection::DataDirArgs;
use crate::exit::ExitStatus;
use crate::failure::{Explain as _, Failure, Result};
use crate::output::line;

/// Stop the local platform
#[derive(Debug, clap::Args)]
pub(crate) struct DownArgs {
    #[command(flatten)]
    data_dir: DataDirArgs,
    /// Remove the data directory and everything in it
    #[arg(long)]
    purge: bool,
    /// How many seconds the platform may take to stop
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u64,
}

const POLL: Duration = Duration::from_millis(20);

pub(crate) async fn run(args: DownArgs) -> Result<ExitStatus> {
    let data_dir = args.data_dir.resolve()?;
    let layout = Layout::new(&data_dir);
    match state::holder(&layout) {
        Some(pid) => {
            stop(&layout, pid, Duration::from_secs(args.timeout)).await?;
            line(format_args!("the platform (process {pid}) is stopped"))?;
        }
        None => line(format_args!("no platform runs on {}", data_dir.display()))?,
    }
    if args.purge {
        buildplane_platform::purge(&data_dir).await.map_err(explain)?;
        line(format_args!("{} is removed", data_dir.display()))?;
    }
    Ok(ExitStatus::Success)
}

/// Asks the process that holds the data directory to end, and waits until it has.
async fn stop(layout: &Layout, pid: u32, patience: Duration) -> Result<()> {
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let process = process.ok_or_else(|| Failure::new("the data directory's lock names no process"))?;
    match kill_process(process, Signal::TERM) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => return Err(error).context(format!("cannot stop process {pid}")),
    }
    let deadline = Instant::now() + patience;
    while state::holder(layout) == Some(pid) {
        if Instant::now() > deadline {
            return Err(Failure::new(format!("process {pid} did not stop within {} s", patience.as_secs()))
                .hint(format!("`kill -9 {pid}` ends it; nothing acknowledged is lost"))
                .exit(ExitStatus::TimedOut));
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}
