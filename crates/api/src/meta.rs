//! The group, and the labels, annotations and finalizers that mean something here.

/// The API group of every kind.
pub const GROUP: &str = "openchoreo.dev";
/// The version of every kind.
pub const VERSION: &str = "v1alpha1";
/// Group and version, as in a manifest's `apiVersion`.
pub const API_VERSION: &str = "openchoreo.dev/v1alpha1";

/// The namespace of the control plane's own parts.
pub const CONTROL_PLANE_NAMESPACE: &str = "openchoreo-control-plane";
/// The namespace of the agent on a build plane.
pub const BUILD_PLANE_NAMESPACE: &str = "openchoreo-build-plane";
/// The name of the planes that are taken where none is named.
pub const DEFAULT_PLANE: &str = "default";
/// The task whose output `workload-cr` becomes a Workload.
pub const WORKLOAD_TASK: &str = "generate-workload-cr";
/// The output parameter of [`WORKLOAD_TASK`] that holds the Workload, as YAML.
pub const WORKLOAD_OUTPUT: &str = "workload-cr";

/// Label keys.
pub mod label {
    /// The project that a run builds for.
    pub const PROJECT: &str = "openchoreo.dev/project";
    /// The component that a run builds.
    pub const COMPONENT: &str = "openchoreo.dev/component";
    /// On a build plane: the run that an object belongs to.
    pub const WORKFLOW_RUN: &str = "openchoreo.dev/workflowrun";
    /// On a build plane: the control-plane namespace of that run.
    pub const WORKFLOW_RUN_NAMESPACE: &str = "openchoreo.dev/workflowrun-namespace";
    /// On a build plane: who made the object.
    pub const MANAGED_BY: &str = "openchoreo.dev/managed-by";
    /// The value of [`MANAGED_BY`] on what the run controller made.
    pub const MANAGED_BY_RUNS: &str = "workflowrun-controller";
}

/// Annotation keys.
pub mod annotation {
    /// A name for people.
    pub const DISPLAY_NAME: &str = "openchoreo.dev/display-name";
    /// A description for people.
    pub const DESCRIPTION: &str = "openchoreo.dev/description";
    /// On a plane: the identity of the one cluster that may serve it, the uid of that cluster's namespace kube-system.
    /// Where it is absent, a plane keeps to the cluster that it was served by first.
    pub const CLUSTER_ID: &str = "openchoreo.dev/cluster-id";
    /// On a build plane: the uid of the run that an object belongs to. A run of the same name that was created later
    /// has another, so that it never adopts what is not its own.
    pub const WORKFLOW_RUN_UID: &str = "openchoreo.dev/workflowrun-uid";
    /// On a Workflow: what it is for; [`SCOPE_COMPONENT`] builds components.
    pub const WORKFLOW_SCOPE: &str = "openchoreo.dev/workflow-scope";
    /// The value of [`WORKFLOW_SCOPE`] on a Workflow that builds a component.
    pub const SCOPE_COMPONENT: &str = "component";
    /// On a Workflow: which of its parameters hold the repository, branch and so on.
    pub const COMPONENT_PARAMETERS: &str = "openchoreo.dev/component-workflow-parameters";
}

/// Finalizers.
pub mod finalizer {
    /// On a WorkflowRun: its objects on the build plane are still to be removed.
    pub const WORKFLOW_RUN: &str = "openchoreo.dev/workflowrun-cleanup";
    /// On a BuildPlane: the gateway still knows its CA.
    pub const BUILD_PLANE: &str = "openchoreo.dev/buildplane-cleanup";
    /// On a ClusterBuildPlane: the gateway still knows its CA.
    pub const CLUSTER_BUILD_PLANE: &str = "openchoreo.dev/clusterbuildplane-cleanup";
    /// On a DataPlane: the gateway still knows its CA.
    pub const DATA_PLANE: &str = "openchoreo.dev/dataplane-cleanup";
    /// On a ClusterDataPlane: the gateway still knows its CA.
    pub const CLUSTER_DATA_PLANE: &str = "openchoreo.dev/clusterdataplane-cleanup";
    /// On an ObservabilityPlane: the gateway still knows its CA.
    pub const OBSERVABILITY_PLANE: &str = "openchoreo.dev/observabilityplane-cleanup";
    /// On a ClusterObservabilityPlane: the gateway still knows its CA.
    pub const CLUSTER_OBSERVABILITY_PLANE: &str = "openchoreo.dev/clusterobservabilityplane-cleanup";
}
