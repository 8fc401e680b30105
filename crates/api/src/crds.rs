//! The CRDs, generated from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

use crate::application::{Component, Project};
use crate::plane::{
    BuildPlane, ClusterBuildPlane, ClusterDataPlane, ClusterObservabilityPlane, DataPlane, ObservabilityPlane,
};
use crate::run::WorkflowRun;
use crate::secret_reference::SecretReference;
use crate::workflow::Workflow;
use crate::workload::Workload;

/// The CRDs of every kind, sorted by name.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut crds = vec![
        BuildPlane::crd(),
        ClusterBuildPlane::crd(),
        ObservabilityPlane::crd(),
        ClusterObservabilityPlane::crd(),
        DataPlane::crd(),
        ClusterDataPlane::crd(),
        Workflow::crd(),
        WorkflowRun::crd(),
        SecretReference::crd(),
        Workload::crd(),
        Component::crd(),
        Project::crd(),
    ];
    crds.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    crds
}

#[cfg(test)]
mod tests;
