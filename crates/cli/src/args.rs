//! The command line.

use clap::{Parser, Subcommand};

use crate::commands::{
    base_image, build, cancel, completion, crds, describe, down, get, logs, parts, plane, retry, run, status,
    up, version,
};
use crate::demo;
use crate::exit::{self, ExitStatus};
use crate::failure::Result;

/// Builds on clusters that let nobody in.
///
/// `buildplane up` runs a whole platform on this machine; `buildplane build .` builds the working tree on it.
/// Without options, commands talk to the local platform if there is one, else to what kubectl would talk to.
#[derive(Debug, Parser)]
#[command(name = "buildplane", version, propagate_version = false, disable_help_subcommand = true)]
#[command(after_help = exit::HELP, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Up(up::UpArgs),
    Down(down::DownArgs),
    Status(status::StatusArgs),
    Build(build::BuildArgs),
    Run(run::RunArgs),
    Get(get::GetArgs),
    Describe(describe::DescribeArgs),
    Logs(logs::LogsArgs),
    Cancel(cancel::CancelArgs),
    Retry(retry::RetryArgs),
    Plane(plane::PlaneArgs),
    Demo(demo::DemoArgs),
    BaseImage(base_image::BaseImageArgs),
    Crds(crds::CrdsArgs),
    Completion(completion::CompletionArgs),
    Version(version::VersionArgs),
    #[command(flatten)]
    Part(parts::Part),
}

impl Command {
    pub(crate) async fn run(self) -> Result<ExitStatus> {
        match self {
            Self::Up(args) => Box::pin(up::run(args)).await,
            Self::Down(args) => down::run(args).await,
            Self::Status(args) => status::run(args).await,
            Self::Build(args) => Box::pin(build::run(args)).await,
            Self::Run(args) => Box::pin(run::run(args)).await,
            Self::Get(args) => Box::pin(get::run(args)).await,
            Self::Describe(args) => describe::run(args).await,
            Self::Logs(args) => Box::pin(logs::run(args)).await,
            Self::Cancel(args) => cancel::run(args).await,
            Self::Retry(args) => Box::pin(retry::run(args)).await,
            Self::Plane(args) => Box::pin(plane::run(args)).await,
            Self::Demo(args) => Box::pin(demo::run(args)).await,
            Self::BaseImage(args) => base_image::run(args).await,
            Self::Crds(args) => crds::run(&args),
            Self::Completion(args) => completion::run(&args),
            Self::Version(args) => version::run(&args),
            Self::Part(part) => part.run().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
