//! What the tunnel costs, measured in one run: the product beside a direct connection, beside a bare chain over the same
//! hops, and beside upstream's JSON protocol.
//!
//! ```text
//!  load ──TLS──▶ gateway ◀═TLS, WebSocket═ agent ──TLS──▶ backend      each a process of its own
//! ```
//!
//! `buildplane-bench tunnel` starts everything else by itself. Start reading at [`run`].

#![expect(clippy::cast_precision_loss, reason = "counts become numbers that people compare")]

mod backend;
mod bare;
mod cancel;
mod client;
mod clock;
mod fleet;
mod json;
mod lag;
mod limits;
mod load;
mod pki;
mod process;
mod product;
mod report;
mod run;
mod slow;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::pki::Pki;

/// Measures the tunnel
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// Runs the whole benchmark, or is one of its processes.
#[derive(Debug, Subcommand)]
enum Command {
    /// Run the benchmark of the tunnel and write its numbers
    Tunnel(run::Args),
    /// The server behind all contestants
    #[command(hide = true)]
    Backend { pki: PathBuf },
    /// The bare chain's gateway
    #[command(hide = true)]
    BareGateway { pki: PathBuf },
    /// The bare chain's agent
    #[command(hide = true)]
    BareAgent { pki: PathBuf, gateway: SocketAddr, backend: SocketAddr },
    /// Upstream's protocol: gateway
    #[command(hide = true)]
    JsonGateway { pki: PathBuf },
    /// Upstream's protocol: agent
    #[command(hide = true)]
    JsonAgent { pki: PathBuf, gateway: SocketAddr, backend: SocketAddr },
    /// Callers that ask as fast as they are answered
    #[command(hide = true)]
    Load { pki: PathBuf, address: SocketAddr, path: String, callers: usize, millis: u64 },
    /// Callers that never read
    #[command(hide = true)]
    Slow { pki: PathBuf, address: SocketAddr, path: String, streams: usize },
    /// Many idle agents
    #[command(hide = true)]
    Fleet { pki: PathBuf, gateway: SocketAddr, agents: usize },
}

/// One line on standard output, where the process that started this one reads it.
#[expect(clippy::print_stdout, reason = "this is a program, and this its answer")]
fn say(line: &str) {
    println!("{line}");
}

fn main() -> anyhow::Result<()> {
    buildplane_tls::install_crypto();
    let arguments = Arguments::parse();
    let runtime = match &arguments.command {
        // The load's threads should not outnumber the one connection that they share.
        Command::Load { .. } | Command::Slow { .. } => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    }
    .enable_all()
    .build()?;
    runtime.block_on(arguments.command.run())
}

impl Command {
    async fn run(self) -> anyhow::Result<()> {
        let stop = CancellationToken::new();
        match self {
            Self::Tunnel(args) => run::run(args).await,
            Self::Backend { pki } => {
                let listener = listen("backend").await?;
                backend::run(listener, &Pki::read(&pki)?, stop).await
            }
            Self::BareGateway { pki } => {
                let (agents, callers) = (listen("agents").await?, listen("callers").await?);
                bare::gateway(agents, callers, &Pki::read(&pki)?, stop).await
            }
            Self::BareAgent { pki, gateway, backend } => {
                bare::agent(gateway, backend, &Pki::read(&pki)?).await
            }
            Self::JsonGateway { pki } => {
                let (agents, callers) = (listen("agents").await?, listen("callers").await?);
                json::gateway(agents, callers, &Pki::read(&pki)?, stop).await
            }
            Self::JsonAgent { pki, gateway, backend } => {
                json::agent(gateway, backend, &Pki::read(&pki)?).await
            }
            Self::Load { pki, address, path, callers, millis } => {
                let length = Duration::from_millis(millis);
                let found = load::run(&Pki::read(&pki)?, address, &path, callers, length).await?;
                say(&serde_json::to_string(&found)?);
                Ok(())
            }
            Self::Slow { pki, address, path, streams } => {
                slow::run(&Pki::read(&pki)?, address, &path, streams).await
            }
            Self::Fleet { pki, gateway, agents } => fleet::run(&Pki::read(&pki)?, gateway, agents).await,
        }
    }
}

/// A listener on loopback, whose address is told.
async fn listen(name: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    say(&format!("{name} {}", listener.local_addr()?));
    Ok(listener)
}
