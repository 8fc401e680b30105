//! The controllers of the control plane: planes and workflow runs.
//!
//! Each kind has a module that reads as one line of steps: *dereference* fetches what the object points at, *validate*
//! judges it, *build* says what should be, *apply* makes it so, *status* tells. Only dereference, apply and status hold a
//! client. What happens on a build plane goes through the gateway, as it would for anybody else: this crate cannot tell
//! an embedded plane from a cluster.
//!
//! Start reading at [`run`], then `planes` and `runs`.

mod conditions;
mod config;
mod error;
mod events;
mod finalizer;
mod follow;
mod gateway;
mod judged;
mod leader;
mod lookup;
mod objects;
mod planes;
mod queue;
mod retry;
mod runs;
mod secret_references;
mod service;
mod workflows;

pub use config::{Config, Timings};
pub use error::Error;
pub use leader::LeaderElection;
pub use service::run;
