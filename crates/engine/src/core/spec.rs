//! The specification a workflow really runs: its own, or that of the templates it is made from with its own on top.

use buildplane_argo::spec::WorkflowTemplateRef;
use buildplane_argo::{ReadError, Workflow, WorkflowSpec, WorkflowStatus, read};
use serde_json::{Map, Value};

use crate::core::observed::{Observed, Reference};

/// The specification cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SpecError {
    /// The template object has to be looked up first.
    #[error("the template object is not known yet")]
    Unknown(Reference),
    /// It does not exist.
    #[error("spec.workflowTemplateRef: {kind} \"{name}\" not found: create it, or correct the name")]
    NotFound {
        /// The kind of object.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A field that must not be there beside `workflowTemplateRef`.
    #[error("spec.templates: not allowed beside spec.workflowTemplateRef: remove one of them")]
    TemplatesBesideRef,
    /// It is malformed.
    #[error("{0}")]
    Malformed(String),
}

impl From<ReadError> for SpecError {
    fn from(error: ReadError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// The specification to run and, if it was merged, what to store of it.
pub(crate) fn effective(
    observed: &Observed,
    status: &WorkflowStatus,
) -> Result<(WorkflowSpec, Option<Value>), SpecError> {
    let own = observed.workflow.spec()?;
    let Some(origin) = &own.workflow_template_ref else { return Ok((own, None)) };
    if let Some(stored) = &status.stored_workflow_spec {
        let mut spec: WorkflowSpec = read("status.storedWorkflowTemplateSpec", stored)?;
        // These may change while a workflow runs.
        spec.suspend = own.suspend;
        spec.shutdown = own.shutdown;
        spec.active_deadline_seconds = own.active_deadline_seconds.or(spec.active_deadline_seconds);
        return Ok((spec, Some(stored.clone())));
    }
    if !own.templates.is_empty() {
        return Err(SpecError::TemplatesBesideRef);
    }
    let base = lookup(observed, origin)?;
    let merged = merge(base, &observed.workflow);
    let spec = read("spec (merged with that of spec.workflowTemplateRef)", &merged)?;
    Ok((spec, Some(merged)))
}

fn lookup<'o>(observed: &'o Observed, origin: &WorkflowTemplateRef) -> Result<&'o Value, SpecError> {
    let (reference, kind) = if origin.cluster_scope {
        (Reference::ClusterTemplate(origin.name.clone()), "ClusterWorkflowTemplate")
    } else {
        (Reference::Template(origin.name.clone()), "WorkflowTemplate")
    };
    if let Some(spec) = observed.templates.get(&reference) {
        return Ok(spec);
    }
    if origin.name.is_empty() || observed.absent.contains(&reference) {
        return Err(SpecError::NotFound { kind, name: origin.name.clone() });
    }
    Err(SpecError::Unknown(reference))
}

/// The workflow's own fields win; named lists are merged by name.
fn merge(base: &Value, workflow: &Workflow) -> Value {
    let mut merged = base.as_object().cloned().unwrap_or_default();
    let own: &Map<String, Value> = &workflow.raw_spec.as_object().cloned().unwrap_or_default();
    for (field, value) in own {
        let value = match field.as_str() {
            "workflowTemplateRef" => continue,
            "arguments" => {
                let mut arguments = merged.get(field).and_then(Value::as_object).cloned().unwrap_or_default();
                for (part, list) in value.as_object().into_iter().flatten() {
                    let joined = by_name(arguments.get(part), list);
                    arguments.insert(part.clone(), joined);
                }
                Value::Object(arguments)
            }
            "volumes" => by_name(merged.get(field), value),
            _ => value.clone(),
        };
        merged.insert(field.clone(), value);
    }
    Value::Object(merged)
}

fn by_name(base: Option<&Value>, own: &Value) -> Value {
    let (Some(Value::Array(base)), Value::Array(own)) = (base, own) else { return own.clone() };
    let mut joined = base.clone();
    for entry in own {
        match joined.iter_mut().find(|other| other["name"] == entry["name"]) {
            Some(Value::Object(fields)) => {
                let entry = entry.as_object().into_iter().flatten();
                fields.extend(entry.map(|(field, value)| (field.clone(), value.clone())));
            }
            Some(other) => *other = entry.clone(),
            None => joined.push(entry.clone()),
        }
    }
    Value::Array(joined)
}
