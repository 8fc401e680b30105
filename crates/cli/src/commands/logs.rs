//! `buildplane logs`.

use buildplane_api::WorkflowRun;
use kube::Api;
use tokio::sync::mpsc;

use crate::connection::{Connection, ConnectionArgs};
use crate::exit::ExitStatus;
use crate::failure::{Failure, Result};
use crate::follow::{self, BlockedArgs, Ending, Following, LogOptions, OnInterrupt, View, ViewOptions};
use crate::output::note;
use crate::runs;
use crate::signals::Interrupts;

/// Show the logs of a run
#[derive(Debug, clap::Args)]
pub(crate) struct LogsArgs {
    /// Name of the run
    #[arg(value_name = "RUN")]
    run: String,
    /// Go on until the run ends
    #[arg(short, long)]
    follow: bool,
    /// Only the log of this task
    #[arg(long, value_name = "TASK")]
    task: Option<String>,
    /// The time before each line
    #[arg(long)]
    timestamps: bool,
    /// Only so many lines from the end of each task's log
    #[arg(long, value_name = "LINES", conflicts_with = "follow")]
    tail: Option<u32>,
    #[command(flatten)]
    blocked: BlockedArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(crate) async fn run(args: LogsArgs) -> Result<ExitStatus> {
    let connection = Connection::open(&args.connection).await?;
    let name = runs::name_of(&args.run);
    let api: Api<WorkflowRun> = Api::namespaced(connection.client.clone(), &connection.namespace);
    let run = runs::get(&api, name).await?;
    let options = ViewOptions { task: args.task.clone(), logs_only: true, timestamps: args.timestamps };
    let mut view = View::new(options);
    if args.follow {
        let mut interrupts = Interrupts::listen()?;
        let following = Following { on_interrupt: OnInterrupt::Leave, blocked: args.blocked.patience() };
        let ending = follow::follow(&connection, name, &mut view, following, &mut interrupts).await?;
        return Ok(match ending {
            Ending::Final { .. } => ExitStatus::Success,
            Ending::Left => ExitStatus::Interrupted,
        });
    }
    let Some(mut source) = follow::log_source(&run) else {
        let reason = runs::reason(&run).map(|reason| format!(": {reason}")).unwrap_or_default();
        note(format_args!("run {name} has no logs yet{reason}"));
        return Ok(ExitStatus::Success);
    };
    source.task = args.task;
    let client = follow::plane_client(&connection, &run).await?;
    let pods = follow::pods_of(client.clone(), &source).await?;
    if pods.is_empty() {
        return Err(match &source.task {
            Some(task) => Failure::new(format!("run {name} has no logs of a task {task}"))
                .hint("`buildplane describe` lists the tasks of a run"),
            None => Failure::new(format!("the logs of run {name} are no longer on the build plane")),
        }
        .exit(ExitStatus::NotFound));
    }
    let api = Api::namespaced(client, &source.namespace);
    let options = LogOptions { follow: false, tail: args.tail.map(i64::from) };
    let (sender, mut events) = mpsc::channel(64);
    let read = async {
        for pod in pods {
            follow::read_log(api.clone(), pod, options, sender.clone()).await;
        }
        drop(sender);
    };
    let print = async {
        while let Some(event) = events.recv().await {
            view.log(event)?;
        }
        Ok::<(), std::io::Error>(())
    };
    let ((), printed) = tokio::join!(read, print);
    printed?;
    Ok(ExitStatus::Success)
}
