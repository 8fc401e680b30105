//! `buildplane build`: the main job.
//!
//! [`source`] finds out what is to be built and, for a path, puts it where a build plane can fetch it; then a run of
//! the workflow is started and followed to its end.

mod request;
mod source;

use std::path::PathBuf;

use buildplane_api::WorkflowRun;
use kube::Api;

use crate::commands::run::find_workflow;
use crate::connection::{Connection, ConnectionArgs};
use crate::exit::ExitStatus;
use crate::failure::Result;
use crate::follow::{self, BlockedArgs, Ending, Following, OnInterrupt, View, ViewOptions};
use crate::output::line;
use crate::output::terminal::{Color, Paint};
use crate::parameters::Assignment;
use crate::runs;
use crate::signals::Interrupts;
pub(crate) use source::Source;

/// Build a directory or a git repository into an image
///
/// A directory is built as it is, changes and new files included; what .gitignore names is left out. The exit status
/// is the build's.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct BuildArgs {
    /// Directory, or git URL
    #[arg(value_name = "PATH|URL", default_value = ".")]
    pub(crate) source: String,
    /// Dockerfile, relative to the directory or repository
    #[arg(short, long, value_name = "FILE", default_value = "Dockerfile")]
    pub(crate) file: PathBuf,
    /// Branch of a git URL [default: the workflow's]
    #[arg(long, value_name = "BRANCH")]
    pub(crate) branch: Option<String>,
    /// Commit of a git URL
    #[arg(long, value_name = "COMMIT")]
    pub(crate) commit: Option<String>,
    /// SecretReference with the credential for a git URL
    #[arg(long, value_name = "NAME")]
    pub(crate) secret_ref: Option<String>,
    /// Component that is built [default: the name of the directory or repository]
    #[arg(long, value_name = "COMPONENT")]
    pub(crate) name: Option<String>,
    /// Project of the component
    #[arg(long, value_name = "PROJECT", default_value = "default")]
    pub(crate) project: String,
    /// Workflow that builds
    #[arg(long, value_name = "WORKFLOW", default_value = "docker")]
    pub(crate) workflow: String,
    /// A further parameter of the workflow
    #[arg(short, long = "param", value_name = "NAME=VALUE", value_parser = Assignment::parse)]
    pub(crate) parameters: Vec<Assignment>,
    /// Only start the build
    #[arg(short, long)]
    pub(crate) detach: bool,
    #[command(flatten)]
    pub(crate) blocked: BlockedArgs,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

pub(crate) async fn run(args: BuildArgs) -> Result<ExitStatus> {
    let mut interrupts = Interrupts::listen()?;
    let source = Source::parse(&args)?;
    let connection = Connection::open(&args.connection).await?;
    // Until the run exists there is nothing to cancel: what was begun is dropped, with its temporary files.
    let started = tokio::select! {
        started = start(&connection, &source, &args) => started?,
        () = interrupts.next() => return Ok(ExitStatus::Interrupted),
    };
    if args.detach {
        return Ok(ExitStatus::Success);
    }
    let mut view = View::new(ViewOptions::default());
    let following = Following { on_interrupt: OnInterrupt::Cancel, blocked: args.blocked.patience() };
    let ending = follow::follow(&connection, &started, &mut view, following, &mut interrupts).await?;
    let image = match &ending {
        Ending::Final { run, .. } => runs::output(run, "image").map(str::to_owned),
        Ending::Left => None,
    };
    let status = crate::commands::run::finish(&started, ending, &view)?;
    if let Some(image) = image.filter(|_| status == ExitStatus::Success) {
        let image = crate::output::sanitize::sanitize(image.as_bytes());
        line(format_args!("{} {image}", Paint::for_stdout().apply(Color::Good, "image")))?;
    }
    Ok(status)
}

/// Starts the build's run and returns its name.
pub(crate) async fn start(connection: &Connection, source: &Source, args: &BuildArgs) -> Result<String> {
    // Asked first: nothing is pushed for a build that cannot start.
    let workflow = find_workflow(connection, &args.workflow).await?;
    let fetched = source.prepare(connection, args).await?;
    let new = request::run_for(&workflow, &fetched, args)?;
    let api: Api<WorkflowRun> = Api::namespaced(connection.client.clone(), &connection.namespace);
    let run = runs::start(&api, new).await?;
    let name = run.metadata.name.unwrap_or_default();
    line(format_args!("run {name} started in namespace {}", connection.namespace))?;
    Ok(name)
}
