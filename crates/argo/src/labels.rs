//! Labels and annotations of workflows and their pods.

/// On a pod: the workflow it belongs to.
pub const WORKFLOW: &str = "workflows.argoproj.io/workflow";
/// On a workflow and its pods: `"true"` once it is over.
pub const COMPLETED: &str = "workflows.argoproj.io/completed";
/// On a workflow: its phase.
pub const PHASE: &str = "workflows.argoproj.io/phase";
/// On a workflow: the template it was made from.
pub const WORKFLOW_TEMPLATE: &str = "workflows.argoproj.io/workflow-template";
/// On a workflow: the cluster template it was made from.
pub const CLUSTER_WORKFLOW_TEMPLATE: &str = "workflows.argoproj.io/cluster-workflow-template";
/// Annotation of a pod: the name of its node.
pub const NODE_NAME: &str = "workflows.argoproj.io/node-name";
/// Annotation of a pod: the id of its node.
pub const NODE_ID: &str = "workflows.argoproj.io/node-id";
/// Annotation of a workflow: which rule its pods are named by.
pub const POD_NAME_FORMAT: &str = "workflows.argoproj.io/pod-name-format";
/// The container that runs the step.
pub const MAIN_CONTAINER: &str = "main";
/// Annotation of a pod, BuildPlane's own: the files to hand back after the step, a JSON list of `{name, path}`.
pub const COLLECT_FILES: &str = "openchoreo.dev/collect-files";
/// Annotation of a pod, BuildPlane's own: the contents handed back, a JSON object by name.
pub const COLLECTED_FILES: &str = "openchoreo.dev/collected-files";
/// On a pod of an exit handler.
pub const ON_EXIT: &str = "workflows.argoproj.io/on-exit";
