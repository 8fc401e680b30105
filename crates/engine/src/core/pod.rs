//! The pod that runs a step.

use buildplane_argo::template::Container;
use buildplane_argo::{Workflow, WorkflowSpec, labels};
use serde_json::{Map, Value, json};

use crate::core::execute::{Frame, Part};
use crate::core::limits::Limits;
use crate::core::substitute::{Budget, ExpandError};
use crate::core::volumes::{self, VolumeError, owner_of, without_nulls};

/// Runs a script without a file of the engine's in the container: the text comes as an argument, is put into a private
/// file, and the interpreter starts in place of the shell.
const RUN_SCRIPT: &str = r#"f=$(mktemp) && printf '%s' "$1" >"$f" && shift && exec "$@" "$f""#;

/// A pod cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PodError {
    #[error("{field}")]
    Expand {
        field: &'static str,
        #[source]
        cause: ExpandError,
    },
    #[error("volumes")]
    Volumes(#[source] VolumeError),
    #[error(
        "\"{pod}\" cannot name a pod: use lower-case letters, digits and - in the name of template \"{template}\""
    )]
    Name { pod: String, template: String },
    #[error("activeDeadlineSeconds is \"{0}\", which is no number of seconds")]
    Deadline(String),
    #[error("{field} is malformed: {problem}")]
    Malformed { field: &'static str, problem: String },
}

/// What a pod is made of beside its frame.
pub(crate) struct Request<'r> {
    pub(crate) name: &'r str,
    pub(crate) node_id: &'r str,
    pub(crate) workflow: &'r Workflow,
    pub(crate) spec: &'r WorkflowSpec,
    pub(crate) claims: &'r [Value],
    pub(crate) limits: &'r Limits,
}

/// Makes the pod of a leaf template.
pub(crate) fn build(request: &Request<'_>, frame: &Frame<'_>) -> Result<Value, PodError> {
    if !is_pod_name(request.name) {
        let template = frame.template.name.clone();
        return Err(PodError::Name { pod: request.name.to_owned(), template });
    }
    let mut budget = Budget::new(request.limits.expansion_bytes);
    let container = container(frame, &mut budget)?;
    let mounts: Vec<Value> = container["volumeMounts"].as_array().cloned().unwrap_or_default();
    let template = &frame.template;
    let volumes = volumes::of_pod(
        &template.volumes,
        &request.spec.volumes,
        request.claims,
        &mounts,
        &frame.scope,
        &mut budget,
    )
    .map_err(PodError::Volumes)?;
    let own_security = template.security_context.as_ref().or(request.spec.security_context.as_ref());
    let mut security = own_security.cloned().unwrap_or(Value::Null);
    frame
        .scope
        .expand_value(&mut security, &mut budget)
        .map_err(|cause| PodError::Expand { field: "securityContext", cause })?;
    let account = template.service_account_name.as_ref().or(request.spec.service_account_name.as_ref());
    let spec = json!({
        "restartPolicy": "Never",
        "automountServiceAccountToken": false,
        "serviceAccountName": account,
        "activeDeadlineSeconds": deadline(frame, &mut budget)?,
        "securityContext": security,
        "volumes": if volumes.is_empty() { Value::Null } else { volumes.into() },
        "containers": [container],
    });
    Ok(without_nulls(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(request, frame, &mut budget)?,
        "spec": spec,
    })))
}

fn container(frame: &Frame<'_>, budget: &mut Budget) -> Result<Value, PodError> {
    let template = &frame.template;
    let expand = |value: &mut Value, field, budget: &mut Budget| {
        frame.scope.expand_value(value, budget).map_err(|cause| PodError::Expand { field, cause })
    };
    let (found, field) = match (&template.container, &template.script) {
        (Some(container), _) => (container.clone(), "container"),
        (None, Some(script)) => (script.container.clone(), "script"),
        (None, None) => (Container::default(), "container"),
    };
    let found = Container { name: labels::MAIN_CONTAINER.to_owned(), ..found };
    let mut value = serde_json::to_value(found)
        .map_err(|error| PodError::Malformed { field, problem: error.to_string() })?;
    expand(&mut value, field, budget)?;
    if let Some(script) = &template.script {
        let mut source = Value::String(script.source.clone());
        expand(&mut source, "script.source", budget)?;
        let mut arguments = vec![source];
        for list in ["command", "args"] {
            arguments.extend(value[list].as_array().cloned().unwrap_or_default());
        }
        value["command"] = json!(["/bin/sh", "-c", RUN_SCRIPT, "script"]);
        value["args"] = arguments.into();
    }
    // A limit written as a number means the same as one written as text, and Kubernetes wants text.
    for part in ["limits", "requests"] {
        let amounts = value.pointer_mut(&format!("/resources/{part}")).and_then(Value::as_object_mut);
        if let Some(amounts) = amounts {
            for amount in amounts.values_mut().filter(|amount| amount.is_number()) {
                *amount = amount.to_string().into();
            }
        }
    }
    if let Value::Object(fields) = &mut value {
        // So that a failed step can say why in its status.
        fields.entry("terminationMessagePolicy").or_insert_with(|| "FallbackToLogsOnError".into());
        fields.retain(|_, field| !field.is_null());
    }
    Ok(value)
}

fn metadata(request: &Request<'_>, frame: &Frame<'_>, budget: &mut Budget) -> Result<Value, PodError> {
    let workflow = &request.workflow.metadata;
    let (mut own_labels, mut annotations) = (Map::new(), Map::new());
    for source in [request.spec.pod_metadata.as_ref(), frame.template.metadata.as_ref()].into_iter().flatten()
    {
        for (from, to) in [(&source.labels, &mut own_labels), (&source.annotations, &mut annotations)] {
            for (key, value) in from {
                let value = frame
                    .scope
                    .expand(value, budget)
                    .map_err(|cause| PodError::Expand { field: "metadata", cause })?;
                to.insert(key.clone(), value.into());
            }
        }
    }
    own_labels.insert(labels::WORKFLOW.to_owned(), workflow.name.clone().into());
    own_labels.insert(labels::COMPLETED.to_owned(), "false".into());
    if frame.invocation.part == Part::ExitHandler {
        own_labels.insert(labels::ON_EXIT.to_owned(), "true".into());
    }
    annotations.insert(labels::NODE_NAME.to_owned(), frame.invocation.name.clone().into());
    annotations.insert(labels::NODE_ID.to_owned(), request.node_id.into());
    // What a manifest writes here is the engine's to say.
    annotations.remove(labels::COLLECTED_FILES);
    annotations.remove(labels::COLLECT_FILES);
    let files = files(frame, budget)?;
    if !files.is_empty() {
        annotations.insert(labels::COLLECT_FILES.to_owned(), Value::Array(files).to_string().into());
    }
    Ok(json!({
        "name": request.name,
        "namespace": workflow.namespace,
        "labels": own_labels,
        "annotations": annotations,
        "ownerReferences": [owner_of(request.workflow)],
    }))
}

/// The files to hand back.
fn files(frame: &Frame<'_>, budget: &mut Budget) -> Result<Vec<Value>, PodError> {
    let mut files = Vec::new();
    for output in &frame.template.outputs.parameters {
        let Some(path) = output.value_from.as_ref().and_then(|from| from.path.as_deref()) else { continue };
        let path = frame
            .scope
            .expand(path, budget)
            .map_err(|cause| PodError::Expand { field: "outputs.parameters", cause })?;
        files.push(json!({"name": output.name, "path": path}));
    }
    Ok(files)
}

fn deadline(frame: &Frame<'_>, budget: &mut Budget) -> Result<Option<u32>, PodError> {
    let Some(text) = &frame.template.active_deadline_seconds else { return Ok(None) };
    let text = frame
        .scope
        .expand(text.as_str(), budget)
        .map_err(|cause| PodError::Expand { field: "activeDeadlineSeconds", cause })?;
    match text.parse::<u32>() {
        Ok(seconds) if seconds > 0 => Ok(Some(seconds)),
        Ok(_) | Err(_) => Err(PodError::Deadline(text)),
    }
}

/// Whether a text can name a pod: a DNS subdomain.
fn is_pod_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(inner)
        })
}
