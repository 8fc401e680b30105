//! `buildplane describe`.

use buildplane_api::WorkflowRun;
use buildplane_api::run::WorkflowTask;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::Api;

use crate::connection::{Connection, ConnectionArgs};
use crate::exit::ExitStatus;
use crate::failure::Result;
use crate::output::document::{DocumentFormat, render};
use crate::output::line;
use crate::output::sanitize::sanitize;
use crate::output::table::Table;
use crate::output::terminal::whole_seconds;
use crate::runs;

/// Show everything about a run: its tasks, conditions, parameters and outputs
#[derive(Debug, clap::Args)]
pub(crate) struct DescribeArgs {
    /// Name of the run
    #[arg(value_name = "RUN")]
    run: String,
    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(crate) async fn run(args: DescribeArgs) -> Result<ExitStatus> {
    let connection = Connection::open(&args.connection).await?;
    let api: Api<WorkflowRun> = Api::namespaced(connection.client.clone(), &connection.namespace);
    let run = runs::get(&api, runs::name_of(&args.run)).await?;
    for text in lines(&run)? {
        line(text)?;
    }
    Ok(ExitStatus::Success)
}

fn lines(run: &WorkflowRun) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let status = run.status.clone().unwrap_or_default();
    let mut fact = |name: &str, value: Option<String>| {
        let value = value.filter(|value| !value.is_empty()).unwrap_or_else(|| "<none>".to_owned());
        lines.push(format!("{:<13}{}", format!("{name}:"), sanitize(value.as_bytes())));
    };
    fact("Name", run.metadata.name.clone());
    fact("Namespace", run.metadata.namespace.clone());
    fact(
        "Labels",
        run.metadata.labels.as_ref().map(|labels| {
            labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")
        }),
    );
    fact("Workflow", Some(run.spec.workflow.name.clone()));
    fact(
        "Plane",
        status.build_plane.as_ref().map(|plane| {
            let namespace =
                plane.namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
            format!("{} {namespace}{} (plane id {})", plane.kind, plane.name, plane.plane_id)
        }),
    );
    fact(
        "Runs as",
        status.run_reference.as_ref().map(|reference| {
            format!("{} {}/{}", reference.kind, reference.namespace.as_deref().unwrap_or(""), reference.name)
        }),
    );
    fact("Phase", status.phase.map(|phase| phase.as_str().to_owned()));
    fact("Started", status.started_at.as_ref().map(time));
    fact("Completed", status.completed_at.as_ref().map(time));
    fact("Took", took(status.started_at.as_ref(), status.completed_at.as_ref()));
    if let Some(parameters) = &run.spec.workflow.parameters {
        lines.push("Parameters:".to_owned());
        let parameters = serde_json::Value::Object(parameters.clone());
        lines.extend(indented(render(&parameters, DocumentFormat::Yaml)?.lines()));
    }
    lines.push("Tasks:".to_owned());
    lines.extend(indented(tasks(&status.tasks).iter().map(String::as_str)));
    let outputs: Vec<String> = status
        .tasks
        .iter()
        .flat_map(|task| {
            task.outputs.iter().map(move |output| format!("{}.{}: {}", task.name, output.name, output.value))
        })
        .collect();
    if !outputs.is_empty() {
        lines.push("Outputs:".to_owned());
        lines.extend(indented(outputs.iter().map(String::as_str)));
    }
    lines.push("Conditions:".to_owned());
    lines.extend(indented(conditions(&status.conditions).iter().map(String::as_str)));
    Ok(lines)
}

fn indented<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    lines.map(|line| format!("  {}", sanitize(line.as_bytes()))).collect()
}

fn tasks(tasks: &[WorkflowTask]) -> Vec<String> {
    let mut table = Table::new(["NAME", "PHASE", "TOOK", "MESSAGE"]);
    for task in tasks {
        let phase = task.phase.map_or_else(String::new, |phase| format!("{phase:?}"));
        let took = took(task.started_at.as_ref(), task.completed_at.as_ref()).unwrap_or_default();
        table.row([task.name.clone(), phase, took, task.message.clone().unwrap_or_default()]);
    }
    if table.is_empty() { vec!["<none>".to_owned()] } else { table.lines() }
}

/// Conditions as a table.
pub(crate) fn conditions(conditions: &[Condition]) -> Vec<String> {
    let mut table = Table::new(["TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"]);
    for condition in conditions {
        let message = condition.message.split_whitespace().collect::<Vec<_>>().join(" ");
        let since = time(&condition.last_transition_time);
        table.row([&condition.type_, &condition.status, &condition.reason, &since, &message]);
    }
    if table.is_empty() { vec!["<none>".to_owned()] } else { table.lines() }
}

pub(crate) fn time(time: &Time) -> String {
    time.0.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn took(start: Option<&Time>, end: Option<&Time>) -> Option<String> {
    let took = end?.0.duration_since(start?.0);
    took.try_into().ok().map(whole_seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_described() {
        let run: WorkflowRun = serde_json::from_value(serde_json::json!({
            "apiVersion": "openchoreo.dev/v1alpha1", "kind": "WorkflowRun",
            "metadata": {"name": "greeter-x1", "namespace": "default", "labels": {"openchoreo.dev/project": "p"}},
            "spec": {"workflow": {"name": "docker", "parameters": {"repository": {"url": "https://x/y.git"}}}},
            "status": {
                "phase": "Failed",
                "buildPlane": {"kind": "ClusterBuildPlane", "name": "default", "planeID": "default"},
                "runReference": {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "namespace": "openchoreo-ci-default", "name": "greeter-x1"},
                "startedAt": "2026-11-21T03:00:00Z", "completedAt": "2026-11-21T03:00:04Z",
                "tasks": [
                    {"name": "checkout-source", "phase": "Succeeded", "startedAt": "2026-11-21T03:00:00Z",
                     "completedAt": "2026-11-21T03:00:01Z", "outputs": [{"name": "git-revision", "value": "1234abcd"}]},
                    {"name": "build-image", "phase": "Failed", "message": "exit code 1\u{1b}[2J"}
                ],
                "conditions": [{"type": "Ready", "status": "False", "reason": "WorkflowFailed",
                    "message": "build-image failed", "lastTransitionTime": "2026-11-21T03:00:04Z"}]
            }
        }))
        .expect("a run");
        insta::assert_snapshot!(lines(&run).expect("lines").join("\n"));
    }
}
