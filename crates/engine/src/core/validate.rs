//! Judging a whole workflow before anything of it runs: what it needs is there, and nothing in it would be ignored.
//!
//! The walk starts at the entrypoint and the exit handler, and visits every template that can be reached.

mod fields;
mod graph;
mod references;

use std::collections::BTreeSet;

use buildplane_argo::template::{Parameter, Step, Template};
use buildplane_argo::{AnyString, WorkflowSpec};

use crate::core::limits::Limits;
use crate::core::resolve::{Call, Origin, ResolveError, Resolved, Resolver};

pub(crate) use graph::order;

/// What is wrong with a manifest. Each message names the field and, where there is one, the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Invalid {
    /// Template objects have to be looked up first.
    #[error("template objects are not known yet")]
    Unknown,
    /// The template that a field names cannot be had.
    #[error("{path}: {cause}")]
    Template { path: String, cause: ResolveError },
    /// A field is wrong.
    #[error("{path}: {problem}")]
    Field { path: String, problem: String },
    /// A field would be ignored.
    #[error("{path} is not supported by this engine: {remedy}")]
    Unsupported { path: String, remedy: &'static str },
}

impl Invalid {
    pub(crate) fn field(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Field { path: path.into(), problem: problem.into() }
    }
}

/// What can be known of a workflow before it runs.
pub(crate) struct Manifest<'m> {
    pub(crate) name: &'m str,
    pub(crate) spec: &'m WorkflowSpec,
    /// The names of the variables of the workflow as a whole.
    pub(crate) globals: BTreeSet<String>,
    pub(crate) limits: &'m Limits,
}

/// Judges a workflow.
pub(crate) fn validate(manifest: &Manifest<'_>, resolver: &mut Resolver<'_>) -> Result<(), Invalid> {
    // Kubernetes allows longer names, but not as the value of the label that pods carry.
    if manifest.name.len() > 63 {
        return Err(Invalid::field(
            "metadata.name",
            "must not be longer than 63 characters: choose a shorter name",
        ));
    }
    fields::workflow(manifest.spec)?;
    let entrypoint = manifest.spec.entrypoint.as_deref().unwrap_or_default();
    if entrypoint.is_empty() {
        return Err(Invalid::field("spec.entrypoint", "is missing: name the template to start with"));
    }
    let mut walk = Walk { manifest, resolver, seen: BTreeSet::new(), queue: Vec::new(), unknown: false };
    let given = Some(manifest.spec.arguments.parameters.as_slice());
    walk.call("spec.entrypoint", &Origin::Local, &Call::Name(entrypoint.to_owned()), given)?;
    if let Some(on_exit) = &manifest.spec.on_exit {
        walk.call("spec.onExit", &Origin::Local, &Call::Name(on_exit.clone()), given)?;
    }
    while let Some(next) = walk.queue.pop() {
        walk.template(&next)?;
    }
    if walk.unknown { Err(Invalid::Unknown) } else { Ok(()) }
}

struct Walk<'m, 'r, 'o> {
    manifest: &'m Manifest<'m>,
    resolver: &'r mut Resolver<'o>,
    seen: BTreeSet<(Origin, String)>,
    queue: Vec<Resolved>,
    unknown: bool,
}

impl Walk<'_, '_, '_> {
    /// Finds a template, checks that it gets what it takes, and queues it unless it was seen.
    fn call(
        &mut self,
        path: &str,
        caller: &Origin,
        call: &Call,
        given: Option<&[Parameter]>,
    ) -> Result<Option<Resolved>, Invalid> {
        let resolved = match self.resolver.resolve(caller, call) {
            Ok(resolved) => resolved,
            Err(ResolveError::Unknown(_)) => {
                self.unknown = true;
                return Ok(None);
            }
            Err(cause) => return Err(Invalid::Template { path: path.to_owned(), cause }),
        };
        for input in &resolved.template.inputs.parameters {
            let supplied = given.is_some_and(|given| {
                given.iter().any(|given| {
                    given.name == input.name
                        && (given.value.is_some() || given.default.is_some() || given.value_from.is_some())
                })
            });
            if !supplied && input.value.is_none() && input.default.is_none() {
                return Err(Invalid::field(
                    path,
                    format!(
                        "template \"{}\" needs the parameter \"{}\", which is not given: add it to the arguments",
                        resolved.template.name, input.name
                    ),
                ));
            }
        }
        if self.seen.insert((resolved.origin.clone(), resolved.template.name.clone())) {
            if self.seen.len() > self.manifest.limits.templates {
                return Err(Invalid::field(
                    path,
                    format!("more than {} templates are reachable", self.manifest.limits.templates),
                ));
            }
            self.queue.push(resolved.clone());
        }
        Ok(Some(resolved))
    }

    fn template(&mut self, resolved: &Resolved) -> Result<(), Invalid> {
        let Resolved { template, origin } = resolved;
        let path = path(origin, &template.name);
        fields::template(&path, template)?;
        let mut known = references::Known::new(&self.manifest.globals, template);
        references::leaf(&path, template, self.manifest.spec, &known)?;
        for (index, group) in template.steps.iter().flatten().enumerate() {
            let mut found = Vec::new();
            for step in group {
                let path = format!("{path}.steps[{index}].{}", step.name);
                found.push((step, self.step(&path, origin, step, &known)?));
            }
            for (step, resolved) in found {
                known.add_finished(
                    "steps",
                    step,
                    resolved.as_ref().map(|resolved| resolved.template.as_ref()),
                );
            }
        }
        self.tasks(&path, origin, template, &known)?;
        references::outputs(&path, template, &known)
    }

    fn tasks(
        &mut self,
        path: &str,
        origin: &Origin,
        template: &Template,
        known: &references::Known<'_>,
    ) -> Result<(), Invalid> {
        let Some(dag) = &template.dag else { return Ok(()) };
        let order = order(&dag.tasks).map_err(|problem| Invalid::field(format!("{path}.dag"), problem))?;
        let mut scopes: Vec<Option<references::Known<'_>>> = dag.tasks.iter().map(|_| None).collect();
        for index in order {
            let Some(task) = dag.tasks.get(index) else { continue };
            let mut visible = known.clone();
            for (before, scope) in dag.tasks.iter().zip(&scopes) {
                if let (true, Some(scope)) = (task.dependencies.contains(&before.name), scope) {
                    visible.join(scope);
                }
            }
            let path = format!("{path}.dag.{}", task.name);
            let resolved = self.step(&path, origin, task, &visible)?;
            visible.add_finished("tasks", task, resolved.as_ref().map(|resolved| resolved.template.as_ref()));
            if let Some(scope) = scopes.get_mut(index) {
                *scope = Some(visible);
            }
        }
        Ok(())
    }

    fn step(
        &mut self,
        path: &str,
        origin: &Origin,
        step: &Step,
        known: &references::Known<'_>,
    ) -> Result<Option<Resolved>, Invalid> {
        fields::step(path, step, self.manifest.limits)?;
        references::step(path, step, known)?;
        let call = Call::of(step).map_err(|cause| Invalid::Template { path: path.to_owned(), cause })?;
        self.call(path, origin, &call, Some(&step.arguments.parameters))
    }
}

/// How a template is named in messages.
fn path(origin: &Origin, template: &str) -> String {
    match origin {
        Origin::Local => format!("templates.{template}"),
        Origin::Namespaced(_) | Origin::Cluster(_) => format!("{origin} templates.{template}"),
    }
}

/// Whether a text is a number of seconds, or will be once variables are put in.
pub(crate) fn is_number_or_variable(text: &AnyString) -> bool {
    text.as_str().contains("{{") || text.as_str().parse::<u32>().is_ok()
}
