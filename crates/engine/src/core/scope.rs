//! The variables that exist where.

use buildplane_argo::template::{Parameter, Template};
use buildplane_argo::{AnyString, NodeStatus, Workflow, WorkflowSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::core::substitute::Scope;

/// The variables of the workflow as a whole, its parameters aside.
pub(crate) fn workflow(workflow: &Workflow, spec: &WorkflowSpec) -> Scope<'static> {
    let mut scope = Scope::default();
    let metadata = &workflow.metadata;
    scope.set("workflow.name", metadata.name.as_deref().unwrap_or_default());
    scope.set("workflow.namespace", metadata.namespace.as_deref().unwrap_or_default());
    scope.set("workflow.uid", metadata.uid.as_deref().unwrap_or_default());
    scope.set("workflow.serviceAccountName", spec.service_account_name.as_deref().unwrap_or_default());
    scope.set("workflow.mainEntrypoint", spec.entrypoint.as_deref().unwrap_or_default());
    if let Some(Time(created)) = &metadata.creation_timestamp {
        scope.set("workflow.creationTimestamp", created.to_string());
        scope.set("workflow.creationTimestamp.s", created.as_second().to_string());
        scope.set("workflow.creationTimestamp.RFC3339", created.to_string());
    }
    for (kind, entries) in [("labels", &metadata.labels), ("annotations", &metadata.annotations)] {
        for (key, value) in entries.iter().flatten() {
            scope.set(format!("workflow.{kind}.{key}"), value);
        }
    }
    scope
}

/// Adds the parameters of the workflow.
pub(crate) fn workflow_parameters(scope: &mut Scope<'_>, parameters: &[Parameter]) {
    for parameter in parameters {
        scope.set(
            format!("workflow.parameters.{}", parameter.name),
            parameter.value_str().unwrap_or_default(),
        );
    }
    let all: Vec<serde_json::Value> = parameters
        .iter()
        .map(|parameter| serde_json::json!({"name": parameter.name, "value": parameter.value_str()}))
        .collect();
    let all = serde_json::Value::Array(all).to_string();
    scope.set("workflow.parameters", all.as_str());
    scope.set("workflow.parameters.json", all);
}

/// Adds what a template was given.
pub(crate) fn inputs(scope: &mut Scope<'_>, inputs: &[Parameter]) {
    for parameter in inputs {
        scope.set(format!("inputs.parameters.{}", parameter.name), parameter.value_str().unwrap_or_default());
    }
}

/// Adds what a finished step or task left. `prefix` is `steps.<name>` or `tasks.<name>`.
pub(crate) fn finished(scope: &mut Scope<'_>, prefix: &str, node: &NodeStatus, template: &Template) {
    scope.set(format!("{prefix}.id"), &node.id);
    if let Some(phase) = &node.phase {
        scope.set(format!("{prefix}.status"), phase.as_str());
    }
    scope.set(format!("{prefix}.message"), node.message.as_deref().unwrap_or_default());
    for (name, time) in [("startedAt", &node.started_at), ("finishedAt", &node.finished_at)] {
        if let Some(Time(time)) = time {
            scope.set(format!("{prefix}.{name}"), time.to_string());
        }
    }
    let outputs = node.outputs.as_ref();
    if let Some(code) = outputs.and_then(|outputs| outputs.exit_code.as_deref()) {
        scope.set(format!("{prefix}.exitCode"), code);
    }
    // A step that did not run has the defaults of what it would have handed back.
    for declared in &template.outputs.parameters {
        let default = declared.value_from.as_ref().and_then(|from| from.default.as_ref());
        let value = node.output_parameter(&declared.name).or_else(|| default.map(AnyString::as_str));
        if let Some(value) = value {
            scope.set(format!("{prefix}.outputs.parameters.{}", declared.name), value);
        }
    }
}

/// Adds what the finished turns of a loop left, each output as a JSON list.
pub(crate) fn finished_loop(
    scope: &mut Scope<'_>,
    prefix: &str,
    group: &NodeStatus,
    turns: &[&NodeStatus],
    template: &Template,
) {
    scope.set(format!("{prefix}.id"), &group.id);
    if let Some(phase) = &group.phase {
        scope.set(format!("{prefix}.status"), phase.as_str());
    }
    let done: Vec<&&NodeStatus> = turns.iter().filter(|node| node.outputs.is_some()).collect();
    let all: Vec<serde_json::Value> = done
        .iter()
        .map(|node| {
            let parameters = node.outputs.iter().flat_map(|outputs| &outputs.parameters);
            parameters
                .map(|parameter| (parameter.name.clone(), parameter.value_str().unwrap_or_default().into()))
                .collect::<serde_json::Map<_, _>>()
                .into()
        })
        .collect();
    scope.set(format!("{prefix}.outputs.parameters"), serde_json::Value::Array(all).to_string());
    for declared in &template.outputs.parameters {
        let values: Vec<&str> =
            done.iter().filter_map(|node| node.output_parameter(&declared.name)).collect();
        scope.set(
            format!("{prefix}.outputs.parameters.{}", declared.name),
            serde_json::Value::from(values).to_string(),
        );
    }
}
