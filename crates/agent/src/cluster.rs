//! Which cluster this is: the uid of its namespace kube-system, which a cluster keeps for all its life.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use buildplane_wire::is_claim;

use crate::backoff::Backoff;
use crate::health::{Health, Part, chain};

const NAMESPACE: &str = "kube-system";
const DEADLINE: Duration = Duration::from_secs(5);
/// Where the agent may not read it, somebody may yet allow it.
const LONGEST: Duration = Duration::from_mins(1);

/// What is known of the cluster's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cluster {
    /// It was not looked for yet.
    Unasked,
    /// It could not be read so far, and stays unsaid.
    Unknown,
    /// Its identity.
    Known(String),
}

#[derive(Debug, thiserror::Error)]
enum ClusterError {
    #[error(
        "failed to read namespace {NAMESPACE}, whose uid is the cluster's identity (the agent needs the verb get on it)"
    )]
    Read(#[source] kube::Error),
    #[error("reading namespace {NAMESPACE} took too long")]
    Timeout,
    #[error("namespace {NAMESPACE} has no uid that can be told")]
    NoUid,
}

/// Finds out, and tries again until it is known.
pub(crate) async fn find(
    client: Client,
    tell: watch::Sender<Cluster>,
    health: Health,
    stop: CancellationToken,
) {
    let namespaces: Api<Namespace> = Api::all(client);
    let mut backoff = Backoff::up_to(LONGEST);
    loop {
        let Some(found) = stop.run_until_cancelled(uid(&namespaces)).await else { return };
        match found {
            Ok(uid) => {
                tracing::info!(cluster = uid, "the cluster's identity is known");
                health.right(Part::Cluster);
                tell.send_replace(Cluster::Known(uid));
                return;
            }
            Err(error) => {
                let message = chain(&error);
                let known = tell
                    .send_if_modified(|known| std::mem::replace(known, Cluster::Unknown) != Cluster::Unknown);
                if known {
                    tracing::warn!(message, "the cluster's identity stays unsaid for now");
                }
                health.wrong(Part::Cluster, message);
            }
        }
        if stop.run_until_cancelled(tokio::time::sleep(backoff.delay())).await.is_none() {
            return;
        }
    }
}

async fn uid(namespaces: &Api<Namespace>) -> Result<String, ClusterError> {
    let read = tokio::time::timeout(DEADLINE, namespaces.get(NAMESPACE)).await;
    let namespace = read.map_err(|_elapsed| ClusterError::Timeout)?.map_err(ClusterError::Read)?;
    namespace.metadata.uid.filter(|uid| is_claim(uid)).ok_or(ClusterError::NoUid)
}
