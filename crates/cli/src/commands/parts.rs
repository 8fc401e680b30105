//! One part of the system alone, for Kubernetes and for debugging. `up` runs the same parts together.
//!
//! Secrets come as files, never as values. Files of certificates are read again while a part runs, so that a renewed
//! one needs no restart.

mod agent;
mod apiserver;
mod controller;
mod engine;
mod files;
mod gateway;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use kube::Config;
use kube::config::KubeConfigOptions;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::exit::ExitStatus;
use crate::failure::{Explain as _, Failure, Result};
use crate::signals::Interrupts;

#[derive(Debug, Subcommand)]
#[command(next_display_order = 100)]
pub(crate) enum Part {
    Controller(controller::ControllerArgs),
    Gateway(gateway::GatewayArgs),
    Agent(agent::AgentArgs),
    Engine(engine::EngineArgs),
    Apiserver(apiserver::ApiserverArgs),
}

impl Part {
    pub(crate) async fn run(self) -> Result<ExitStatus> {
        let name = match self {
            Self::Controller(_) => "buildplane-controller",
            Self::Gateway(_) => "buildplane-gateway",
            Self::Agent(_) => "buildplane-agent",
            Self::Engine(_) => "buildplane-engine",
            Self::Apiserver(_) => "buildplane-apiserver",
        };
        crate::logging::start("info", name);
        match self {
            Self::Controller(args) => Box::pin(controller::run(args)).await,
            Self::Gateway(args) => Box::pin(gateway::run(args)).await,
            Self::Agent(args) => Box::pin(agent::run(args)).await,
            Self::Engine(args) => Box::pin(engine::run(args)).await,
            Self::Apiserver(args) => Box::pin(apiserver::run(args)).await,
        }
    }
}

/// Which Kubernetes API a part works on.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Kubernetes API")]
struct ApiArgs {
    /// Kubeconfig file [default: the pod's own service account]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME", requires = "kubeconfig")]
    context: Option<String>,
}

impl ApiArgs {
    async fn config(&self) -> Result<Config> {
        let Some(path) = &self.kubeconfig else {
            return Config::incluster()
                .context("this is no pod with a service account")
                .hint("name a kubeconfig with --kubeconfig FILE");
        };
        let cannot = || format!("cannot use kubeconfig {}", path.display());
        let kubeconfig = kube::config::Kubeconfig::read_from(path).context(cannot())?;
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        Config::from_custom_kubeconfig(kubeconfig, &options).await.context(cannot())
    }
}

/// Binds a listener; a taken port is the first thing to be known.
async fn bind(address: SocketAddr, purpose: &str) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .context(format!("cannot listen on {address} ({purpose})"))
        .exit(ExitStatus::Refused)
}

/// How long a part may take to come to its end.
const GRACE: Duration = Duration::from_secs(30);

/// Runs a part until it is told to end; the second signal, or the end of patience, ends it at once.
async fn until_told<E: Into<Failure>>(
    stop: CancellationToken,
    part: impl Future<Output = std::result::Result<(), E>>,
) -> Result<ExitStatus> {
    let mut interrupts = Interrupts::listen()?;
    let mut part = std::pin::pin!(part);
    tokio::select! {
        ended = &mut part => ended.map_err(Into::into)?,
        () = interrupts.next() => {
            tracing::info!("stopping");
            stop.cancel();
            tokio::select! {
                ended = part => ended.map_err(Into::into)?,
                () = interrupts.next() => return Ok(ExitStatus::Interrupted),
                () = tokio::time::sleep(GRACE) => {
                    return Err(Failure::new(format!("not at an end after {} s", GRACE.as_secs())).exit(ExitStatus::TimedOut));
                }
            }
        }
    }
    Ok(ExitStatus::Success)
}
