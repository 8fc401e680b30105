//! What a pod says about its node.

use buildplane_argo::template::{Outputs, Parameter, Template};
use buildplane_argo::{AnyString, NodePhase};

use crate::core::limits::Limits;
use crate::core::observed::{PodView, Terminated};

/// The longest reason, in characters, that is taken from a log.
const MAX_REASON: usize = 300;

/// What follows for a node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Assessment {
    pub(crate) phase: NodePhase,
    pub(crate) message: Option<String>,
    pub(crate) outputs: Option<Outputs>,
}

impl Assessment {
    fn of(phase: NodePhase, message: Option<String>) -> Self {
        Self { phase, message, outputs: None }
    }
}

/// Reads the state of a node out of its pod.
pub(crate) fn assess(pod: &PodView, template: &Template, limits: &Limits) -> Assessment {
    match pod.phase.as_deref() {
        None | Some("" | "Pending") => Assessment::of(NodePhase::Pending, pending(pod)),
        Some("Running") => Assessment::of(NodePhase::Running, None),
        Some("Succeeded") => succeeded(pod, template, limits),
        Some("Failed") => failed(pod),
        Some("Unknown") => Assessment::of(NodePhase::Running, pod.message.clone()),
        Some(other) => {
            Assessment::of(NodePhase::Error, Some(format!("unexpected pod phase for {}: {other}", pod.name)))
        }
    }
}

fn pending(pod: &PodView) -> Option<String> {
    if let Some(waiting) = &pod.waiting {
        return match (&waiting.reason, &waiting.message) {
            (Some(reason), Some(message)) => Some(format!("{reason}: {message}")),
            (Some(only), None) | (None, Some(only)) => Some(only.clone()),
            (None, None) => None,
        };
    }
    reasoned(pod)
}

fn succeeded(pod: &PodView, template: &Template, limits: &Limits) -> Assessment {
    let mut parameters = Vec::new();
    for declared in &template.outputs.parameters {
        let from = declared.value_from.as_ref();
        let Some(path) = from.and_then(|from| from.path.as_deref()) else { continue };
        let default = from.and_then(|from| from.default.as_ref()).map(AnyString::as_str);
        // A file ends with a newline, a value does not; Argo strips it too.
        let file = pod.collected.get(&declared.name).map(|text| text.trim_end_matches('\n'));
        let Some(value) = file.or(default) else {
            let message = format!("main: output parameter \"{}\": no file {path} was left", declared.name);
            return Assessment {
                outputs: Some(exit_code(0, parameters)),
                ..Assessment::of(NodePhase::Error, Some(message))
            };
        };
        if value.len() > limits.parameter_bytes {
            let message = format!(
                "main: output parameter \"{}\" is longer than {} bytes",
                declared.name, limits.parameter_bytes
            );
            return Assessment {
                outputs: Some(exit_code(0, parameters)),
                ..Assessment::of(NodePhase::Error, Some(message))
            };
        }
        parameters.push(Parameter {
            value_from: declared.value_from.clone(),
            ..Parameter::with_value(&declared.name, value)
        });
    }
    Assessment { outputs: Some(exit_code(0, parameters)), ..Assessment::of(NodePhase::Succeeded, None) }
}

fn failed(pod: &PodView) -> Assessment {
    let outputs = pod.terminated.as_ref().map(|end| exit_code(end.exit_code, Vec::new()));
    let message = match (&pod.terminated, reasoned(pod)) {
        // Whatever stopped the pod from outside is a better reason than how its program ended then.
        (_, Some(reason)) if is_reasoned(pod) => Some(reason),
        (Some(end), aside) => Some(ended(end, aside.as_deref())),
        (None, aside) => aside,
    };
    let phase = match (pod.reason.as_deref(), &pod.terminated) {
        // Nothing of the step ran, or nobody knows how it ended: not the step's failure.
        (Some(_), None) | (Some("Interrupted"), _) => NodePhase::Error,
        (_, Some(_)) | (None, None) => NodePhase::Failed,
    };
    let message = message.or_else(|| Some(format!("pod {} failed and does not say why", pod.name)));
    Assessment { outputs, ..Assessment::of(phase, message) }
}

/// How a program ended, in Argo's words, and what else is known of it.
fn ended(end: &Terminated, aside: Option<&str>) -> String {
    let reason = end.reason.as_deref().unwrap_or("Error");
    let mut text = format!("main: {reason} (exit code {})", end.exit_code);
    let own = end.message.as_deref().and_then(last_line);
    let own = own.as_deref();
    for detail in [own, aside.filter(|aside| Some(*aside) != own)].into_iter().flatten() {
        if !detail.is_empty() {
            text.push_str(": ");
            text.push_str(detail);
        }
    }
    text
}

/// The last line that says something. The message of a failed container is the end of its log, and the last line is
/// where programs say why they give up.
fn last_line(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    Some(line.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect())
}

/// Whether the pod names a reason that says more than the exit code does.
fn is_reasoned(pod: &PodView) -> bool {
    pod.reason.as_deref().is_some_and(|reason| !matches!(reason, "" | "Error" | "Completed"))
}

fn reasoned(pod: &PodView) -> Option<String> {
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let reason = filled(&pod.reason).filter(|_| is_reasoned(pod));
    match (reason, filled(&pod.message)) {
        (Some(reason), Some(message)) => Some(format!("{reason}: {message}")),
        (Some(only), None) | (None, Some(only)) => Some(only),
        (None, None) => None,
    }
}

fn exit_code(code: i32, parameters: Vec<Parameter>) -> Outputs {
    Outputs { parameters, exit_code: Some(code.to_string()), ..Outputs::default() }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn assessed(status: &Value) -> (NodePhase, Option<String>) {
        let template = Template {
            outputs: serde_json::from_value(
                json!({"parameters": [{"name": "o", "valueFrom": {"path": "/tmp/o"}}]}),
            )
            .unwrap_or_default(),
            ..Template::default()
        };
        let assessment = assess(&PodView::read(&json!({"status": status})), &template, &Limits::default());
        (assessment.phase, assessment.message)
    }

    fn ended(code: i32, message: &str) -> Value {
        json!([
            {"name": "other", "state": {"terminated": {"exitCode": 99}}},
            {"name": "main", "state": {"terminated": {"exitCode": code, "reason": "Error", "message": message}}},
        ])
    }

    #[test]
    fn a_pod_says_in_one_line_how_its_step_stands() {
        for (status, phase, message) in [
            (json!(null), NodePhase::Pending, None),
            (
                json!({"phase": "Pending", "reason": "Queued", "message": "waits"}),
                NodePhase::Pending,
                Some("Queued: waits"),
            ),
            (json!({"phase": "Running", "reason": 7}), NodePhase::Running, None),
            (
                json!({"phase": "Failed", "containerStatuses": ended(2, "")}),
                NodePhase::Failed,
                Some("main: Error (exit code 2)"),
            ),
            (
                json!({"phase": "Failed", "containerStatuses": ended(1, "step 3\nerror: \u{1b}[31mno Dockerfile\n\n")}),
                NodePhase::Failed,
                Some("main: Error (exit code 1): error: [31mno Dockerfile"),
            ),
            (
                json!({"phase": "Failed", "message": "its log is not whole", "containerStatuses": ended(1, "gone")}),
                NodePhase::Failed,
                Some("main: Error (exit code 1): gone: its log is not whole"),
            ),
            (
                json!({"phase": "Failed", "reason": "OutOfMemory", "message": "too much", "containerStatuses": ended(137, "x")}),
                NodePhase::Failed,
                Some("OutOfMemory: too much"),
            ),
            (
                json!({"phase": "Failed", "reason": "ImageRefused", "message": "not on the list"}),
                NodePhase::Error,
                Some("ImageRefused: not on the list"),
            ),
            (
                json!({"phase": "Failed", "reason": "Interrupted", "message": "restarted", "containerStatuses": ended(137, "x")}),
                NodePhase::Error,
                Some("Interrupted: restarted"),
            ),
            (json!({"phase": "Failed"}), NodePhase::Failed, Some("pod  failed and does not say why")),
            (
                json!({"phase": "Succeeded"}),
                NodePhase::Error,
                Some("main: output parameter \"o\": no file /tmp/o was left"),
            ),
            (json!({"phase": "Odd"}), NodePhase::Error, Some("unexpected pod phase for : Odd")),
        ] {
            assert_eq!(assessed(&status), (phase, message.map(str::to_owned)), "{status}");
        }
    }
}
