//! WorkflowRuns as commands see them: found by name, started, ended.

use std::collections::BTreeMap;

use buildplane_api::run::{RunPhase, RunPlane, WorkflowRunSpec, WorkflowRunWorkflow, WorkflowTask};
use buildplane_api::schema::Object;
use buildplane_api::{CrRef, PlaneId, PlaneKind, WorkflowRun, conditions};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::exit::ExitStatus;
use crate::failure::{Explain as _, Failure, Result};

/// Who writes, as the API server records it.
pub(crate) const FIELD_MANAGER: &str = "buildplane";

/// The label value and Argo names that follow from a run's name have to stay within 63 characters.
const NAME_LIMIT: usize = 52;
/// What the API server appends to a generated name.
const SUFFIX: usize = 5;

/// `workflowrun/x` and `x` mean the same run.
pub(crate) fn name_of(argument: &str) -> &str {
    argument.rsplit_once('/').map_or(argument, |(_, name)| name)
}

/// Reads a run; a name that does not exist is explained.
pub(crate) async fn get(runs: &Api<WorkflowRun>, name: &str) -> Result<WorkflowRun> {
    match runs.get_opt(name).await? {
        Some(run) => Ok(run),
        None => Err(Failure::new(format!("there is no run {name}"))
            .hint("`buildplane get workflowruns -A` lists the runs there are")
            .exit(ExitStatus::NotFound)),
    }
}

/// What is to be started.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewRun {
    pub(crate) workflow: String,
    /// The exact name; otherwise one is generated.
    pub(crate) name: Option<String>,
    /// What a generated name begins with.
    pub(crate) prefix: String,
    pub(crate) parameters: Option<Object>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
}

/// Creates the run and returns it as the API server stored it.
pub(crate) async fn start(runs: &Api<WorkflowRun>, new: NewRun) -> Result<WorkflowRun> {
    let spec = WorkflowRunSpec {
        workflow: WorkflowRunWorkflow { name: new.workflow.clone(), parameters: new.parameters },
        ..WorkflowRunSpec::default()
    };
    let mut run = WorkflowRun::new("", spec);
    run.metadata = ObjectMeta {
        generate_name: new.name.is_none().then(|| generate_name(&new.prefix)),
        name: new.name,
        labels: Some(new.labels).filter(|labels| !labels.is_empty()),
        annotations: Some(new.annotations).filter(|annotations| !annotations.is_empty()),
        ..ObjectMeta::default()
    };
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    runs.create(&parameters, &run).await.context(format!("cannot start a run of workflow {}", new.workflow))
}

fn generate_name(prefix: &str) -> String {
    let mut name = dns_label(prefix);
    name.truncate(NAME_LIMIT - SUFFIX - 1);
    format!("{}-", name.trim_end_matches('-'))
}

/// Any text as a DNS label: what does not fit becomes a hyphen.
pub(crate) fn dns_label(text: &str) -> String {
    let mut label = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            'a'..='z' | '0'..='9' => label.push(character),
            'A'..='Z' => label.push(character.to_ascii_lowercase()),
            _ if label.ends_with('-') || label.is_empty() => {}
            _ => label.push('-'),
        }
    }
    label.truncate(63);
    let label = label.trim_end_matches('-');
    if label.is_empty() { "run".to_owned() } else { label.to_owned() }
}

/// Asks for the end of a run.
pub(crate) async fn cancel(runs: &Api<WorkflowRun>, name: &str) -> Result<WorkflowRun> {
    let patch = Patch::Merge(json!({"spec": {"cancel": true}}));
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    runs.patch(name, &parameters, &patch).await.context(format!("cannot cancel run {name}"))
}

pub(crate) fn phase(run: &WorkflowRun) -> Option<RunPhase> {
    run.status.as_ref().and_then(|status| status.phase)
}

pub(crate) fn tasks(run: &WorkflowRun) -> &[WorkflowTask] {
    run.status.as_ref().map_or(&[], |status| &status.tasks)
}

pub(crate) fn condition<'a>(run: &'a WorkflowRun, type_: &str) -> Option<&'a Condition> {
    run.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == type_)
}

/// Why the run stands where it stands, in one line.
pub(crate) fn reason(run: &WorkflowRun) -> Option<String> {
    let condition = condition(run, conditions::run::READY)
        .filter(|condition| condition.status != "True")
        .or_else(|| condition(run, conditions::run::WORKFLOW_COMPLETED))?;
    let text = if condition.message.is_empty() { &condition.reason } else { &condition.message };
    Some(text.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|text| !text.is_empty())
}

/// The value of an output parameter of any task.
pub(crate) fn output<'a>(run: &'a WorkflowRun, name: &str) -> Option<&'a str> {
    let outputs = tasks(run).iter().rev().flat_map(|task| &task.outputs);
    outputs.filter(|output| output.name == name).map(|output| output.value.trim()).next()
}

/// The plane that the run uses, in the form that the gateway's API wants.
pub(crate) fn plane(run: &WorkflowRun) -> Result<Option<(PlaneId, CrRef)>> {
    let Some(RunPlane { kind, namespace, name, plane_id }) =
        run.status.as_ref().and_then(|status| status.build_plane.as_ref())
    else {
        return Ok(None);
    };
    let plane_kind = match kind.as_str() {
        "BuildPlane" => PlaneKind::BuildPlane,
        "ClusterBuildPlane" => PlaneKind::ClusterBuildPlane,
        _ => return Err(Failure::new(format!("the run is on a plane of unknown kind {kind}"))),
    };
    let id = PlaneId::parse(plane_id).context("the run names an invalid plane")?;
    let plane =
        CrRef::try_new(plane_kind, namespace.as_deref(), name).context("the run names an invalid plane")?;
    Ok(Some((id, plane)))
}

/// A run's end as an exit status.
pub(crate) fn exit_status(phase: RunPhase) -> ExitStatus {
    match phase {
        RunPhase::Succeeded => ExitStatus::Success,
        RunPhase::Failed | RunPhase::Canceled => ExitStatus::RunFailed,
        RunPhase::Pending | RunPhase::Running | RunPhase::Suspended => ExitStatus::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_what_is_derived_from_them() {
        for (text, label) in
            [("greeter", "greeter"), ("My App_v2", "my-app-v2"), ("--x--", "x"), ("äöü", "run"), ("", "run")]
        {
            assert_eq!(dns_label(text), label, "{text:?}");
        }
        let generated = generate_name(&"long-".repeat(30));
        assert!(generated.len() + SUFFIX <= NAME_LIMIT && generated.ends_with("-l-"), "{generated}");
        assert_eq!(dns_label(&"x".repeat(100)).len(), 63);
    }
}
