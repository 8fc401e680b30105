use crate::followed::FileError;
use crate::policy_source::HELLO_BYTES;

/// Why an agent could not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The local API cannot be reached with this configuration.
    #[error("failed to build a client for the local API")]
    LocalApi(#[source] kube::Error),
    /// The local API's certificate would not be verified.
    #[error(
        "the kubeconfig switches off verification of the local API's certificate, which the agent refuses"
    )]
    UnverifiedLocalApi,
    /// There is no policy to begin with.
    #[error("failed to read the policy")]
    Policy(#[source] FileError),
    /// Both the policy and the configuration say whom the plane serves.
    #[error("the policy says which planes are allowed, and so does the configuration; leave one of them out")]
    AllowedTwice,
    /// The list of planes does not fit into a handshake.
    #[error("allowedPlanes takes {n_bytes} bytes, more than {HELLO_BYTES}; use patterns with *")]
    TooManyPlanes {
        /// Its size.
        n_bytes: usize,
    },
    /// The name to verify in the local API's certificate is none.
    #[error("{name:?}, the kubeconfig's tls-server-name, is no name of a server")]
    ServerName {
        /// What stands there.
        name: String,
    },
    /// The health listener failed.
    #[error("the health listener failed")]
    Health(#[source] std::io::Error),
    /// A part of the agent panicked.
    #[error("a part of the agent ended abnormally")]
    Task(#[source] tokio::task::JoinError),
}
