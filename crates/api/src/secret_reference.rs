//! SecretReference: where a secret is kept, never the secret itself.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a secret is kept; templates turn it into an ExternalSecret on the build plane.
#[derive(CustomResource, Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "openchoreo.dev",
    version = "v1alpha1",
    kind = "SecretReference",
    namespaced,
    status = "SecretReferenceStatus",
    derive = "PartialEq",
    doc = "SecretReference says where a secret is kept. It never holds the secret itself.",
    category = "openchoreo",
    printcolumn = r#"{"name": "Type", "type": "string", "jsonPath": ".spec.template.type"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct SecretReferenceSpec {
    /// What the Secret looks like.
    pub template: SecretTemplate,
    /// What the Secret holds.
    #[schemars(length(min = 1))]
    pub data: Vec<SecretDataSource>,
    /// How often the secret is read anew.
    #[serde(default = "default_refresh_interval")]
    pub refresh_interval: String,
}

fn default_refresh_interval() -> String {
    "1h".to_owned()
}

/// What the Secret looks like.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretTemplate {
    /// Type of the Secret.
    #[serde(rename = "type", default)]
    pub type_: SecretType,
    /// Labels and annotations of the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<SecretMetadata>,
}

/// Types of Secret.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecretType {
    /// Any content.
    #[default]
    Opaque,
    /// Credentials of registries.
    #[serde(rename = "kubernetes.io/dockerconfigjson")]
    DockerConfigJson,
    /// Credentials of registries, old form.
    #[serde(rename = "kubernetes.io/dockercfg")]
    DockerCfg,
    /// User name and password.
    #[serde(rename = "kubernetes.io/basic-auth")]
    BasicAuth,
    /// An SSH key.
    #[serde(rename = "kubernetes.io/ssh-auth")]
    SshAuth,
    /// A certificate and its key.
    #[serde(rename = "kubernetes.io/tls")]
    Tls,
    /// A token to join a cluster.
    #[serde(rename = "bootstrap.kubernetes.io/token")]
    BootstrapToken,
}

/// Labels and annotations of a Secret.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretMetadata {
    /// Annotations of the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// Labels of the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
}

/// One key of the Secret and where its value is kept.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretDataSource {
    /// Key in the Secret.
    #[schemars(length(min = 1))]
    pub secret_key: String,
    /// Where the value is kept.
    pub remote_ref: RemoteReference,
}

/// Names a value in a secret store.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RemoteReference {
    /// Key in the store.
    #[schemars(length(min = 1))]
    pub key: String,
    /// Property of the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub property: Option<String>,
    /// Version of the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// What is known about a SecretReference.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SecretReferenceStatus {
    /// The state of the reference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// When the secret was last read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_refresh_time: Option<Time>,
    /// The stores that serve it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secret_stores: Vec<SecretStoreReference>,
}

/// A store that serves a secret.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretStoreReference {
    /// Name of the store.
    pub name: String,
    /// Namespace of the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Kind of the store.
    pub kind: String,
}
