//! Volumes of steps, and claims of workflows.

use std::collections::BTreeSet;

use buildplane_argo::WorkflowSpec;
use buildplane_argo::labels;
use serde_json::{Value, json};

use crate::core::limits::Limits;
use crate::core::observed::Observed;
use crate::core::scope;
use crate::core::substitute::{Budget, ExpandError, Scope};

/// A claim cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClaimError {
    #[error("spec.volumeClaimTemplates: {0}")]
    Expand(ExpandError),
    #[error("claim \"{name}\" was refused: {reason}")]
    Refused { name: String, reason: String },
}

/// A claim and the volume that stands for it in pods.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Claim {
    pub(crate) manifest: Value,
    pub(crate) volume: Value,
}

/// The claims of a workflow: `<workflow>-<claim>`, owned by it.
pub(crate) fn claims(
    observed: &Observed,
    spec: &WorkflowSpec,
    workflow: &str,
    limits: &Limits,
) -> Result<Vec<Claim>, ClaimError> {
    let mut scope = scope::workflow(&observed.workflow, spec);
    scope::workflow_parameters(&mut scope, &spec.arguments.parameters);
    let mut budget = Budget::new(limits.expansion_bytes);
    let metadata = &observed.workflow.metadata;
    spec.volume_claim_templates
        .iter()
        .map(|template| {
            let short = template["metadata"]["name"].as_str().unwrap_or_default();
            let name = format!("{workflow}-{short}");
            if let Some(reason) = observed.refused.get(&name) {
                return Err(ClaimError::Refused { name, reason: reason.clone() });
            }
            let mut claim_spec = template["spec"].clone();
            scope.expand_value(&mut claim_spec, &mut budget).map_err(ClaimError::Expand)?;
            let mut own_labels = template["metadata"]["labels"].as_object().cloned().unwrap_or_default();
            own_labels.insert(labels::WORKFLOW.to_owned(), workflow.into());
            let manifest = json!({
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {
                    "name": name,
                    "namespace": metadata.namespace,
                    "labels": own_labels,
                    "annotations": template["metadata"]["annotations"],
                    "ownerReferences": [owner(observed)],
                },
                "spec": claim_spec,
            });
            let volume = json!({"name": short, "persistentVolumeClaim": {"claimName": name}});
            Ok(Claim { manifest: without_nulls(manifest), volume })
        })
        .collect()
}

/// The reference by which what a workflow made goes with it.
pub(crate) fn owner(observed: &Observed) -> Value {
    owner_of(&observed.workflow)
}

/// The same, of a workflow.
pub(crate) fn owner_of(workflow: &buildplane_argo::Workflow) -> Value {
    json!({
        "apiVersion": buildplane_argo::object::API_VERSION,
        "kind": "Workflow",
        "name": workflow.metadata.name,
        "uid": workflow.metadata.uid,
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// A pod's volumes cannot be put together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VolumeError {
    #[error("volumes cannot be expanded")]
    Expand(#[source] ExpandError),
    #[error(
        "volumeMounts: there is no volume \"{0}\": add it to the volumes of the template or the workflow"
    )]
    Missing(String),
}

/// The volumes of a pod: all of its template's, and those of the workflow and its claims that it mounts.
pub(crate) fn of_pod(
    own: &[Value],
    shared: &[Value],
    claims: &[Value],
    mounts: &[Value],
    scope: &Scope<'_>,
    budget: &mut Budget,
) -> Result<Vec<Value>, VolumeError> {
    let mut volumes = own.to_vec();
    for volume in &mut volumes {
        scope.expand_value(volume, budget).map_err(VolumeError::Expand)?;
    }
    let mut present: BTreeSet<String> =
        volumes.iter().filter_map(|volume| volume["name"].as_str()).map(str::to_owned).collect();
    for mount in mounts {
        let name = mount["name"].as_str().unwrap_or_default();
        if !present.insert(name.to_owned()) {
            continue;
        }
        let found = claims.iter().chain(shared).find(|volume| volume["name"] == name);
        let mut volume = found.cloned().ok_or_else(|| VolumeError::Missing(name.to_owned()))?;
        scope.expand_value(&mut volume, budget).map_err(VolumeError::Expand)?;
        volumes.push(volume);
    }
    Ok(volumes)
}

/// The value without its empty fields, which Kubernetes would otherwise have to be asked to ignore.
pub(crate) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, field)| !field.is_null())
            .map(|(name, field)| (name, without_nulls(field)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => plain,
    }
}
