//! Runs the Pods of the embedded build plane through an executor and keeps their logs.
//!
//! What a kubelet is to a cluster, this is to the local platform: it watches the Pods of one Kubernetes API, claims each
//! durably before it starts it, runs it in the executor's sandbox, and writes back how it ended. It knows nothing of
//! workflows.
//!
//! Start reading at [`Node`].

mod config;
mod error;
mod logs;
mod node;

pub use buildplane_executor::{HostEntry, Missing, SharedMount};
pub use config::Config;
pub use error::Error;
pub use logs::{LogOptions, LogsError, Logs};
pub use node::Node;
