//! Judges a run: its names, its parameters, its templates and what they render.

use std::collections::BTreeMap;
use std::fmt::Display;

use buildplane_admission::{AdmittedResource, AdmittedRun, judge_resource, judge_run};
use buildplane_api::conditions::run::reason;
use buildplane_api::names::{CiNamespace, MAX_LABEL_LENGTH};
use buildplane_api::{Workflow, WorkflowRun};
use buildplane_template::{
    ExternalReference, ParameterSchema, ResourceTemplate, RunContext, WorkflowTemplate,
};
use serde_json::{Map, Value};

use super::problem::Problem;

/// The secret store of planes that name none.
const DEFAULT_STORE: &str = "default";

/// A run and its Workflow, judged as far as that is possible without what they refer to.
#[derive(Debug)]
pub(super) struct Prepared {
    namespace: CiNamespace,
    template: WorkflowTemplate,
    context: RunContext,
}

/// What a run may put onto a build plane.
#[derive(Debug)]
pub(super) struct Validated {
    pub(super) namespace: CiNamespace,
    pub(super) run: AdmittedRun,
    pub(super) resources: Vec<AdmittedResource>,
}

/// Judges what no change of other objects could put right.
pub(super) fn names(run: &WorkflowRun) -> Result<CiNamespace, Problem> {
    let name = run.metadata.name.as_deref().unwrap_or_default();
    let namespace = run.metadata.namespace.as_deref().unwrap_or_default();
    if name.len() > MAX_LABEL_LENGTH {
        let message = format!(
            "the run's name has {} characters, at most {MAX_LABEL_LENGTH} can be used on a build plane; create the run \
             again under a shorter name",
            name.len()
        );
        return Err(Problem::fatal(reason::INVALID_NAME, message));
    }
    CiNamespace::for_namespace(namespace)
        .map_err(|error| Problem::fatal(reason::INVALID_NAME, error.to_string()))
}

/// A Workflow's schema and templates, compiled.
#[derive(Debug)]
pub(crate) struct Compiled {
    schema: Option<ParameterSchema>,
    template: WorkflowTemplate,
}

/// Compiles what a Workflow says, and so checks all of it that can be checked without a run.
///
/// # Errors
/// What is wrong, in words.
pub(crate) fn compile(workflow: &Workflow) -> Result<Compiled, String> {
    let spec = &workflow.spec;
    let invalid = |what: &str, errors: String| {
        let name = workflow.metadata.name.as_deref().unwrap_or_default();
        format!("{what} of Workflow {name} is wrong: {errors}")
    };
    let schema = match &spec.schema {
        None => None,
        Some(schema) => {
            let parameters = schema.parameters.clone().map_or(Value::Null, Value::Object);
            let types = schema.types.clone().map_or(Value::Null, Value::Object);
            Some(
                ParameterSchema::parse(&parameters, &types)
                    .map_err(|e| invalid("the schema", e.to_string()))?,
            )
        }
    };
    let resources: Vec<ResourceTemplate> = spec
        .resources
        .iter()
        .map(|resource| ResourceTemplate {
            id: resource.id.clone(),
            include_when: resource.include_when.clone(),
            template: Value::Object(resource.template.clone()),
        })
        .collect();
    let external_refs: Vec<ExternalReference> = spec
        .external_refs
        .iter()
        .map(|reference| ExternalReference { id: reference.id.clone(), name: reference.name.clone() })
        .collect();
    let template = Value::Object(spec.run_template.clone());
    let template = WorkflowTemplate::compile(&template, &resources, &external_refs, schema.as_ref())
        .map_err(|errors| {
            invalid("a template", listed(errors.iter().map(buildplane_template::Error::message)))
        })?;
    Ok(Compiled { schema, template })
}

/// Compiles the Workflow and judges the run's parameters.
pub(super) fn prepare(
    run: &WorkflowRun,
    workflow: &Workflow,
    namespace: CiNamespace,
    secret_store: Option<String>,
) -> Result<Prepared, Problem> {
    let Compiled { schema, template } =
        compile(workflow).map_err(|message| Problem::change(reason::WORKFLOW_INVALID, message))?;
    let parameters = parameters(run, schema.as_ref())?;
    let context = RunContext {
        namespace_name: run.metadata.namespace.clone().unwrap_or_default(),
        run_name: run.metadata.name.clone().unwrap_or_default(),
        namespace: namespace.as_str().to_owned(),
        labels: run.metadata.labels.clone().unwrap_or_default(),
        parameters,
        external_refs: Map::new(),
        secret_store,
    };
    Ok(Prepared { namespace, template, context })
}

fn parameters(run: &WorkflowRun, schema: Option<&ParameterSchema>) -> Result<Value, Problem> {
    let given = run.spec.workflow.parameters.clone().map_or(Value::Null, Value::Object);
    match schema {
        Some(schema) => schema.prepare(&given).map_err(|errors| {
            let message =
                format!("the run's parameters do not fit the Workflow's schema: {}", listed(errors));
            Problem::change(reason::PARAMETERS_INVALID, message)
        }),
        None if given.is_null() => Ok(Value::Object(Map::new())),
        None => Ok(given),
    }
}

impl Prepared {
    /// The objects that the templates read, as names by id.
    pub(super) fn external_ref_names(&self) -> Result<BTreeMap<String, String>, Problem> {
        self.template.external_reference_names(&self.context).map_err(|error| render_failed(&error))
    }

    /// Renders the templates and judges what comes out.
    pub(super) fn render(mut self, external_refs: Map<String, Value>) -> Result<Validated, Problem> {
        self.context.external_refs = external_refs;
        let store = self.context.secret_store.clone().unwrap_or_else(|| DEFAULT_STORE.to_owned());
        let rendered = self.template.render(&self.context).map_err(|error| render_failed(&error))?;
        let mut violations = Vec::new();
        let run = judge_run(rendered.run, &self.namespace).map_err(|found| violations.extend(found)).ok();
        let mut resources = Vec::with_capacity(rendered.resources.len());
        for resource in rendered.resources {
            match judge_resource(&resource.id, resource.object, &self.namespace, &store) {
                Ok(resource) => resources.push(resource),
                Err(found) => violations.extend(found),
            }
        }
        match run {
            Some(run) if violations.is_empty() => Ok(Validated { namespace: self.namespace, run, resources }),
            _ => Err(Problem::change(
                reason::NOT_ADMITTED,
                format!("what the Workflow renders may not run on a build plane: {}", listed(violations)),
            )),
        }
    }
}

fn render_failed(error: &buildplane_template::Error) -> Problem {
    Problem::change(reason::RENDER_FAILED, format!("the Workflow does not render: {}", error.message()))
}

/// The first few of several errors.
fn listed<T: Display>(errors: impl IntoIterator<Item = T>) -> String {
    const SHOWN: usize = 5;
    let errors: Vec<String> = errors.into_iter().map(|error| error.to_string()).collect();
    let shown = errors.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("; ");
    match errors.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}

#[cfg(test)]
mod tests;
