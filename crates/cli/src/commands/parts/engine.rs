//! `buildplane engine`.

use buildplane_engine::{Config, Engine};
use kube::Client;
use tokio_util::sync::CancellationToken;

use super::{ApiArgs, until_told};
use crate::exit::ExitStatus;
use crate::failure::{Explain as _, Result};

/// Run the workflow engine: Argo Workflows become pods
#[derive(Debug, clap::Args)]
pub(crate) struct EngineArgs {
    /// How many workflows may be under way at a time; the others wait
    #[arg(long, value_name = "NUMBER")]
    active_workflows: Option<usize>,
    #[command(flatten)]
    api: ApiArgs,
}

pub(super) async fn run(args: EngineArgs) -> Result<ExitStatus> {
    let client = Client::try_from(args.api.config().await?).context("cannot prepare the API client")?;
    let config = Config { active_workflows: args.active_workflows, ..Config::default() };
    let stop = CancellationToken::new();
    until_told(stop.clone(), Engine::new(client, config).run(stop)).await
}
