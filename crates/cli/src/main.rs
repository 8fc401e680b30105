//! The `buildplane` binary: arguments, output, wiring. It decides nothing that another crate could decide.
//!
//! Start reading at [`args::Command`], the list of commands; each is a module of [`commands`]. What they share:
//! [`connection`] (which API server, as whom), [`output`] (everything printed), [`failure`] (everything that went
//! wrong) and [`follow`] (a run's tasks and logs as they happen). Environment variables are read in
//! [`environment`] alone.

mod args;
mod commands;
mod connection;
mod demo;
mod environment;
mod exit;
mod failure;
mod follow;
mod git;
mod logging;
mod output;
mod parameters;
mod resources;
mod rest;
mod runs;
mod signals;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    buildplane_tls::install_crypto();
    let arguments = args::Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::note(failure::Failure::from(error).context("cannot start the runtime"));
            return exit::ExitStatus::Error.into();
        }
    };
    let result = runtime.block_on(arguments.command.run());
    // While the runtime still carries what the exporter sends.
    buildplane_traces::flush();
    // Blocking work that nobody waits for any more must not hold the process back.
    runtime.shutdown_background();
    match result {
        Ok(status) => status.into(),
        Err(failure) => {
            if !failure.is_broken_pipe() {
                output::note(&failure);
            }
            failure.exit_status().into()
        }
    }
}
