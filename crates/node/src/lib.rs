//! Runs the Pods of the embedded build plane through an executor and keeps their logs.
//!
//! What a kubelet is to a cluster, this is to the local platform: it watches the Pods of one Kubernetes API, claims each
//! durably before it starts it, runs it in the executor's sandbox, and writes back how it ended. It knows nothing of
//! workflows.
//!
//! ```text
//! Pending ─▶ (waits: what it names, a place) ─▶ Running ─▶ Succeeded | Failed
//!    └─▶ Failed (refused: Unsupported, ImageRefused, CreateContainerConfigError, SandboxUnavailable)
//! Running, found at the start ─▶ Failed (Interrupted)
//! ```
//!
//! A Pod's phase is written as Running before anything of it runs, and a Pod that is Running is never started: so
//! whatever happens to this process, no step runs twice. What a Pod sets and this node does not understand is refused
//! by name. A log is kept as long as its Pod's object.
//!
//! Start reading at [`Node`], then `node.rs` (which Pods there are) and `run_pod.rs` (one of them).

mod api;
mod claims;
mod config;
mod error;
mod expand;
mod fields;
mod logs;
mod node;
mod plan;
mod quantity;
mod refusal;
mod resolve;
mod run_pod;
mod status;
mod volumes;

pub use buildplane_executor::{HostEntry, Missing, SharedMount};
pub use config::Config;
pub use error::Error;
pub use logs::{LogOptions, Logs, LogsError};
pub use node::Node;
