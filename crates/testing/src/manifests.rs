//! Manifests as tests write them.

use std::fmt;

use serde_json::{Value, json};

/// The documents of a YAML text.
#[track_caller]
pub fn documents(text: &str) -> Vec<Value> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("not YAML: {error}\n{text}"));
    documents.into_iter().filter(Value::is_object).collect()
}

/// An object in the making. It prints as JSON, which kubectl takes as YAML.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest(Value);

impl Manifest {
    /// An object of any kind, cluster-scoped until [`Manifest::namespace`] is called.
    pub fn new(api_version: &str, kind: &str, name: &str) -> Self {
        Self(json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}}))
    }

    /// A BuildPlane that takes its agent's CA from a Secret `buildplane-agent-ca`.
    pub fn build_plane(namespace: &str, name: &str) -> Self {
        Self::new(buildplane_api::meta::API_VERSION, "BuildPlane", name).namespace(namespace).set(
            "/spec/clusterAgent/clientCA/secretRef",
            json!({"name": "buildplane-agent-ca", "key": "ca.crt"}),
        )
    }

    /// A ClusterBuildPlane that takes its agent's CA inline.
    pub fn cluster_build_plane(name: &str, ca: &str) -> Self {
        Self::new(buildplane_api::meta::API_VERSION, "ClusterBuildPlane", name)
            .set("/spec/clusterAgent/clientCA/value", json!(ca))
    }

    /// A run of a Workflow.
    pub fn run(namespace: &str, name: &str, workflow: &str, parameters: &Value) -> Self {
        Self::new(buildplane_api::meta::API_VERSION, "WorkflowRun", name)
            .namespace(namespace)
            .set("/spec/workflow", json!({"name": workflow, "parameters": parameters}))
    }

    /// Puts the object into a namespace.
    #[must_use]
    pub fn namespace(self, namespace: &str) -> Self {
        self.set("/metadata/namespace", json!(namespace))
    }

    /// Sets a value at a JSON pointer; objects on the way are made.
    #[must_use]
    pub fn set(mut self, pointer: &str, value: Value) -> Self {
        let mut at = &mut self.0;
        for name in pointer.split('/').skip(1) {
            if !at.is_object() {
                *at = json!({});
            }
            at = &mut at[name];
        }
        *at = value;
        self
    }

    /// The object itself.
    pub fn value(&self) -> &Value {
        &self.0
    }
}

impl fmt::Display for Manifest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.0)
    }
}
