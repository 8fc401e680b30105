//! The two kinds of External Secrets that the local platform serves, as far as workflows use them.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{CustomResource, CustomResourceExt as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the local store keeps its secrets.
pub(super) const LOCAL_NAMESPACE: &str = "openchoreo-secrets";

/// An ExternalSecret: which stored values make up which Secret.
#[derive(CustomResource, Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "external-secrets.io",
    version = "v1",
    kind = "ExternalSecret",
    shortname = "es",
    namespaced,
    status = "SecretSyncStatus",
    printcolumn = r#"{"name":"StoreType","type":"string","jsonPath":".spec.secretStoreRef.kind"}"#,
    printcolumn = r#"{"name":"Store","type":"string","jsonPath":".spec.secretStoreRef.name"}"#,
    printcolumn = r#"{"name":"Status","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#
)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExternalSecretSpec {
    /// How often the store is asked again; the local store tells of changes by itself.
    pub(super) refresh_interval: Option<String>,
    /// The store.
    pub(super) secret_store_ref: StoreRef,
    /// The Secret to make; its name is this object's by default.
    #[serde(default)]
    pub(super) target: Target,
    /// Its keys.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub(super) data: Vec<Entry>,
}

/// A store by kind and name.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(super) struct StoreRef {
    #[serde(default = "default_store_kind")]
    pub(super) kind: String,
    pub(super) name: String,
}

fn default_store_kind() -> String {
    "SecretStore".to_owned()
}

/// The Secret that an ExternalSecret makes.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Target {
    pub(super) name: Option<String>,
    pub(super) creation_policy: Option<String>,
    pub(super) deletion_policy: Option<String>,
    pub(super) template: Option<Template>,
}

/// Its type and metadata.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
pub(super) struct Template {
    #[serde(rename = "type")]
    pub(super) type_: Option<String>,
    #[serde(default)]
    pub(super) metadata: TemplateMetadata,
    /// Templated keys; refused by the local store.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) data: BTreeMap<String, String>,
}

/// Labels and annotations of the made Secret.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
pub(super) struct TemplateMetadata {
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
}

/// One key of the Secret and where its value is stored.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    pub(super) secret_key: String,
    pub(super) remote_ref: RemoteRef,
}

/// A stored secret, and a property of it.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(super) struct RemoteRef {
    pub(super) key: String,
    pub(super) property: Option<String>,
    pub(super) version: Option<String>,
}

/// A store of secrets.
#[derive(CustomResource, Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "external-secrets.io",
    version = "v1",
    kind = "ClusterSecretStore",
    shortname = "css",
    status = "SecretSyncStatus",
    printcolumn = r#"{"name":"Status","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#
)]
pub(crate) struct ClusterSecretStoreSpec {
    pub(super) provider: Provider,
}

/// Where a store keeps its secrets.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(super) struct Provider {
    pub(super) kubernetes: Option<KubernetesProvider>,
}

/// A namespace of this API.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct KubernetesProvider {
    pub(super) remote_namespace: String,
}

impl ClusterSecretStore {
    /// The namespace behind the store, if it is the one that may be read.
    ///
    /// Any other would let a store hand out the Secrets of the platform's own parts.
    pub(super) fn local_namespace(&self) -> Option<&str> {
        let namespace = &self.spec.provider.kubernetes.as_ref()?.remote_namespace;
        (namespace == LOCAL_NAMESPACE).then_some(namespace)
    }
}

/// Status of both kinds.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
pub(crate) struct SecretSyncStatus {
    #[serde(default)]
    pub(super) conditions: Vec<Condition>,
}

/// A condition as External Secrets writes it.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(super) struct Condition {
    #[serde(rename = "type")]
    pub(super) type_: String,
    pub(super) status: String,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) last_transition_time: String,
}

/// The definitions that the build plane's API serves.
pub(crate) fn crds() -> Vec<CustomResourceDefinition> {
    vec![ExternalSecret::crd(), ClusterSecretStore::crd()]
}
