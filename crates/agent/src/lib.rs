//! Keeps its identity, dials the gateway, replays allowed requests to local targets.
//!
//! ```text
//!  identity ─┐
//!  gateway CA┤
//!  policy ───┼─▶ terms ──▶ connections ──▶ connection ──▶ request ──▶ policy ──▶ local API
//!  cluster ──┘            (roster: one to   (tunnel)      (what is   (may it?)  (own credentials)
//!                          each replica)                   asked)
//! ```
//!
//! The agent listens for no requests: it dials out, and answers what comes through the connection it opened. It trusts the
//! gateway with routing alone. What a custom resource may do on this cluster is the agent's own [`Policy`], so that a gateway in
//! the wrong hands can do no more than the admitted custom resources may together. Credentials of callers never pass; the agent
//! uses its own. Start reading at [`Agent`], then [`policy`].

mod backoff;
mod cluster;
mod config;
mod connect;
mod connection;
mod connections;
mod error;
mod failure;
mod followed;
mod health;
mod identity;
mod local_api;
mod local_connect;
mod metrics;
pub mod policy;
mod policy_source;
mod proxy;
mod replicas;
mod requests;
mod roster;
mod service;
mod terms;
mod until;
mod upgrade;

pub use config::{Config, GatewayUrl, InvalidGatewayUrl, Lifetimes, PolicySource, ServerCa};
pub use connect::{Connect, ConnectFailure, Connecting, Direct, Io};
pub use error::Error;
pub use followed::FileError;
pub use metrics::Metrics;
pub use policy::Policy;
pub use proxy::{InvalidProxy, Proxied};
pub use service::Agent;
