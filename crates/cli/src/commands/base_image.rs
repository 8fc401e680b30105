//! `buildplane base-image`.

use crate::connection::{Connection, ConnectionArgs};
use crate::demo::base_image::publish;
use crate::demo::registry::Registry;
use crate::exit::ExitStatus;
use crate::failure::{Explain as _, Result};
use crate::output::line;

/// Push a small base image, made of this machine's busybox, to the local registry
///
/// For machines that can pull no image: Dockerfiles name it as registry.buildplane.local/library/busybox:latest.
#[derive(Debug, clap::Args)]
pub(crate) struct BaseImageArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(crate) async fn run(args: BaseImageArgs) -> Result<ExitStatus> {
    let connection = Connection::open(&args.connection).await?;
    let registry = Registry::connect(&connection).await?;
    let scratch = tempfile::Builder::new()
        .prefix("buildplane-base-image-")
        .tempdir()
        .context("cannot make a temporary directory")?;
    let published = publish(&registry, scratch.path()).await?;
    line(published.name)?;
    Ok(ExitStatus::Success)
}
