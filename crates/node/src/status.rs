//! What this node writes into a Pod's status.

use std::time::SystemTime;

use buildplane_executor::{End, Outcome, Truncation};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::plan::Plan;
use crate::refusal::Refusal;

/// The Pod waits for a place.
pub(crate) fn queued(places: usize) -> Value {
    json!({
        "phase": "Pending",
        "reason": "Queued",
        "message": format!("waits for one of {places} places on this machine"),
    })
}

/// The Pod waits for something it names.
pub(crate) fn waiting(refusal: &Refusal) -> Value {
    json!({ "phase": "Pending", "reason": refusal.reason(), "message": refusal.to_string() })
}

/// The Pod is about to be started.
pub(crate) fn running(uid: &str, plan: &Plan, now: SystemTime) -> Value {
    let state = json!({ "running": { "startedAt": time(now) } });
    json!({
        "phase": "Running",
        "reason": null,
        "message": null,
        "startTime": time(now),
        "conditions": conditions("True", now),
        "containerStatuses": [container(uid, plan, true, &state)],
    })
}

/// The Pod has not been run and will not be.
pub(crate) fn refused(refusal: &Refusal) -> Value {
    json!({ "phase": "Failed", "reason": refusal.reason(), "message": refusal.to_string() })
}

/// The Pod was claimed by a former life of this node; how far it came nobody knows.
pub(crate) fn interrupted(
    uid: &str,
    container_name: &str,
    image: &str,
    started: &Value,
    now: SystemTime,
) -> Value {
    let mut status = refused(&Refusal::Interrupted);
    let state = json!({ "terminated": {
        "exitCode": 137,
        "reason": Refusal::Interrupted.reason(),
        "message": Refusal::Interrupted.to_string(),
        "startedAt": started,
        "finishedAt": time(now),
        "containerID": container_id(uid),
    }});
    status["containerStatuses"] = json!([named_container(uid, container_name, image, false, &state)]);
    status["conditions"] = conditions("False", now);
    status
}

/// Why the node itself ended a step, where `End::Killed` alone does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KilledBy {
    Deletion,
    Shutdown,
}

/// The Pod has ended.
pub(crate) fn ended(
    uid: &str,
    plan: &Plan,
    outcome: &Outcome,
    by: KilledBy,
    log_tail: Option<String>,
) -> Value {
    let verdict = Verdict::of(outcome, plan, by);
    let message = match outcome.log_truncation {
        Some(Truncation::DiskFull) => Some(join(verdict.message, "its log is not whole: the disk is full")),
        Some(Truncation::Failed) => {
            Some(join(verdict.message, "its log is not whole: it could not be written"))
        }
        Some(Truncation::Limit) | None => verdict.message,
    };
    let container_message = log_tail.or_else(|| message.clone());
    let state = json!({ "terminated": {
        "exitCode": verdict.exit_code,
        "reason": verdict.container_reason,
        "message": container_message,
        "startedAt": time(outcome.started_at),
        "finishedAt": time(outcome.finished_at),
        "containerID": container_id(uid),
    }});
    json!({
        "phase": if verdict.exit_code == 0 { "Succeeded" } else { "Failed" },
        "reason": verdict.reason,
        "message": message,
        "conditions": conditions("False", outcome.finished_at),
        "containerStatuses": [container(uid, plan, false, &state)],
    })
}

struct Verdict {
    exit_code: i32,
    container_reason: &'static str,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Verdict {
    fn of(outcome: &Outcome, plan: &Plan, by: KilledBy) -> Self {
        let killed = |reason, message: &str| Self {
            exit_code: 137,
            container_reason: "Error",
            reason: Some(reason),
            message: Some(message.to_owned()),
        };
        match &outcome.end {
            End::Exited(0) => {
                Self { exit_code: 0, container_reason: "Completed", reason: None, message: None }
            }
            End::Exited(code) => {
                Self { exit_code: *code, container_reason: "Error", reason: None, message: None }
            }
            End::TimedOut => killed(
                "DeadlineExceeded",
                &format!("the step ran longer than the {} s it may", plan.duration.as_secs()),
            ),
            End::Killed => match by {
                KilledBy::Deletion => killed("Deleted", "the pod was deleted while its step ran"),
                KilledBy::Shutdown => Self {
                    container_reason: Refusal::Interrupted.reason(),
                    ..killed(Refusal::Interrupted.reason(), &Refusal::Interrupted.to_string())
                },
            },
            End::OutOfMemory => Self {
                container_reason: "OOMKilled",
                ..killed("OutOfMemory", "the step used more memory than it may")
            },
            End::DiskFull => killed("DiskFull", "the step was stopped: the disk of the build plane is full"),
            End::Failed(problem) => Self {
                exit_code: 128,
                container_reason: "ContainerCannotRun",
                reason: Some("SandboxFailed"),
                message: Some(format!("the sandbox could not be set up: {problem}")),
            },
        }
    }
}

fn join(message: Option<String>, addition: &str) -> String {
    message.map_or_else(|| addition.to_owned(), |message| format!("{message}; {addition}"))
}

fn container(uid: &str, plan: &Plan, running: bool, state: &Value) -> Value {
    named_container(uid, &plan.container, &plan.image, running, state)
}

fn named_container(uid: &str, name: &str, image: &str, running: bool, state: &Value) -> Value {
    json!({
        "name": name,
        "image": image,
        "imageID": "",
        "containerID": container_id(uid),
        "ready": running,
        "started": running,
        "restartCount": 0,
        "state": state,
    })
}

fn container_id(uid: &str) -> String {
    format!("buildplane://{uid}")
}

fn conditions(ready: &str, now: SystemTime) -> Value {
    let condition =
        |kind: &str, status: &str| json!({ "type": kind, "status": status, "lastTransitionTime": time(now) });
    json!([
        condition("PodScheduled", "True"),
        condition("Initialized", "True"),
        condition("ContainersReady", ready),
        condition("Ready", ready),
    ])
}

/// Kubernetes times have no fractions.
fn time(at: SystemTime) -> String {
    let at = Timestamp::try_from(at).unwrap_or_default();
    format!("{at:.0}")
}
