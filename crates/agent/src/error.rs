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
    /// The health listener failed.
    #[error("the health listener failed")]
    Health(#[source] std::io::Error),
    /// A part of the agent panicked.
    #[error("a part of the agent ended abnormally")]
    Task(#[source] tokio::task::JoinError),
}
