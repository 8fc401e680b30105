//! `buildplane up`.

mod announce;
mod detach;
mod ports;

use buildplane_platform::{Error, Options, Platform, Ports, Progress};

use crate::connection::DataDirArgs;
use crate::exit::ExitStatus;
use crate::failure::{Failure, Result};
use crate::output::line;
use crate::output::sanitize::sanitize;
use crate::output::terminal::{Color, Paint, seconds};
use crate::signals::Interrupts;
use announce::Announcement;

/// Run the local platform: control plane, build plane, registry and git server on this machine
///
/// Its state stays in the data directory; starting it again finds everything as it was. Ctrl-C stops it.
#[derive(Debug, clap::Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    data_dir: DataDirArgs,
    /// Return once everything is ready; the platform goes on in the background
    #[arg(short, long)]
    detach: bool,
    /// Ports: `auto` for free ones, or some of control-plane=6443,build-plane=6444,agents=8443,gateway=8444,health=8080,registry=5050,git=5051
    #[arg(long, value_name = "PORTS", value_parser = ports::parse, default_value = "", hide_default_value = true)]
    ports: PortsArgument,
    /// Tell the process that started this one how the start goes
    #[arg(long, hide = true)]
    announce: bool,
}

/// The ports with the text they were given as, to be handed on.
#[derive(Debug, Clone)]
pub(crate) struct PortsArgument {
    text: String,
    ports: Ports,
}

pub(crate) async fn run(args: UpArgs) -> Result<ExitStatus> {
    let data_dir = args.data_dir.resolve()?;
    if args.detach {
        return detach::run(&data_dir, &args.ports.text).await;
    }
    let options = Options { data_dir, ports: args.ports.ports };
    if args.announce {
        detach::leave_session();
        crate::logging::start("info", "buildplane");
        return Box::pin(announced(options)).await;
    }
    crate::logging::start("warn", "buildplane");
    Box::pin(foreground(options)).await
}

async fn foreground(options: Options) -> Result<ExitStatus> {
    let mut interrupts = Interrupts::listen()?;
    let paint = Paint::for_stdout();
    // Progress is a courtesy: a reader that went away does not stop a platform.
    let progress = |progress: Progress| drop(line(describe(paint, &progress)));
    let platform = tokio::select! {
        platform = Platform::start(options, progress) => platform.map_err(explain)?,
        () = interrupts.next() => return Ok(ExitStatus::Interrupted),
    };
    for text in instructions(&platform) {
        drop(line(text));
    }
    drop(line("Ctrl-C stops the platform; its state stays."));
    stop_on_signal(platform, interrupts).await
}

/// The detached half of `--detach`: after the announcement it says nothing more on standard output.
async fn announced(options: Options) -> Result<ExitStatus> {
    let mut interrupts = Interrupts::listen()?;
    let paint = Paint::for_stdout();
    let progress = |progress: Progress| announce::send(&Announcement::Progress(describe(paint, &progress)));
    let started = tokio::select! {
        platform = Platform::start(options, progress) => platform.map_err(explain),
        () = interrupts.next() => return Ok(ExitStatus::Interrupted),
    };
    let platform = match started {
        Ok(platform) => platform,
        Err(failure) => {
            announce::send(&Announcement::failed(&failure));
            return Err(failure);
        }
    };
    announce::send(&Announcement::Ready { instructions: instructions(&platform) });
    stop_on_signal(platform, interrupts).await
}

async fn stop_on_signal(platform: Platform, mut interrupts: Interrupts) -> Result<ExitStatus> {
    platform.run_until(interrupts.next()).await.map_err(explain)?;
    Ok(ExitStatus::Success)
}

fn describe(paint: Paint, progress: &Progress) -> String {
    let done = |text: &str| format!("{} {text}", paint.apply(Color::Good, "✔"));
    match progress {
        Progress::ApisReady => done("control plane and build plane APIs answer"),
        Progress::ServicesReady => done("gateway, registry and git server answer"),
        Progress::PlaneRegistered => done("build plane registered"),
        Progress::StepsImpossible { missing } => {
            let mut text = paint.apply(Color::Bad, "✘ no build step can run on this machine:");
            for one in missing {
                text.push_str("\n    ");
                text.push_str(one);
            }
            text
        }
        Progress::ForeignFiles { names } => {
            let names: Vec<_> = names.iter().map(|name| sanitize(name.as_encoded_bytes())).collect();
            format!(
                "! the data directory also holds {}, which is not buildplane's; `down --purge` will not remove it",
                names.join(", ")
            )
        }
        other => done(&format!("{other:?}")),
    }
}

/// What to do with a platform that is up.
fn instructions(platform: &Platform) -> Vec<String> {
    let endpoints = platform.endpoints();
    vec![
        format!("The platform is ready after {}.", seconds(platform.ready_after())),
        format!("  data       {}", platform.layout().root().display()),
        format!("  API        https://{}", endpoints.control_plane),
        format!("  registry   {}", endpoints.registry),
        String::new(),
        "Build a directory or a git repository that has a Dockerfile:".to_owned(),
        "  buildplane build <path or git URL>".to_owned(),
        "Look at it with kubectl (contexts control-plane, build-plane, via-gateway):".to_owned(),
        format!("  export KUBECONFIG={}", platform.kubeconfig_path().display()),
        "  kubectl get workflowruns".to_owned(),
        String::new(),
    ]
}

/// A platform's error with its hint.
pub(crate) fn explain(error: Error) -> Failure {
    let hint = error.hint();
    let exit = match &error {
        Error::InUse { .. }
        | Error::ForeignDirectory { .. }
        | Error::NotOurs { .. }
        | Error::Damaged { .. }
        | Error::PortTaken { .. } => ExitStatus::Refused,
        Error::NotReady { .. } => ExitStatus::TimedOut,
        _ => ExitStatus::Error,
    };
    let failure = Failure::from(error).exit(exit);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
