//! Accepts agents, decides who may speak for which custom resource, routes requests.
//!
//! ```text
//!  agents ── /ws, any certificate ──▶ agents ──▶ registry ◀── planes API ── controllers
//!                                                 │ per CR: which connections may speak for it
//!  callers ── /api/proxy/… ──▶ proxy ─────────────┘──▶ an HTTP/2 stream in one of them
//! ```
//!
//! A request for a custom resource that has no agent here goes to a replica that has one, if there is one (`peers`).
//!
//! The gateway opens no connection to any plane, reads no Secret and no custom resource: controllers register each custom
//! resource with its CA bundle. A connection may speak for a custom resource exactly as long as its leaf verifies against
//! that resource's CA alone; this is judged when the agent connects, when a registration changes, and as time passes.
//! Start reading at [`Gateway`], then `registry`.

mod agents;
mod audit;
mod authorize;
mod config;
mod error;
mod events;
mod health;
mod internal;
mod limits;
mod metrics;
mod peers;
mod planes;
mod proxy;
mod registry;
mod service;
mod status;

pub use authorize::{AUDIENCE, Action, Authorizer, Caller, ControlPlane, Denied, Grant, Roles};
pub use config::{AgentListener, Config, InternalListener, Limits};
pub use error::Error;
pub use limits::Fairness;
pub use metrics::Metrics;
pub use peers::{Address, Discovery, GATEWAYS, InvalidAddress, PeersConfig as Peers};
pub use service::Gateway;
