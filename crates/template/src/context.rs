use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

/// The variables of templates.
pub(crate) const VARIABLES: [&str; 5] =
    ["metadata", "parameters", EXTERNAL_REFS, "workflowplane", "buildplane"];
pub(crate) const EXTERNAL_REFS: &str = "externalRefs";

/// What a run's templates can see.
#[derive(Debug, Clone, PartialEq)]
pub struct RunContext {
    /// `metadata.namespaceName`: the run's namespace in the control plane.
    pub namespace_name: String,
    /// `metadata.workflowRunName`.
    pub run_name: String,
    /// `metadata.namespace`: where the run's objects go on the build plane.
    pub namespace: String,
    /// `metadata.labels`: the run's labels.
    pub labels: BTreeMap<String, String>,
    /// `parameters`: what the run gives, with the schema's defaults.
    pub parameters: Json,
    /// `externalRefs`: the resolved references by id, each with `spec`.
    pub external_refs: Map<String, Json>,
    /// `workflowplane.secretStore`, also `buildplane.secretStore`: the plane's secret store, if it names one.
    pub secret_store: Option<String>,
}

/// The variables of one rendering, as JSON.
#[derive(Debug)]
pub(crate) struct Variables([(&'static str, Json); VARIABLES.len()]);

impl RunContext {
    pub(crate) fn variables(&self) -> Variables {
        let metadata = json!({
            "namespaceName": self.namespace_name,
            "workflowRunName": self.run_name,
            "namespace": self.namespace,
            "labels": self.labels,
        });
        let plane = match &self.secret_store {
            Some(store) => json!({"secretStore": store}),
            None => json!({}),
        };
        let [metadata_name, parameters, external_refs, workflow_plane, build_plane] = VARIABLES;
        Variables([
            (metadata_name, metadata),
            (parameters, self.parameters.clone()),
            (external_refs, Json::Object(self.external_refs.clone())),
            (workflow_plane, plane.clone()),
            (build_plane, plane),
        ])
    }
}

impl Variables {
    pub(crate) fn bindings(&self) -> [(&str, &Json); VARIABLES.len()] {
        self.0.each_ref().map(|(name, value)| (*name, value))
    }
}
