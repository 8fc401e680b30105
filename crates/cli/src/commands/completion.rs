//! `buildplane completion`.

use std::io::{self, Write as _};

use clap::CommandFactory as _;

use crate::args::Arguments;
use crate::exit::ExitStatus;
use crate::failure::Result;

/// Print a shell completion script
///
/// For bash: `source <(buildplane completion bash)`.
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

pub(crate) fn run(args: &CompletionArgs) -> Result<ExitStatus> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Arguments::command(), "buildplane", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(ExitStatus::Success)
}
