//! `buildplane version`.

use crate::exit::ExitStatus;
use crate::failure::Result;
use crate::output::document::{DocumentFormat, render};
use crate::output::line;

/// Print the version
#[derive(Debug, clap::Args)]
pub(crate) struct VersionArgs {
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<DocumentFormat>,
}

pub(crate) fn run(args: &VersionArgs) -> Result<ExitStatus> {
    let version = env!("CARGO_PKG_VERSION");
    match args.output {
        None => line(format_args!("buildplane {version}"))?,
        Some(format) => {
            let document = serde_json::json!({
                "version": version,
                "os": std::env::consts::OS,
                "arch": std::env::consts::ARCH,
                "api": buildplane_api::meta::API_VERSION,
            });
            line(render(&document, format)?)?;
        }
    }
    Ok(ExitStatus::Success)
}
