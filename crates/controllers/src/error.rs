/// Why the controllers stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration of the gateway's client cannot be used.
    #[error("failed to set up the client of the gateway at {url}")]
    GatewayClient {
        /// The address of the gateway.
        url: String,
        /// What is wrong.
        #[source]
        source: Box<kube::Error>,
    },
    /// A controller ended although nobody asked it to.
    #[error("the {name} controller stopped unexpectedly")]
    Stopped {
        /// Which one.
        name: &'static str,
    },
}

/// An error and what it came from, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        // Some libraries repeat their source; one telling is enough.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = error.source();
    }
    text
}
