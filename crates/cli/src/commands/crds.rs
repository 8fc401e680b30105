//! `buildplane crds`.

use crate::exit::ExitStatus;
use crate::failure::{Explain as _, Result};
use crate::output::document::{DocumentFormat, render};
use crate::output::line;

/// Print the custom resource definitions, ready for `kubectl apply -f -`
#[derive(Debug, clap::Args)]
pub(crate) struct CrdsArgs {
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "yaml")]
    output: DocumentFormat,
}

pub(crate) fn run(args: &CrdsArgs) -> Result<ExitStatus> {
    let crds = buildplane_api::crds();
    if args.output == DocumentFormat::Json {
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": crds});
        line(render(&list, args.output)?)?;
        return Ok(ExitStatus::Success);
    }
    for crd in crds {
        line("---")?;
        let document = serde_json::to_value(&crd).context("cannot print the definition")?;
        line(render(&document, args.output)?)?;
    }
    Ok(ExitStatus::Success)
}
