//! The local platform: everything that `buildplane up` runs, on one machine with nothing installed.
//!
//! Two embedded Kubernetes APIs, the gateway, the controllers, the agent, the workflow engine and
//! the node that runs its pods, each with a client certificate and RBAC rights of its own, talking
//! over loopback TLS exactly as they would between machines; beside them a container registry (the
//! CNCF distribution, a child process) and a git server, both over TLS with credentials.
//!
//! Start reading at [`Platform::start`]. What it never does: take a shortcut around the tunnel. The
//! controllers know the build plane only as a URL of the gateway.
//!
//! ```text
//!  layout, lock, state   the data directory: where things are, who owns it, what runs
//!  ports, pki            listeners bound first, so that a taken port is found early; identities
//!  apis, seed            the two embedded APIs and the objects that each starts with
//!  agent_policy          what its agent allows, from a ConfigMap of the build plane
//!  registry, git         the services that builds use
//!  secret_sync           ExternalSecrets, from a namespace of the build plane
//!  start, ready          the order of it all, and what it waits for at its end
//! ```

mod agent_policy;
mod apis;
mod credentials;
mod error;
mod git;
mod kubeconfig;
mod layout;
mod lock;
mod parts;
mod pki;
mod ports;
mod ready;
mod registry;
mod secret_sync;
mod seed;
mod start;
pub mod state;
mod step_files;
mod tasks;

pub use credentials::GitCredentials;
pub use error::Error;
pub use layout::{Layout, purge};
pub use ports::{Endpoints, PortNumbers, Ports};
pub use start::{Options, Platform, Progress};
