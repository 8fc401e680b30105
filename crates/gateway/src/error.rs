use buildplane_tls::ServerConfigError;

/// Why a gateway could not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A listener's TLS could not be configured.
    #[error("failed to configure TLS of the {listener} listener")]
    Tls {
        /// Which listener.
        listener: &'static str,
        /// Why.
        source: ServerConfigError,
    },
    /// A listener failed.
    #[error("the {listener} listener failed")]
    Listener {
        /// Which listener.
        listener: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// A part of the gateway panicked.
    #[error("a part of the gateway ended abnormally")]
    Task(#[source] tokio::task::JoinError),
}
