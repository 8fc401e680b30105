//! What is told of a run.

use buildplane_api::WorkflowRun;
use buildplane_api::conditions::run::{self, reason};
use buildplane_api::run::{RunPhase, WorkflowRunStatus};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::plane::Target;
use super::problem::{Problem, Remedy};
use super::tasks::{Seen, failure};
use crate::conditions::{Change, Conditions, Truth, Verdict};
use crate::runs::build::Objects;

/// Where a run stands, for its status.
#[derive(Debug)]
pub(super) enum State<'a> {
    /// It cannot start, or not yet.
    Waiting(&'a Problem),
    /// Plane and names are chosen; creation is next.
    Recorded { target: &'a Target, objects: &'a Objects },
    /// It was created; the engine has not said anything.
    Started { plane: &'a str },
    /// What the engine says, and what became of the Workload.
    Seen { seen: &'a Seen, workload: Option<Verdict> },
    /// Its plane object is gone; it may come back.
    Orphaned { message: String },
    /// It is over without the engine saying so.
    Ended { phase: RunPhase, reason: &'static str, message: String },
}

/// The status to write, and what changed with it.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) status: WorkflowRunStatus,
    pub(super) changes: Vec<Change>,
}

/// Whether the creation of the run on its plane was confirmed.
pub(super) fn is_started(status: &WorkflowRunStatus) -> bool {
    crate::conditions::find(&status.conditions, run::WORKFLOW_RUNNING).is_some()
}

/// Whether nothing further is to be done for the run but to keep it.
pub(super) fn is_done(status: &WorkflowRunStatus) -> bool {
    status.completed_at.is_some() && status.phase.is_some_and(RunPhase::is_final)
}

pub(super) fn tell(object: &WorkflowRun, state: State<'_>, now: Timestamp) -> Told {
    let before = object.status.clone().unwrap_or_default();
    let mut status = WorkflowRunStatus { observed_generation: object.metadata.generation, ..before.clone() };
    let mut conditions = Conditions::new(&before.conditions, object.metadata.generation, now);
    match state {
        State::Waiting(problem) if problem.remedy == Remedy::None => {
            end(&mut status, &mut conditions, RunPhase::Failed, problem.reason, &problem.message, now);
        }
        State::Waiting(problem) => {
            status.phase = Some(RunPhase::Pending);
            let verdict = Verdict::fails(problem.reason, problem.message.clone());
            conditions.set(run::WORKFLOW_COMPLETED, verdict.clone());
            conditions.set(run::READY, verdict);
        }
        State::Recorded { target, objects } => {
            status.phase = Some(RunPhase::Pending);
            status.build_plane = Some(target.to_record());
            status.run_reference = Some(objects.run.reference.clone());
            status.resources = Some(objects.resources.iter().map(|owned| owned.reference.clone()).collect());
            // At a further attempt, what kept the earlier one from starting is told until it is known to be over.
            let is_further =
                status.run_reference == before.run_reference && status.build_plane == before.build_plane;
            if !is_further {
                pending(&mut conditions, &format!("starting on {}", target.describe()));
            }
        }
        State::Started { plane } => {
            status.phase = Some(RunPhase::Pending);
            let message = format!("created on {plane}, waiting for its engine");
            conditions.set(run::WORKFLOW_RUNNING, Verdict::fails(reason::WORKFLOW_PENDING, message.clone()));
            pending(&mut conditions, &message);
        }
        State::Seen { seen, workload } => see(object, &mut status, &mut conditions, seen, workload, now),
        State::Orphaned { message } => {
            let unknown = Verdict::unknown(reason::BUILD_PLANE_DELETED, message.clone());
            conditions.set(run::WORKFLOW_RUNNING, unknown);
            let verdict = Verdict::fails(reason::BUILD_PLANE_DELETED, message);
            conditions.set(run::WORKFLOW_COMPLETED, verdict.clone());
            conditions.set(run::READY, verdict);
        }
        State::Ended { phase, reason, message } => {
            end(&mut status, &mut conditions, phase, reason, &message, now);
        }
    }
    let (conditions, changes) = conditions.finish();
    status.conditions = conditions;
    Told { status, changes }
}

fn pending(conditions: &mut Conditions<'_>, message: &str) {
    let verdict = Verdict::fails(reason::WORKFLOW_PENDING, message);
    conditions.set(run::WORKFLOW_COMPLETED, verdict.clone());
    conditions.set(run::READY, verdict);
}

fn see(
    object: &WorkflowRun,
    status: &mut WorkflowRunStatus,
    conditions: &mut Conditions<'_>,
    seen: &Seen,
    workload: Option<Verdict>,
    now: Timestamp,
) {
    status.tasks.clone_from(&seen.tasks);
    status.started_at = seen.started_at.clone().or_else(|| status.started_at.clone());
    let phase =
        if seen.phase == RunPhase::Failed && object.spec.cancel { RunPhase::Canceled } else { seen.phase };
    match phase {
        RunPhase::Pending => {
            status.phase = Some(phase);
            let message = seen
                .message
                .clone()
                .unwrap_or_else(|| "waiting for the engine of the build plane".to_owned());
            conditions.set(run::WORKFLOW_RUNNING, Verdict::fails(reason::WORKFLOW_PENDING, message.clone()));
            pending(conditions, &message);
        }
        RunPhase::Running | RunPhase::Suspended => {
            status.phase = Some(phase);
            let (why, message) = if phase == RunPhase::Suspended {
                (
                    reason::WORKFLOW_SUSPENDED,
                    "held by spec.suspend: what runs goes on, nothing further starts",
                )
            } else {
                (reason::WORKFLOW_RUNNING, "the workflow runs")
            };
            let message = seen.message.clone().unwrap_or_else(|| message.to_owned());
            conditions.set(run::WORKFLOW_RUNNING, Verdict::holds(why, message.clone()));
            conditions
                .set(run::WORKFLOW_COMPLETED, Verdict::fails(reason::WORKFLOW_PENDING, "not completed yet"));
            conditions.set(run::READY, Verdict::fails(why, message));
        }
        RunPhase::Succeeded => {
            succeed(status, conditions, workload);
            status.completed_at = Some(seen.completed_at.clone().unwrap_or(Time(now)));
        }
        RunPhase::Failed => end(status, conditions, phase, reason::WORKFLOW_FAILED, &failure(seen), now),
        RunPhase::Canceled => {
            end(status, conditions, phase, reason::WORKFLOW_CANCELED, "the run was canceled", now);
        }
    }
    if let (true, Some(completed_at)) = (phase.is_final(), &seen.completed_at) {
        status.completed_at = Some(completed_at.clone());
    }
}

fn succeed(status: &mut WorkflowRunStatus, conditions: &mut Conditions<'_>, workload: Option<Verdict>) {
    status.phase = Some(RunPhase::Succeeded);
    let verdict = Verdict::holds(reason::WORKFLOW_SUCCEEDED, "the workflow succeeded");
    conditions.set(run::WORKFLOW_RUNNING, Verdict::fails(reason::WORKFLOW_RUNNING, "the workflow is over"));
    conditions.set(run::WORKFLOW_SUCCEEDED, verdict.clone());
    conditions.set(run::WORKFLOW_COMPLETED, verdict.clone());
    match workload {
        None => conditions.set(run::READY, verdict),
        Some(workload) => {
            let stored = workload.truth == Truth::True;
            conditions.set(run::WORKLOAD_UPDATED, workload.clone());
            conditions.set(run::READY, if stored { verdict } else { workload });
        }
    }
}

fn end(
    status: &mut WorkflowRunStatus,
    conditions: &mut Conditions<'_>,
    phase: RunPhase,
    why: &'static str,
    message: &str,
    now: Timestamp,
) {
    status.phase = Some(phase);
    status.completed_at = Some(Time(now));
    if is_started(status) {
        conditions
            .set(run::WORKFLOW_RUNNING, Verdict::fails(reason::WORKFLOW_RUNNING, "the workflow is over"));
    }
    // Upstream's readers know one reason for every end that is no success; the particular one stands beside it.
    conditions.set(run::WORKFLOW_COMPLETED, Verdict::holds(reason::WORKFLOW_FAILED, message));
    conditions.set(run::WORKFLOW_FAILED, Verdict::holds(why, message));
    conditions.set(run::READY, Verdict::fails(why, message));
}

#[cfg(test)]
mod tests;
