use serde::{Deserialize, Serialize};

/// The target that is the agent's own API server.
pub const TARGET_KUBERNETES: &str = "k8s";
/// The target that is the agent itself. Only the gateway's own requests go there, for no custom resource; nothing of a
/// caller ever does.
pub const TARGET_AGENT: &str = "agent";
/// Where the gateway puts the [`ReplicaSet`], at the target `agent`.
pub const REPLICAS_PATH: &str = "/replicas";

/// The gateway replicas that are alive, as one of them tells its agents: on connection, and whenever that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaSet {
    /// The replica that tells.
    pub instance: String,
    /// All of them, itself included.
    pub replicas: Vec<Replica>,
}

/// One gateway replica.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replica {
    /// A random id of the process.
    pub instance: String,
    /// Where agents reach this replica and no other, `wss://host:port/ws`; none where there is only the shared address,
    /// behind which a load balancer chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}
