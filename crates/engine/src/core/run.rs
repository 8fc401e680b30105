//! The life of a workflow.
//!
//! ```text
//!   (nothing) ──▶ Running ──▶ Succeeded
//!       │            ├──────▶ Failed       a step failed, time ran out, somebody stopped it
//!       └────────────┴──────▶ Error        the manifest or the API is at fault
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use buildplane_argo::status::NodeFlag;
use buildplane_argo::{NodePhase, Workflow, WorkflowPhase, WorkflowSpec, WorkflowStatus};
use jiff::{Timestamp, ToSpan};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use crate::core::execute::{Control, Execution, Halt, Invocation, Part};
use crate::core::limits::Limits;
use crate::core::nodes::Nodes;
use crate::core::observed::Observed;
use crate::core::outcome::{Actions, Outcome};
use crate::core::resolve::{Call, Origin, Resolver};
use crate::core::spec::{self, SpecError};
use crate::core::substitute::Scope;
use crate::core::validate::{self, Invalid, Manifest};
use crate::core::{arguments, finish, housekeeping, scope};

/// What the status of a workflow should be now, and what has to be done.
///
/// # Guarantees
/// Never fails: whatever is wrong with the workflow becomes its phase Error with a message. Two calls with the same
/// observation answer the same. Nothing is created whose node is already over.
pub fn step(observed: &Observed, limits: &Limits, now: Timestamp) -> Outcome {
    let status = match observed.workflow.status() {
        Ok(status) => status,
        Err(error) => {
            let fresh = WorkflowStatus::default();
            return finish::fatal(
                observed,
                fresh,
                &format!("the status is unreadable: {error}"),
                limits,
                now,
            );
        }
    };
    let (spec, stored) = match spec::effective(observed, &status) {
        Ok(found) => found,
        Err(SpecError::Unknown(reference)) if !is_completed(&status) => {
            return Outcome::Look(vec![reference]);
        }
        Err(_) if is_completed(&status) => (WorkflowSpec::default(), None),
        Err(error) => return finish::fatal(observed, status, &error.to_string(), limits, now),
    };
    if is_completed(&status) {
        return housekeeping::completed(observed, &spec, status, now);
    }
    match advance(observed, &spec, status.clone(), limits, now) {
        Ok(Progress::Look(references)) => Outcome::Look(references.into_iter().collect()),
        Ok(Progress::Moved(moved)) => {
            let Moved { mut status, mut actions } = *moved;
            status.stored_workflow_spec = stored;
            finish::seal(observed, status, &mut actions, limits, now)
        }
        Err(message) => finish::fatal(observed, status, &message, limits, now),
    }
}

/// Says in the status of a workflow that has not begun why it has not.
pub fn postpone(observed: &Observed, reason: &str) -> Outcome {
    let mut actions = Actions::default();
    if let Ok(mut status) = observed.workflow.status()
        && status.phase.is_none()
    {
        status.phase = Some(WorkflowPhase::Pending);
        status.message = Some(reason.to_owned());
        actions.status = serde_json::to_value(&status).ok();
        finish::mark(observed, &WorkflowPhase::Pending, &mut actions);
    }
    Outcome::Act(Box::new(actions))
}

enum Progress {
    Look(BTreeSet<crate::core::observed::Reference>),
    Moved(Box<Moved>),
}

struct Moved {
    status: WorkflowStatus,
    actions: Actions,
}

fn advance(
    observed: &Observed,
    spec: &WorkflowSpec,
    mut status: WorkflowStatus,
    limits: &Limits,
    now: Timestamp,
) -> Result<Progress, String> {
    let workflow = &observed.workflow;
    let name = workflow.metadata.name.clone().unwrap_or_default();
    let stored = std::mem::take(&mut status.stored_templates);
    let mut resolver = Resolver::new(observed, spec, stored);
    if matches!(status.phase, None | Some(WorkflowPhase::Pending)) {
        let manifest = Manifest { name: &name, spec, globals: known_globals(workflow, spec), limits };
        match validate::validate(&manifest, &mut resolver) {
            Ok(()) => {}
            Err(Invalid::Unknown) => return Ok(Progress::Look(resolver.unknown().clone())),
            Err(invalid) => return Err(invalid.to_string()),
        }
        status.started_at = Some(Time(now));
        status.phase = Some(WorkflowPhase::Running);
    }
    let given =
        arguments::of_workflow(&spec.arguments.parameters, limits).map_err(|error| error.to_string())?;
    let mut globals = scope::workflow(workflow, spec);
    scope::workflow_parameters(&mut globals, &given);

    let deadline = deadline(spec, &status);
    let nodes = Nodes::new(name.clone(), std::mem::take(&mut status.nodes), limits.nodes, now);
    let mut execution = Execution {
        observed,
        spec,
        limits,
        now,
        workflow: name.clone(),
        resolver,
        nodes,
        claims: std::mem::take(&mut status.persistent_volume_claims),
        control: Control {
            shutdown: shutdown(workflow, spec),
            is_expired: deadline.is_some_and(|deadline| now >= deadline),
            is_suspended: spec.suspend.unwrap_or_default(),
        },
        active_pods: observed.pods.values().filter(|pod| !pod.is_finished()).count(),
        looks: BTreeSet::new(),
        before: Vec::new(),
        after: Vec::new(),
        wake_at: deadline.filter(|deadline| now < *deadline),
        waits_for: None,
    };
    execution.claim().map_err(|error| error.to_string())?;
    match walk(&mut execution, &name, given, &mut globals) {
        Ok(()) => {}
        Err(Halt::Template(_)) if !execution.resolver.unknown().is_empty() => {}
        Err(halt) => return Err(halt.to_string()),
    }
    execution.looks.extend(execution.resolver.unknown().iter().cloned());
    if !execution.looks.is_empty() {
        return Ok(Progress::Look(execution.looks));
    }
    housekeeping::running(&mut execution);
    finish::conclude(&execution, &mut status);
    status.persistent_volume_claims = execution.claims;
    status.nodes = execution.nodes.into_map();
    status.stored_templates = execution.resolver.into_stored();
    let actions = Actions {
        before: execution.before,
        after: execution.after,
        wake_at: execution.wake_at,
        ..Actions::default()
    };
    Ok(Progress::Moved(Box::new(Moved { status, actions })))
}

/// The entrypoint, and after it the exit handler.
fn walk(
    execution: &mut Execution<'_>,
    name: &str,
    given: Vec<buildplane_argo::template::Parameter>,
    globals: &mut Scope<'static>,
) -> Result<(), Halt> {
    let entrypoint = execution.spec.entrypoint.clone().unwrap_or_default();
    let root = Invocation {
        name: name.to_owned(),
        call: Call::Name(entrypoint),
        caller: Origin::Local,
        boundary: None,
        arguments: given.clone(),
        depth: 0,
        part: Part::Main,
        flag: None,
    };
    execution.execute(root, globals)?;
    let Some(on_exit) = execution.spec.on_exit.clone().filter(|template| !template.is_empty()) else {
        return Ok(());
    };
    let exit_name = exit_node(name);
    let has_begun = execution.nodes.by_name(&exit_name).is_some();
    let is_terminated = execution.control.shutdown.as_deref() == Some("Terminate");
    if !execution.nodes.is_fulfilled(name) || (is_terminated && !has_begun) {
        return Ok(());
    }
    let phase = finish::workflow_phase(execution.nodes.phase(name).as_ref());
    globals.set("workflow.status", phase.as_str());
    globals.set("workflow.failures", failures(&execution.nodes));
    let handler = Invocation {
        name: exit_name,
        call: Call::Name(on_exit),
        caller: Origin::Local,
        boundary: None,
        arguments: given,
        depth: 0,
        part: Part::ExitHandler,
        flag: Some(NodeFlag { hooked: true, retried: false }),
    };
    execution.execute(handler, globals)
}

/// The node of the exit handler.
pub(crate) fn exit_node(workflow: &str) -> String {
    format!("{workflow}.onExit")
}

fn failures(nodes: &Nodes) -> String {
    let failed = nodes.iter().filter(|node| node.phase.as_ref().is_some_and(NodePhase::is_failed_or_error));
    let list: Vec<serde_json::Value> = failed
        .map(|node| {
            json!({
                "displayName": node.display_name,
                "message": node.message,
                "templateName": node.template_name.as_deref()
                    .or_else(|| node.template_ref.as_ref().map(|reference| reference.template.as_str())),
                "phase": node.phase,
                "finishedAt": node.finished_at,
            })
        })
        .collect();
    serde_json::Value::Array(list).to_string()
}

/// How the workflow is to be stopped. One that is being removed while something holds it back starts nothing more.
fn shutdown(workflow: &Workflow, spec: &WorkflowSpec) -> Option<String> {
    let asked = spec.shutdown.clone().filter(|strategy| !strategy.is_empty());
    workflow.metadata.deletion_timestamp.as_ref().map(|_| "Terminate".to_owned()).or(asked)
}

fn deadline(spec: &WorkflowSpec, status: &WorkflowStatus) -> Option<Timestamp> {
    let started = status.started_at.as_ref()?.0;
    // Far beyond the end of time is as good as never.
    let seconds = spec.active_deadline_seconds?.clamp(0, 1_000_000_000);
    started.checked_add(seconds.seconds()).ok()
}

fn known_globals(workflow: &Arc<Workflow>, spec: &WorkflowSpec) -> BTreeSet<String> {
    let mut scope = scope::workflow(workflow, spec);
    scope::workflow_parameters(&mut scope, &spec.arguments.parameters);
    let mut names: BTreeSet<String> = scope.names().map(str::to_owned).collect();
    if spec.on_exit.is_some() {
        names.extend(["workflow.status".to_owned(), "workflow.failures".to_owned()]);
    }
    names
}

fn is_completed(status: &WorkflowStatus) -> bool {
    status.phase.as_ref().is_some_and(WorkflowPhase::is_completed)
}
