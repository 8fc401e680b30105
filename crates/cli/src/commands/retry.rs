//! `buildplane retry`.

use buildplane_api::WorkflowRun;
use buildplane_api::run::RunPhase;
use kube::Api;

use crate::commands::run::{finish, follow_to_end};
use crate::connection::{Connection, ConnectionArgs};
use crate::exit::ExitStatus;
use crate::failure::{Failure, Result};
use crate::follow::{BlockedArgs, View, ViewOptions};
use crate::output::line;
use crate::runs::{self, NewRun};

/// Start a run again: a new run with the same workflow, parameters and labels
#[derive(Debug, clap::Args)]
pub(crate) struct RetryArgs {
    /// Name of the run
    #[arg(value_name = "RUN")]
    run: String,
    /// Show the new run as it goes on; the exit status is its own
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    blocked: BlockedArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// On a run that was started as a retry: the run that it repeats.
const RETRY_OF: &str = "buildplane.openchoreo.dev/retry-of";

pub(crate) async fn run(args: RetryArgs) -> Result<ExitStatus> {
    let connection = Connection::open(&args.connection).await?;
    let name = runs::name_of(&args.run);
    let api: Api<WorkflowRun> = Api::namespaced(connection.client.clone(), &connection.namespace);
    let old = runs::get(&api, name).await?;
    if !runs::phase(&old).is_some_and(RunPhase::is_final) {
        return Err(Failure::new(format!("run {name} has not ended yet"))
            .hint(format!("`buildplane cancel {name}` ends it"))
            .exit(ExitStatus::Refused));
    }
    let prefix = old.metadata.generate_name.clone().unwrap_or_else(|| name.to_owned());
    let started = runs::start(
        &api,
        NewRun {
            workflow: old.spec.workflow.name.clone(),
            prefix: prefix.trim_end_matches('-').to_owned(),
            name: None,
            parameters: old.spec.workflow.parameters.clone(),
            labels: old.metadata.labels.clone().unwrap_or_default(),
            annotations: [(RETRY_OF.to_owned(), name.to_owned())].into(),
        },
    )
    .await?;
    let new = started.metadata.name.unwrap_or_default();
    line(format_args!("run {new} started, in place of {name}"))?;
    if !args.follow {
        return Ok(ExitStatus::Success);
    }
    let mut view = View::new(ViewOptions::default());
    let ending = follow_to_end(&connection, &new, &mut view, args.blocked).await?;
    finish(&new, ending, &view)
}
