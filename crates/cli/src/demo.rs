//! `buildplane demo`.

use crate::exit::ExitStatus;
use crate::failure::{Failure, Result};

/// Build an image on a local build plane, from nothing, in a temporary directory
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {}

pub(crate) async fn run(_args: DemoArgs) -> Result<ExitStatus> {
    Err(Failure::new("not there yet"))
}
