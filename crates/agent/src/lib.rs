//! Keeps its identity, dials the gateway, replays allowed requests to local targets.
//!
//! ```text
//!  identity ──▶ dial ──▶ connection ──▶ request ──▶ policy ──▶ local API
//!  (Secrets)   (backoff)  (tunnel)      (what is asked)  (may it?)  (own credentials)
//! ```
//!
//! The agent listens for no requests: it dials out, and answers what comes through the connection it opened. It trusts the
//! gateway with routing alone. What a custom resource may do on this cluster is the agent's own [`Policy`], so that a gateway in
//! the wrong hands can do no more than the admitted custom resources may together. Credentials of callers never pass; the agent
//! uses its own. Start reading at [`Agent`], then [`policy`].

mod backoff;
mod config;
mod connection;
mod error;
mod failure;
mod health;
mod identity;
mod local_api;
mod metrics;
pub mod policy;
mod requests;
mod service;
mod until;
mod upgrade;

pub use config::{Config, GatewayUrl, InvalidGatewayUrl, ServerCa};
pub use error::Error;
pub use metrics::Metrics;
pub use policy::Policy;
pub use service::Agent;
