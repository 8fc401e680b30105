//! `buildplane demo`: from nothing to a published image, on a build plane that dialed in.
//!
//! The platform is the one of `buildplane up`, in a temporary data directory on free ports. Everything after its start
//! goes through its APIs as any client would; the kubectl lines that do the same are printed. One file a step:
//!
//! ```text
//!  platform ▶ plane ▶ base_image ▶ build ▶ image ▶ workload
//! ```

pub(crate) mod base_image;
mod build;
mod image;
mod narrator;
mod plane;
mod platform;
pub(crate) mod registry;
mod workload;

use std::path::PathBuf;

use kube::Client;
use tempfile::TempDir;

use crate::connection::Connection;
use crate::exit::ExitStatus;
use crate::failure::{Explain as _, Result};
use crate::output::note;
use crate::signals::Interrupts;
use narrator::Narrator;
use platform::RunningPlatform;

/// The namespace, the project and the component that are built for.
const NAMESPACE: &str = "demo";
const PROJECT: &str = "demo";
const COMPONENT: &str = "greeter";

/// Build an image on a local build plane, from nothing, in a temporary directory
///
/// Starts a platform on free ports, registers a build plane, builds a small program, publishes, pulls and runs it, and
/// leaves nothing behind.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Keep the data directory, to look at what happened
    #[arg(long)]
    keep: bool,
}

/// What the steps work with.
struct Demo {
    narrator: Narrator,
    /// A private directory for the steps' own files.
    scratch: PathBuf,
    /// The control plane, namespace [`NAMESPACE`].
    connection: Connection,
    /// The build plane's API, as its owner sees it.
    build_plane: Client,
}

pub(crate) async fn run(args: DemoArgs) -> Result<ExitStatus> {
    let mut interrupts = Interrupts::listen()?;
    let scratch = tempfile::Builder::new()
        .prefix("buildplane-demo-")
        .tempdir()
        .context("cannot make a temporary directory")?;
    let mut narrator = Narrator::new();
    let started = tokio::select! {
        started = platform::start(&mut narrator, scratch.path()) => started,
        () = interrupts.next() => {
            note("interrupted; cleaning up");
            clean_up(scratch, None, args.keep).await?;
            return Ok(ExitStatus::Interrupted);
        }
    };
    let platform = match started {
        Ok(platform) => platform,
        Err(failure) => {
            clean_up(scratch, None, args.keep).await?;
            return Err(failure);
        }
    };
    let outcome = tokio::select! {
        outcome = steps(narrator, &scratch) => outcome,
        () = interrupts.next() => {
            note("interrupted; cleaning up");
            Ok(ExitStatus::Interrupted)
        }
    };
    let cleaned = clean_up(scratch, Some(platform), args.keep).await;
    let status = outcome?;
    cleaned?;
    Ok(status)
}

async fn steps(narrator: Narrator, scratch: &TempDir) -> Result<ExitStatus> {
    let mut demo = platform::connect(narrator, scratch.path()).await?;
    plane::register(&mut demo).await?;
    base_image::step(&mut demo).await?;
    let run = build::run(&mut demo).await?;
    image::pull_and_run(&mut demo, &run).await?;
    workload::show(&mut demo).await?;
    demo.narrator.summary()?;
    Ok(ExitStatus::Success)
}

/// Stops the platform and removes every file. It runs to its end whatever came before.
async fn clean_up(scratch: TempDir, platform: Option<RunningPlatform>, keep: bool) -> Result<()> {
    image::remove_storage(scratch.path()).await;
    let stopped = match platform {
        Some(platform) => platform.stop().await,
        None => Ok(()),
    };
    if keep {
        let kept = scratch.keep();
        note(format_args!("kept {}", kept.display()));
        return stopped;
    }
    let purged = platform::purge(scratch.path()).await;
    let removed = scratch.close().context("cannot remove the temporary directory");
    stopped.and(purged).and(removed)
}
