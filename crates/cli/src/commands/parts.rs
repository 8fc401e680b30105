//! One part of the system alone, for Kubernetes and for debugging.

use clap::Subcommand;

use crate::exit::ExitStatus;
use crate::failure::{Failure, Result};

#[derive(Debug, Subcommand)]
#[command(next_display_order = 100)]
pub(crate) enum Part {
    /// Run the controllers
    Controller(ControllerArgs),
    /// Run the cluster gateway
    Gateway(GatewayArgs),
    /// Run the cluster agent
    Agent(AgentArgs),
    /// Run the workflow engine
    Engine(EngineArgs),
    /// Run an embedded API server
    Apiserver(ApiserverArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ControllerArgs {}
#[derive(Debug, clap::Args)]
pub(crate) struct GatewayArgs {}
#[derive(Debug, clap::Args)]
pub(crate) struct AgentArgs {}
#[derive(Debug, clap::Args)]
pub(crate) struct EngineArgs {}
#[derive(Debug, clap::Args)]
pub(crate) struct ApiserverArgs {}

impl Part {
    pub(crate) async fn run(self) -> Result<ExitStatus> {
        Err(Failure::new("this part cannot be run alone yet").hint("`buildplane up` runs all parts together"))
    }
}
