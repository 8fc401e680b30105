use serde_json::json;

use super::*;
use crate::runs::tasks::Produced;
use crate::runs::testing::run;

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().expect("a time")
}

fn seen(phase: RunPhase) -> Seen {
    Seen {
        phase,
        message: None,
        tasks: Vec::new(),
        started_at: Some(Time(now())),
        completed_at: phase.is_final().then(|| Time(now())),
        workload: Produced::NotAsked,
    }
}

/// A run that was started.
fn started() -> WorkflowRun {
    let mut run = run(&json!({}));
    run.status = Some(tell(&run, State::Started { plane: "BuildPlane org/default" }, now()).status);
    run
}

/// The conditions as `type=status/reason`.
fn conditions(status: &WorkflowRunStatus) -> Vec<String> {
    let mut all: Vec<String> =
        status.conditions.iter().map(|c| format!("{}={}/{}", c.type_, c.status, c.reason)).collect();
    all.sort();
    all
}

#[test]
fn upstreams_conditions_and_reasons() {
    let observe = |phase, workload| {
        let seen = seen(phase);
        tell(&started(), State::Seen { seen: &seen, workload }, now()).status
    };
    assert_eq!(
        conditions(&observe(RunPhase::Running, None)),
        [
            "Ready=False/WorkflowRunning",
            "WorkflowCompleted=False/WorkflowPending",
            "WorkflowRunning=True/WorkflowRunning",
        ]
    );
    assert_eq!(
        conditions(&observe(RunPhase::Succeeded, None)),
        [
            "Ready=True/WorkflowSucceeded",
            "WorkflowCompleted=True/WorkflowSucceeded",
            "WorkflowRunning=False/WorkflowRunning",
            "WorkflowSucceeded=True/WorkflowSucceeded",
        ]
    );
    assert_eq!(
        conditions(&observe(RunPhase::Failed, None)),
        [
            "Ready=False/WorkflowFailed",
            "WorkflowCompleted=True/WorkflowFailed",
            "WorkflowFailed=True/WorkflowFailed",
            "WorkflowRunning=False/WorkflowRunning",
        ]
    );
    let stored = Verdict::holds(reason::WORKLOAD_UPDATED, "");
    assert!(
        conditions(&observe(RunPhase::Succeeded, Some(stored)))
            .contains(&"Ready=True/WorkflowSucceeded".into())
    );
    let refused = Verdict::fails(reason::WORKLOAD_UPDATE_FAILED, "");
    let status = observe(RunPhase::Succeeded, Some(refused));
    assert!(conditions(&status).contains(&"Ready=False/WorkloadUpdateFailed".into()));
    assert!(conditions(&status).contains(&"WorkloadUpdated=False/WorkloadUpdateFailed".into()));
    assert_eq!(status.phase, Some(RunPhase::Succeeded));
}

#[test]
fn a_problem_is_told_in_two_places_and_leaves_the_run_waiting() {
    let problem = Problem::change(reason::BUILD_PLANE_NOT_FOUND, "there is none");
    let status = tell(&run(&json!({})), State::Waiting(&problem), now()).status;
    assert_eq!(
        conditions(&status),
        ["Ready=False/BuildPlaneNotFound", "WorkflowCompleted=False/BuildPlaneNotFound"]
    );
    assert_eq!(status.phase, Some(RunPhase::Pending));
    assert!(!is_started(&status) && !is_done(&status));
}

#[test]
fn a_problem_without_remedy_ends_the_run() {
    let problem = Problem::fatal(reason::INVALID_NAME, "too long");
    let status = tell(&run(&json!({})), State::Waiting(&problem), now()).status;
    assert_eq!(status.phase, Some(RunPhase::Failed));
    assert!(is_done(&status));
    assert!(conditions(&status).contains(&"Ready=False/InvalidName".into()));
}

#[test]
fn a_failure_after_cancel_is_a_cancellation() {
    let mut canceled = started();
    canceled.spec.cancel = true;
    let status = tell(&canceled, State::Seen { seen: &seen(RunPhase::Failed), workload: None }, now()).status;
    assert_eq!(status.phase, Some(RunPhase::Canceled));
    assert!(conditions(&status).contains(&"Ready=False/WorkflowCanceled".into()));
    let status =
        tell(&canceled, State::Seen { seen: &seen(RunPhase::Succeeded), workload: None }, now()).status;
    assert_eq!(status.phase, Some(RunPhase::Succeeded), "it was faster than the cancellation");
}

#[test]
fn times_are_the_engines() {
    let run = started();
    let mut seen = seen(RunPhase::Succeeded);
    seen.completed_at = Some(Time("2025-12-31T23:59:00Z".parse().expect("a time")));
    let status = tell(&run, State::Seen { seen: &seen, workload: None }, now()).status;
    assert_eq!(status.completed_at, seen.completed_at);
    assert_eq!(status.started_at, seen.started_at);
}
