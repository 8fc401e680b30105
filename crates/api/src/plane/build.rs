use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{
    ClusterAgentConfig, ClusterObservabilityPlaneRef, ObservabilityPlaneRef, ObservabilityPlaneRefKind,
    ObservabilityTarget, Plane, PlaneStatus, SecretStoreRef, ValueFrom,
};
use crate::conditions::plane::reason;
use crate::meta::finalizer;
use crate::names::PlaneKind;

/// A cluster that runs the builds of one namespace.
#[derive(CustomResource, Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "openchoreo.dev",
    version = "v1alpha1",
    kind = "BuildPlane",
    namespaced,
    status = "PlaneStatus",
    derive = "PartialEq",
    doc = "BuildPlane names a cluster that runs the builds of its namespace.",
    shortname = "bp",
    category = "openchoreo",
    printcolumn = r#"{"name": "Plane ID", "type": "string", "jsonPath": ".status.planeID"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name": "Agents", "type": "integer", "jsonPath": ".status.agentConnection.connectedAgents"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].reason", "priority": 1}"#,
    printcolumn = r#"{"name": "Cluster", "type": "string", "jsonPath": ".status.clusterID", "priority": 1}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct BuildPlaneSpec {
    /// Identifies the physical plane; must be the agent's. Objects may share one. Default: the object's name.
    #[serde(rename = "planeID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub plane_id: Option<String>,
    /// How the plane's agent is recognized.
    pub cluster_agent: ClusterAgentConfig,
    /// The ClusterSecretStore on the plane that builds take their secrets from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_store_ref: Option<SecretStoreRef>,
    /// The observability plane for the plane's logs. Default: ObservabilityPlane `default`, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observability_plane_ref: Option<ObservabilityPlaneRef>,
}

/// A cluster that runs the builds of all namespaces.
#[derive(CustomResource, Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "openchoreo.dev",
    version = "v1alpha1",
    kind = "ClusterBuildPlane",
    status = "PlaneStatus",
    derive = "PartialEq",
    doc = "ClusterBuildPlane names a cluster that runs the builds of all namespaces.",
    shortname = "cbp",
    shortname = "cbps",
    category = "openchoreo",
    printcolumn = r#"{"name": "Plane ID", "type": "string", "jsonPath": ".status.planeID"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name": "Agents", "type": "integer", "jsonPath": ".status.agentConnection.connectedAgents"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].reason", "priority": 1}"#,
    printcolumn = r#"{"name": "Cluster", "type": "string", "jsonPath": ".status.clusterID", "priority": 1}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!has(self.clusterAgent.clientCA.secretRef) || has(self.clusterAgent.clientCA.secretRef.__namespace__)")
    .message("clusterAgent.clientCA.secretRef.namespace is required on cluster-scoped kinds"))]
pub struct ClusterBuildPlaneSpec {
    /// Identifies the physical plane; must be the agent's. Objects may share one. Default: the object's name.
    #[serde(rename = "planeID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub plane_id: Option<String>,
    /// How the plane's agent is recognized.
    pub cluster_agent: ClusterAgentConfig,
    /// The ClusterSecretStore on the plane that builds take their secrets from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_store_ref: Option<SecretStoreRef>,
    /// The observability plane for the plane's logs. Default: ClusterObservabilityPlane `default`, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observability_plane_ref: Option<ClusterObservabilityPlaneRef>,
}

impl Plane for BuildPlane {
    const KIND: PlaneKind = PlaneKind::BuildPlane;
    const FINALIZER: &'static str = finalizer::BUILD_PLANE;
    const CREATED_REASON: &'static str = reason::BUILD_PLANE_CREATED;

    fn spec_plane_id(&self) -> Option<&str> {
        self.spec.plane_id.as_deref()
    }

    fn client_ca(&self) -> &ValueFrom {
        &self.spec.cluster_agent.client_ca
    }

    fn secret_store(&self) -> Option<&str> {
        self.spec.secret_store_ref.as_ref().map(|store| store.name.as_str())
    }

    fn observability_plane(&self) -> Option<ObservabilityTarget<'_>> {
        let plane = self.spec.observability_plane_ref.as_ref()?;
        Some(ObservabilityTarget { kind: plane.kind, name: &plane.name })
    }

    fn status(&self) -> Option<&PlaneStatus> {
        self.status.as_ref()
    }
}

impl Plane for ClusterBuildPlane {
    const KIND: PlaneKind = PlaneKind::ClusterBuildPlane;
    const FINALIZER: &'static str = finalizer::CLUSTER_BUILD_PLANE;
    const CREATED_REASON: &'static str = reason::CLUSTER_BUILD_PLANE_CREATED;

    fn spec_plane_id(&self) -> Option<&str> {
        self.spec.plane_id.as_deref()
    }

    fn client_ca(&self) -> &ValueFrom {
        &self.spec.cluster_agent.client_ca
    }

    fn secret_store(&self) -> Option<&str> {
        self.spec.secret_store_ref.as_ref().map(|store| store.name.as_str())
    }

    fn observability_plane(&self) -> Option<ObservabilityTarget<'_>> {
        let plane = self.spec.observability_plane_ref.as_ref()?;
        Some(ObservabilityTarget {
            kind: ObservabilityPlaneRefKind::ClusterObservabilityPlane,
            name: &plane.name,
        })
    }

    fn status(&self) -> Option<&PlaneStatus> {
        self.status.as_ref()
    }
}
