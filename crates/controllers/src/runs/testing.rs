//! What the tests of the steps share.

use buildplane_api::run::{WorkflowRunSpec, WorkflowRunWorkflow};
use buildplane_api::workflow::WorkflowSpec;
use buildplane_api::{Workflow, WorkflowRun};
use serde_json::{Value, json};

/// The run `org/run-1` of Workflow `docker`.
pub(super) fn run(parameters: &Value) -> WorkflowRun {
    let workflow = WorkflowRunWorkflow { name: "docker".into(), parameters: parameters.as_object().cloned() };
    let mut run = WorkflowRun::new("run-1", WorkflowRunSpec { workflow, ..WorkflowRunSpec::default() });
    run.metadata.namespace = Some("org".into());
    run.metadata.uid = Some("uid-1".into());
    run.metadata.generation = Some(1);
    run
}

/// A small Workflow with a parameter, a resource and a reference.
pub(super) fn workflow() -> Workflow {
    let spec: WorkflowSpec = serde_json::from_value(json!({
        "schema": {"parameters": {"url": "string", "branch": "string | default=main", "secret": "string | default=\"\""}},
        "externalRefs": [{
            "id": "git",
            "apiVersion": "openchoreo.dev/v1alpha1",
            "kind": "SecretReference",
            "name": "${parameters.secret}",
        }],
        "runTemplate": {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Workflow",
            "metadata": {"name": "${metadata.workflowRunName}", "namespace": "${metadata.namespace}"},
            "spec": {
                "entrypoint": "main",
                "suspend": true,
                "arguments": {"parameters": [
                    {"name": "url", "value": "${parameters.url}"},
                    {"name": "branch", "value": "${parameters.branch}"},
                ]},
            },
        },
        "resources": [{
            "id": "settings",
            "includeWhen": "${parameters.secret != \"\"}",
            "template": {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "${metadata.workflowRunName}-settings"},
            },
        }],
    }))
    .expect("a Workflow");
    let mut workflow = Workflow::new("docker", spec);
    workflow.metadata.namespace = Some("org".into());
    workflow
}
