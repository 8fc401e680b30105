use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{
    ClusterAgentConfig, ClusterObservabilityPlaneRef, ObservabilityPlaneRef, ObservabilityPlaneRefKind,
    ObservabilityTarget, Plane, PlaneStatus, SecretStoreRef, ValueFrom,
};
use crate::conditions::plane::reason;
use crate::meta::finalizer;
use crate::names::PlaneKind;

/// A cluster that runs the applications of one namespace.
#[derive(CustomResource, Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "openchoreo.dev",
    version = "v1alpha1",
    kind = "DataPlane",
    namespaced,
    status = "PlaneStatus",
    derive = "PartialEq",
    doc = "DataPlane names a cluster that runs the applications of its namespace.",
    shortname = "dp",
    shortname = "dps",
    category = "openchoreo",
    printcolumn = r#"{"name": "Plane ID", "type": "string", "jsonPath": ".status.planeID"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name": "Agents", "type": "integer", "jsonPath": ".status.agentConnection.connectedAgents"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].reason", "priority": 1}"#,
    printcolumn = r#"{"name": "Cluster", "type": "string", "jsonPath": ".status.clusterID", "priority": 1}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct DataPlaneSpec {
    /// Identifies the physical plane; must be the agent's. Objects may share one. Default: the object's name.
    #[serde(rename = "planeID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub plane_id: Option<String>,
    /// How the plane's agent is recognized.
    pub cluster_agent: ClusterAgentConfig,
    /// The ClusterSecretStore on the plane that applications take their secrets from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_store_ref: Option<SecretStoreRef>,
    /// The observability plane for the plane's logs. Default: ObservabilityPlane `default`, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observability_plane_ref: Option<ObservabilityPlaneRef>,
    /// Secrets with which images are pulled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_secret_refs: Option<Vec<String>>,
    /// Where the plane's traffic comes in and goes out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewaySpec>,
}

/// A cluster that runs the applications of all namespaces.
#[derive(CustomResource, Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "openchoreo.dev",
    version = "v1alpha1",
    kind = "ClusterDataPlane",
    status = "PlaneStatus",
    derive = "PartialEq",
    doc = "ClusterDataPlane names a cluster that runs the applications of all namespaces.",
    shortname = "cdp",
    shortname = "cdps",
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
pub struct ClusterDataPlaneSpec {
    /// Identifies the physical plane; must be the agent's. Objects may share one. Default: the object's name.
    #[serde(rename = "planeID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub plane_id: Option<String>,
    /// How the plane's agent is recognized.
    pub cluster_agent: ClusterAgentConfig,
    /// The ClusterSecretStore on the plane that applications take their secrets from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_store_ref: Option<SecretStoreRef>,
    /// The observability plane for the plane's logs. Default: ClusterObservabilityPlane `default`, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observability_plane_ref: Option<ClusterObservabilityPlaneRef>,
    /// Secrets with which images are pulled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_secret_refs: Option<Vec<String>>,
    /// Where the plane's traffic comes in and goes out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewaySpec>,
}

/// The gateways of a data plane.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GatewaySpec {
    /// Traffic into the plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<GatewayNetwork>,
    /// Traffic out of the plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<GatewayNetwork>,
}

/// One direction of a data plane's traffic.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GatewayNetwork {
    /// Reachable from outside the organization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<GatewayEndpoint>,
    /// Reachable from inside the organization alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internal: Option<GatewayEndpoint>,
}

/// The listeners of one gateway.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GatewayEndpoint {
    /// Name of the Gateway object on the plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Namespace of the Gateway object on the plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Plain HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<GatewayListener>,
    /// HTTPS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https: Option<GatewayListener>,
    /// TLS passed through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<GatewayListener>,
}

/// One listener of a gateway.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GatewayListener {
    /// Name of the listener on the Gateway object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener_name: Option<String>,
    /// Port of the listener.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Host name of the listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

impl Plane for DataPlane {
    const KIND: PlaneKind = PlaneKind::DataPlane;
    const FINALIZER: &'static str = finalizer::DATA_PLANE;
    const CREATED_REASON: &'static str = reason::DATA_PLANE_CREATED;

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

impl Plane for ClusterDataPlane {
    const KIND: PlaneKind = PlaneKind::ClusterDataPlane;
    const FINALIZER: &'static str = finalizer::CLUSTER_DATA_PLANE;
    const CREATED_REASON: &'static str = reason::CLUSTER_DATA_PLANE_CREATED;

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
