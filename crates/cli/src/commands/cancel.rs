//! `buildplane cancel`.

use buildplane_api::WorkflowRun;
use kube::Api;

use crate::connection::{Connection, ConnectionArgs};
use crate::exit::ExitStatus;
use crate::failure::Result;
use crate::output::line;
use crate::runs;

/// End runs: what runs is terminated, what has not started never does
#[derive(Debug, clap::Args)]
pub(crate) struct CancelArgs {
    /// Names of runs
    #[arg(value_name = "RUN", required = true)]
    names: Vec<String>,
    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(crate) async fn run(args: CancelArgs) -> Result<ExitStatus> {
    let connection = Connection::open(&args.connection).await?;
    let runs: Api<WorkflowRun> = Api::namespaced(connection.client.clone(), &connection.namespace);
    for name in &args.names {
        let name = runs::name_of(name);
        let run = runs::get(&runs, name).await?;
        if let Some(phase) = runs::phase(&run).filter(|phase| phase.is_final()) {
            line(format_args!("{name} has already ended: {}", phase.as_str()))?;
            continue;
        }
        runs::cancel(&runs, name).await?;
        line(format_args!("{name} is being canceled"))?;
    }
    Ok(ExitStatus::Success)
}
