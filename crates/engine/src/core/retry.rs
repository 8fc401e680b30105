//! Trying again.
//!
//! ```text
//!   no attempt ──▶ attempt n runs ──▶ it succeeded ──▶ Succeeded
//!                        ▲                │ failed
//!                        │                ▼
//!                        └── pause ◀── may be tried again? ── no ──▶ phase of the attempt
//! ```

use std::time::Duration;

use buildplane_argo::status::NodeFlag;
use buildplane_argo::template::{Backoff, RetryStrategy};
use buildplane_argo::{AnyString, NodePhase, NodeStatus, NodeType};
use jiff::Timestamp;

use crate::core::execute::{Execution, Frame, Halt, Invocation};
use crate::core::substitute::{Budget, Scope};

/// The longest pause, and the longest of any duration here: a year.
const MAX_DURATION: Duration = Duration::from_hours(365 * 24);

/// Carries a step with a retry strategy forward.
pub(crate) fn execute(
    execution: &mut Execution<'_>,
    frame: &Frame<'_>,
    strategy: &RetryStrategy,
    globals: &Scope<'_>,
) -> Result<(), Halt> {
    let name = frame.invocation.name.clone();
    execution.nodes.ensure(frame.invocation.node(NodeType::Retry, NodePhase::Running, &frame.inputs))?;
    loop {
        let attempts = attempts(execution, &name);
        let last = attempts.last().and_then(|attempt| execution.nodes.by_name(attempt)).cloned();
        match &last {
            Some(attempt) if attempt.is_fulfilled() => {
                match decide(execution, frame, strategy, attempt, &attempts) {
                    Decision::Again => {}
                    Decision::Wait(until, message) => {
                        execution.wake(until);
                        execution.nodes.mark(&name, NodePhase::Running, Some(message));
                        return Ok(());
                    }
                    Decision::End(phase, message) => {
                        if let Some(node) = execution.nodes.edit(&name) {
                            node.outputs.clone_from(&attempt.outputs);
                        }
                        execution.nodes.mark(&name, phase, message);
                        return Ok(());
                    }
                }
                attempt_node(execution, frame, attempts.len(), last.as_ref(), globals)?;
            }
            Some(_) => attempt_node(execution, frame, attempts.len() - 1, None, globals)?,
            None => attempt_node(execution, frame, 0, None, globals)?,
        }
        let now = self::attempts(execution, &name);
        let latest = now.last().and_then(|attempt| execution.nodes.by_name(attempt));
        if !latest.is_some_and(NodeStatus::is_fulfilled)
            || (now == attempts && last.is_some_and(|node| node.is_fulfilled()))
        {
            if latest.is_some_and(|node| !node.is_fulfilled()) {
                execution.nodes.mark(&name, NodePhase::Running, None);
            }
            return Ok(());
        }
    }
}

/// The names of the attempts made so far, first to last.
fn attempts(execution: &Execution<'_>, name: &str) -> Vec<String> {
    let mut names = Vec::new();
    loop {
        let attempt = format!("{name}({})", names.len());
        if execution.nodes.by_name(&attempt).is_none() {
            return names;
        }
        names.push(attempt);
    }
}

fn attempt_node(
    execution: &mut Execution<'_>,
    frame: &Frame<'_>,
    number: usize,
    last: Option<&NodeStatus>,
    globals: &Scope<'_>,
) -> Result<(), Halt> {
    let name = format!("{}({number})", frame.invocation.name);
    let mut scope = frame.scope.child();
    scope.set("retries", number.to_string());
    let code = last.and_then(|node| node.outputs.as_ref()).and_then(|outputs| outputs.exit_code.as_deref());
    scope.set("lastRetry.exitCode", code.unwrap_or("0"));
    let phase = last.and_then(|node| node.phase.as_ref()).map(NodePhase::as_str);
    scope.set("lastRetry.status", phase.unwrap_or_default());
    scope.set("lastRetry.message", last.and_then(|node| node.message.as_deref()).unwrap_or_default());
    scope.set("lastRetry.duration", last.and_then(seconds).unwrap_or_default().to_string());
    scope.set("node.name", name.as_str());
    scope.set("pod.name", buildplane_argo::names::pod_name(&execution.workflow, &name, &frame.template.name));
    let attempt = Frame {
        invocation: Invocation {
            name: name.clone(),
            flag: Some(NodeFlag { retried: true, hooked: false }),
            ..frame.invocation.clone()
        },
        template: frame.template.clone(),
        origin: frame.origin.clone(),
        inputs: frame.inputs.clone(),
        scope,
    };
    execution.dispatch(&attempt, globals)?;
    if execution.nodes.by_name(&name).is_some() {
        execution.nodes.link(&frame.invocation.name, &name);
    }
    Ok(())
}

fn seconds(node: &NodeStatus) -> Option<i64> {
    Some(node.finished_at.as_ref()?.0.as_second() - node.started_at.as_ref()?.0.as_second())
}

enum Decision {
    Again,
    Wait(Timestamp, String),
    End(NodePhase, Option<String>),
}

fn decide(
    execution: &Execution<'_>,
    frame: &Frame<'_>,
    strategy: &RetryStrategy,
    last: &NodeStatus,
    attempts: &[String],
) -> Decision {
    let phase = last.phase.clone().unwrap_or(NodePhase::Error);
    if !phase.is_failed_or_error() {
        return Decision::End(NodePhase::Succeeded, None);
    }
    if let Some(message) = execution.control.verdict(frame.invocation.part) {
        return Decision::End(phase, Some(message));
    }
    let is_covered = match strategy.retry_policy.as_deref() {
        Some("Always") => true,
        Some("OnError" | "OnTransientError") => phase == NodePhase::Error,
        Some(_) | None => phase == NodePhase::Failed,
    };
    if !is_covered {
        return Decision::End(phase, last.message.clone());
    }
    let mut budget = Budget::new(execution.limits.expansion_bytes);
    let limit = strategy.limit.as_ref().map(|limit| frame.scope.expand(limit.as_str(), &mut budget));
    match limit.map(|limit| limit.ok().and_then(|limit| limit.parse::<usize>().ok())) {
        Some(Some(limit)) if attempts.len() > limit => {
            return Decision::End(phase, Some("No more retries left".to_owned()));
        }
        Some(None) => return Decision::End(phase, Some("retryStrategy.limit is no number".to_owned())),
        Some(Some(_)) | None => {}
    }
    strategy
        .backoff
        .as_ref()
        .map_or(Decision::Again, |backoff| pause(execution, backoff, last, attempts, phase))
}

fn pause(
    execution: &Execution<'_>,
    backoff: &Backoff,
    last: &NodeStatus,
    attempts: &[String],
    phase: NodePhase,
) -> Decision {
    let duration_of = |text: &Option<AnyString>| text.as_ref().and_then(|text| duration(text.as_str()));
    let base = duration_of(&backoff.duration).unwrap_or_default();
    let factor = backoff.factor.as_ref().and_then(|factor| factor.as_str().parse::<u32>().ok()).unwrap_or(1);
    let exponent = u32::try_from(attempts.len().saturating_sub(1)).unwrap_or(u32::MAX);
    let grown = base.saturating_mul(factor.max(1).saturating_pow(exponent));
    let wait = grown.min(duration_of(&backoff.cap).unwrap_or(MAX_DURATION)).min(MAX_DURATION);
    let ended = last.finished_at.as_ref().map_or(execution.now, |time| time.0);
    let until = ended.checked_add(wait).unwrap_or(Timestamp::MAX);
    let first = attempts.first().and_then(|name| execution.nodes.by_name(name));
    let started = first.and_then(|node| node.started_at.as_ref()).map(|time| time.0);
    let end = duration_of(&backoff.max_duration)
        .zip(started)
        .and_then(|(longest, started)| started.checked_add(longest).ok());
    match end {
        Some(end) if execution.now > end => {
            Decision::End(phase, Some("Max duration limit exceeded".to_owned()))
        }
        Some(end) if until > end => {
            Decision::End(phase, Some("Backoff would exceed max duration limit".to_owned()))
        }
        Some(_) | None if execution.now < until => {
            Decision::Wait(until, format!("Backoff for {} seconds", wait.as_secs()))
        }
        Some(_) | None => Decision::Again,
    }
}

/// Reads a duration: seconds, or numbers with the units `ms`, `s`, `m`, `h` and `d`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds).min(MAX_DURATION));
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86400.0,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        let part = Duration::try_from_secs_f64(number * seconds).ok()?;
        total = total.saturating_add(part).min(MAX_DURATION);
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_in_go() {
        for (text, expected) in [
            ("10", Some(10_000)),
            ("10s", Some(10_000)),
            ("1m30s", Some(90_000)),
            ("1.5h", Some(5_400_000)),
            ("2d", Some(172_800_000)),
            ("250ms", Some(250)),
            ("", None),
            ("s", None),
            ("1x", None),
            ("-1s", None),
            ("1e9d", None),
        ] {
            assert_eq!(duration(text).map(|duration| duration.as_millis()), expected, "{text}");
        }
        assert_eq!(duration("999999999999d"), Some(MAX_DURATION));
        assert_eq!(duration(&u64::MAX.to_string()), Some(MAX_DURATION));
    }
}
