//! The six plane kinds: what connects a cluster, and what is known about that connection.

use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::{CrRef, NameError, PlaneId, PlaneKind};

mod build;
mod data;
mod observability;

pub use build::{BuildPlane, BuildPlaneSpec, ClusterBuildPlane, ClusterBuildPlaneSpec};
pub use data::{
    ClusterDataPlane, ClusterDataPlaneSpec, DataPlane, DataPlaneSpec, GatewayEndpoint, GatewayListener,
    GatewayNetwork, GatewaySpec,
};
pub use observability::{
    ClusterObservabilityPlane, ClusterObservabilityPlaneSpec, ObservabilityPlane, ObservabilityPlaneSpec,
};

/// How the agent of a cluster is recognized.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ClusterAgentConfig {
    /// CA certificates that verify the agent's client certificate: PEM or base64 of PEM, one certificate or a bundle.
    #[serde(rename = "clientCA")]
    #[x_kube(validation = Rule::new("(has(self.value) && size(self.value) > 0) || has(self.secretRef)")
        .message("clientCA needs either value or secretRef"))]
    pub client_ca: ValueFrom,
}

/// A value given inline or in a Secret. If both are there, the inline value is taken.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ValueFrom {
    /// A key of a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyReference>,
    /// The value itself. Not for secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 262_144))]
    pub value: Option<String>,
}

/// Names one key of a Secret.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyReference {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of the Secret; the object's own where absent. Required on cluster-scoped kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
    /// Key within the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Names a ClusterSecretStore of the External Secrets operator on the plane.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretStoreRef {
    /// Name of the ClusterSecretStore.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Names the observability plane of a namespaced plane.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ObservabilityPlaneRef {
    /// Kind of the observability plane.
    #[serde(default)]
    pub kind: ObservabilityPlaneRefKind,
    /// Name of the observability plane.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
}

/// The kinds of observability plane that a namespaced plane may name.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ObservabilityPlaneRefKind {
    /// One of the same namespace.
    #[default]
    ObservabilityPlane,
    /// A cluster-scoped one.
    ClusterObservabilityPlane,
}

/// Names the observability plane of a cluster-scoped plane.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ClusterObservabilityPlaneRef {
    /// Kind of the observability plane: a cluster-scoped plane can refer to a cluster-scoped one alone.
    #[serde(default)]
    pub kind: ClusterObservabilityPlaneRefKind,
    /// Name of the observability plane.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
}

/// The kind of observability plane that a cluster-scoped plane may name.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClusterObservabilityPlaneRefKind {
    /// A cluster-scoped one.
    #[default]
    ClusterObservabilityPlane,
}

/// What is known about a plane.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PlaneStatus {
    /// The generation of the object that the status speaks of.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub observed_generation: i64,
    /// The plane id in effect: `spec.planeID`, else the object's name.
    #[serde(rename = "planeID", default, skip_serializing_if = "Option::is_none")]
    pub plane_id: Option<String>,
    /// The identity of the cluster that serves the plane: the uid of its namespace kube-system, as its agent states it.
    #[serde(rename = "clusterID", default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// The state of the plane, aspect by aspect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The agents that are connected for this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_connection: Option<AgentConnectionStatus>,
}

/// The agents that are connected for one plane object.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AgentConnectionStatus {
    /// Whether any agent is connected that this object's CA verifies.
    #[serde(default)]
    pub connected: bool,
    /// How many such agents are connected.
    #[serde(default)]
    pub connected_agents: i64,
    /// When an agent last connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_connected_time: Option<Time>,
    /// When the last agent disconnected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_disconnected_time: Option<Time>,
    /// When an agent was last heard from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_heartbeat_time: Option<Time>,
    /// The agents that are connected, the first sixteen of them by instance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub agents: Vec<ConnectedAgent>,
    /// More about the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// More agents than this are counted but not listed.
pub const MAX_LISTED_AGENTS: usize = 16;

/// One agent that is connected for a plane object.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ConnectedAgent {
    /// The agent process, as it names itself.
    pub instance: String,
    /// The agent's version, as it states it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// When the certificate ends that it connected with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_not_after: Option<Time>,
    /// Since when it is connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected_time: Option<Time>,
    /// Whether the owner of the plane narrowed which objects the agent serves (its `allowedPlanes`).
    #[serde(default)]
    pub narrowed: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// An observability plane to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObservabilityTarget<'a> {
    /// Its kind.
    pub kind: ObservabilityPlaneRefKind,
    /// Its name.
    pub name: &'a str,
}

/// What all plane kinds have in common, so that one controller serves them all.
pub trait Plane:
    kube::Resource<DynamicType = ()>
    + Clone
    + Debug
    + serde::de::DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
    /// The kind.
    const KIND: PlaneKind;
    /// The finalizer that keeps an object until the gateway has forgotten it.
    const FINALIZER: &'static str;
    /// The reason of the `Created` condition.
    const CREATED_REASON: &'static str;

    /// `spec.planeID` as it is written.
    fn spec_plane_id(&self) -> Option<&str>;
    /// `spec.clusterAgent.clientCA`.
    fn client_ca(&self) -> &ValueFrom;
    /// The name in `spec.secretStoreRef`.
    fn secret_store(&self) -> Option<&str>;
    /// The observability plane that `spec.observabilityPlaneRef` names.
    fn observability_plane(&self) -> Option<ObservabilityTarget<'_>>;
    /// Whether the kind refers to an observability plane at all.
    fn refers_to_observability() -> bool {
        !matches!(Self::KIND, PlaneKind::ObservabilityPlane | PlaneKind::ClusterObservabilityPlane)
    }
    /// The status, if one was written.
    fn status(&self) -> Option<&PlaneStatus>;

    /// The plane id in effect.
    fn plane_id(&self) -> Result<PlaneId, NameError> {
        PlaneId::effective(self.spec_plane_id(), self.meta().name.as_deref().unwrap_or_default())
    }

    /// The reference to this object.
    fn cr_ref(&self) -> Result<CrRef, NameError> {
        let meta = self.meta();
        CrRef::try_new(Self::KIND, meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default())
    }
}
