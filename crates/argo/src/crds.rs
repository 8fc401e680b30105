//! The CustomResourceDefinitions that an embedded platform installs, so that manifests written for Argo Workflows are
//! accepted unchanged. Like Argo's small variant they leave `spec` and `status` open: the engine judges those.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

use crate::object::{GROUP, VERSION};

/// Definitions of workflows, workflowtemplates, clusterworkflowtemplates and workflowtaskresults.
///
/// Argo's Workflow has no status subresource: who may write workflows may write their status, in one request.
///
/// # Panics
/// Never: the definitions are constants, and a test reads each of them.
pub fn crds() -> Vec<CustomResourceDefinition> {
    [workflows(), workflow_templates(), cluster_workflow_templates(), workflow_task_results()]
        .into_iter()
        .map(|definition| serde_json::from_value(definition).expect("the definitions are well formed"))
        .collect()
}

fn workflows() -> Value {
    let mut definition = definition(
        &json!({
            "kind": "Workflow", "listKind": "WorkflowList",
            "plural": "workflows", "singular": "workflow", "shortNames": ["wf"],
        }),
        "Namespaced",
        &["spec"],
        "A run of templates: what to execute, and how far it has come.",
        &json!({"spec": open("What to execute."), "status": open("How far it has come.")}),
    );
    definition["spec"]["versions"][0]["additionalPrinterColumns"] = json!([
        {"name": "Status", "type": "string", "jsonPath": ".status.phase", "description": "Where the workflow stands"},
        {"name": "Age", "type": "date", "format": "date-time", "jsonPath": ".status.startedAt",
         "description": "When the workflow was started"},
        {"name": "Message", "type": "string", "jsonPath": ".status.message", "description": "Why it stands there"},
    ]);
    definition["spec"]["versions"][0]["subresources"] = json!({});
    definition
}

fn workflow_templates() -> Value {
    definition(
        &json!({
            "kind": "WorkflowTemplate", "listKind": "WorkflowTemplateList",
            "plural": "workflowtemplates", "singular": "workflowtemplate", "shortNames": ["wftmpl"],
        }),
        "Namespaced",
        &["spec"],
        "Templates that the workflows of one namespace share.",
        &json!({"spec": open("The templates.")}),
    )
}

fn cluster_workflow_templates() -> Value {
    definition(
        &json!({
            "kind": "ClusterWorkflowTemplate", "listKind": "ClusterWorkflowTemplateList",
            "plural": "clusterworkflowtemplates", "singular": "clusterworkflowtemplate",
            "shortNames": ["clusterwftmpl", "cwft"],
        }),
        "Cluster",
        &["spec"],
        "Templates that the workflows of all namespaces share.",
        &json!({"spec": open("The templates.")}),
    )
}

fn workflow_task_results() -> Value {
    definition(
        &json!({
            "kind": "WorkflowTaskResult", "listKind": "WorkflowTaskResultList",
            "plural": "workflowtaskresults", "singular": "workflowtaskresult",
        }),
        "Namespaced",
        &[],
        "What one step reported back. Steps on a cluster write these; nobody else should.",
        &json!({
            "message": {"type": "string", "description": "Why the step stands where it does."},
            "outputs": open("What the step handed back."),
            "phase": {"type": "string", "description": "Where the step stands."},
            "progress": {"type": "string", "description": "How much of the step is done."},
        }),
    )
}

/// An object whose fields are kept as they are and, like Argo's, replaced as a whole by server-side apply.
fn open(description: &str) -> Value {
    json!({
        "type": "object",
        "description": description,
        "x-kubernetes-map-type": "atomic",
        "x-kubernetes-preserve-unknown-fields": true,
    })
}

fn definition(names: &Value, scope: &str, required: &[&str], about: &str, fields: &Value) -> Value {
    let mut properties = fields.clone();
    properties["apiVersion"] = json!({"type": "string", "description": "The version of the object's form."});
    properties["kind"] = json!({"type": "string", "description": "What kind of object it is."});
    properties["metadata"] = json!({"type": "object"});
    let required: Vec<&str> = ["metadata"].iter().chain(required).copied().collect();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{}.{GROUP}", names["plural"].as_str().unwrap_or_default())},
        "spec": {
            "group": GROUP,
            "names": names,
            "scope": scope,
            "versions": [{
                "name": VERSION,
                "served": true,
                "storage": true,
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "description": about,
                    "required": required,
                    "properties": properties,
                }},
            }],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_definition_names_itself_after_plural_and_group() {
        let crds = crds();
        assert_eq!(crds.len(), 4);
        for crd in crds {
            assert_eq!(
                crd.metadata.name.as_deref(),
                Some(format!("{}.{}", crd.spec.names.plural, crd.spec.group).as_str())
            );
        }
    }

    #[test]
    fn the_status_of_a_workflow_is_no_subresource() {
        let crds = crds();
        let version = &crds[0].spec.versions[0];
        assert!(version.subresources.as_ref().is_none_or(|subresources| subresources.status.is_none()));
        let columns: Vec<&str> =
            version.additional_printer_columns.iter().flatten().map(|column| column.name.as_str()).collect();
        assert_eq!(columns, ["Status", "Age", "Message"]);
    }
}
