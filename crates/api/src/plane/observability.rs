use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{ClusterAgentConfig, ObservabilityTarget, Plane, PlaneStatus, ValueFrom};
use crate::conditions::plane::reason;
use crate::meta::finalizer;
use crate::names::PlaneKind;

/// A cluster that collects the logs and metrics of one namespace.
#[derive(CustomResource, Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "openchoreo.dev",
    version = "v1alpha1",
    kind = "ObservabilityPlane",
    namespaced,
    status = "PlaneStatus",
    derive = "PartialEq",
    doc = "ObservabilityPlane names a cluster that collects the logs and metrics of its namespace.",
    shortname = "op",
    category = "openchoreo",
    printcolumn = r#"{"name": "Plane ID", "type": "string", "jsonPath": ".status.planeID"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name": "Agents", "type": "integer", "jsonPath": ".status.agentConnection.connectedAgents"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].reason", "priority": 1}"#,
    printcolumn = r#"{"name": "Cluster", "type": "string", "jsonPath": ".status.clusterID", "priority": 1}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ObservabilityPlaneSpec {
    /// Identifies the physical plane; must be the agent's. Objects may share one. Default: the object's name.
    #[serde(rename = "planeID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub plane_id: Option<String>,
    /// How the plane's agent is recognized.
    pub cluster_agent: ClusterAgentConfig,
    /// Base URL of the observer API.
    #[serde(rename = "observerURL")]
    #[schemars(length(min = 1, max = 2048))]
    pub observer_url: String,
    /// Base URL of the root-cause-analysis service.
    #[serde(rename = "rcaAgentURL", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub rca_agent_url: Option<String>,
}

/// A cluster that collects the logs and metrics of all namespaces.
#[derive(CustomResource, Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "openchoreo.dev",
    version = "v1alpha1",
    kind = "ClusterObservabilityPlane",
    status = "PlaneStatus",
    derive = "PartialEq",
    doc = "ClusterObservabilityPlane names a cluster that collects the logs and metrics of all namespaces.",
    shortname = "cop",
    shortname = "cops",
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
pub struct ClusterObservabilityPlaneSpec {
    /// Identifies the physical plane; must be the agent's. Objects may share one. Default: the object's name.
    #[serde(rename = "planeID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub plane_id: Option<String>,
    /// How the plane's agent is recognized.
    pub cluster_agent: ClusterAgentConfig,
    /// Base URL of the observer API.
    #[serde(rename = "observerURL")]
    #[schemars(length(min = 1, max = 2048))]
    pub observer_url: String,
    /// Base URL of the root-cause-analysis service.
    #[serde(rename = "rcaAgentURL", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub rca_agent_url: Option<String>,
}

impl Plane for ObservabilityPlane {
    const KIND: PlaneKind = PlaneKind::ObservabilityPlane;
    const FINALIZER: &'static str = finalizer::OBSERVABILITY_PLANE;
    const CREATED_REASON: &'static str = reason::OBSERVABILITY_PLANE_CREATED;

    fn spec_plane_id(&self) -> Option<&str> {
        self.spec.plane_id.as_deref()
    }

    fn client_ca(&self) -> &ValueFrom {
        &self.spec.cluster_agent.client_ca
    }

    fn secret_store(&self) -> Option<&str> {
        None
    }

    fn observability_plane(&self) -> Option<ObservabilityTarget<'_>> {
        None
    }

    fn status(&self) -> Option<&PlaneStatus> {
        self.status.as_ref()
    }
}

impl Plane for ClusterObservabilityPlane {
    const KIND: PlaneKind = PlaneKind::ClusterObservabilityPlane;
    const FINALIZER: &'static str = finalizer::CLUSTER_OBSERVABILITY_PLANE;
    const CREATED_REASON: &'static str = reason::CLUSTER_OBSERVABILITY_PLANE_CREATED;

    fn spec_plane_id(&self) -> Option<&str> {
        self.spec.plane_id.as_deref()
    }

    fn client_ca(&self) -> &ValueFrom {
        &self.spec.cluster_agent.client_ca
    }

    fn secret_store(&self) -> Option<&str> {
        None
    }

    fn observability_plane(&self) -> Option<ObservabilityTarget<'_>> {
        None
    }

    fn status(&self) -> Option<&PlaneStatus> {
        self.status.as_ref()
    }
}
