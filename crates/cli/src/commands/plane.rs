//! `buildplane plane`: build planes and how they are doing.

mod describe;
mod events;
mod facts;
mod list;
mod register;

use clap::Subcommand;

use crate::exit::ExitStatus;
use crate::failure::Result;

/// List, describe and register build planes
#[derive(Debug, clap::Args)]
pub(crate) struct PlaneArgs {
    #[command(subcommand)]
    command: PlaneCommand,
}

#[derive(Debug, Subcommand)]
enum PlaneCommand {
    List(list::ListArgs),
    Describe(describe::DescribeArgs),
    Register(register::RegisterArgs),
}

pub(crate) async fn run(args: PlaneArgs) -> Result<ExitStatus> {
    match args.command {
        PlaneCommand::List(args) => list::run(args).await,
        PlaneCommand::Describe(args) => describe::run(args).await,
        PlaneCommand::Register(args) => Box::pin(register::run(args)).await,
    }
}
