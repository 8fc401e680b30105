//! Stores the Workload that a run produced.

use buildplane_admission::judge_workload;
use buildplane_api::conditions::run::reason;
use buildplane_api::meta::{WORKLOAD_OUTPUT, WORKLOAD_TASK, label};
use buildplane_api::{WorkflowRun, Workload};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::Value;

use super::kind::{FIELD_MANAGER, RunError};
use super::tasks::Produced;
use crate::conditions::Verdict;

/// A longer manifest than this is no Workload.
const MAX_BYTES: usize = 256 * 1024;

/// Stores what the run produced, if it was to produce something, and says what became of it.
///
/// # Errors
/// What may go better next time; what never will is told in the verdict.
pub(super) async fn store(
    client: &Client,
    run: &WorkflowRun,
    produced: &Produced,
) -> Result<Option<Verdict>, RunError> {
    let refused = |message: String| Ok(Some(Verdict::fails(reason::WORKLOAD_UPDATE_FAILED, message)));
    let manifest = match produced {
        Produced::NotAsked => return Ok(None),
        Produced::Nothing => {
            return refused(format!(
                "task {WORKLOAD_TASK} handed back no output parameter {WORKLOAD_OUTPUT}"
            ));
        }
        // A Workflow that builds for nobody in particular says so with an empty output.
        Produced::Manifest(manifest) if manifest.trim().is_empty() && !builds_component(run) => {
            return Ok(None);
        }
        Produced::Manifest(manifest) => manifest,
    };
    let workload = match judge(run, manifest) {
        Ok(workload) => workload,
        Err(message) => return refused(message),
    };
    let api =
        Api::<Workload>::namespaced(client.clone(), run.metadata.namespace.as_deref().unwrap_or_default());
    let name = workload.metadata.name.clone().unwrap_or_default();
    let existing = api.get_opt(&name).await.map_err(|source| RunError::StoreWorkload(Box::new(source)))?;
    if existing.is_some_and(|existing| existing.spec.owner != workload.spec.owner) {
        return refused(format!(
            "Workload {name} exists and belongs to another component; rename one of them"
        ));
    }
    let params = PatchParams::apply(FIELD_MANAGER).force();
    match api.patch(&name, &params, &Patch::Apply(&workload)).await {
        Ok(_) => Ok(Some(Verdict::holds(reason::WORKLOAD_UPDATED, format!("Workload {name} is stored")))),
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 422) => {
            refused(format!("Workload {name} is not valid: {}", status.message))
        }
        Err(source) => Err(RunError::StoreWorkload(Box::new(source))),
    }
}

fn builds_component(run: &WorkflowRun) -> bool {
    let labels = run.metadata.labels.iter().flatten();
    labels.filter(|(key, _)| [label::PROJECT, label::COMPONENT].contains(&key.as_str())).count() > 0
}

fn judge(run: &WorkflowRun, manifest: &str) -> Result<Workload, String> {
    if manifest.len() > MAX_BYTES {
        return Err(format!("the output {WORKLOAD_OUTPUT} is longer than {MAX_BYTES} bytes"));
    }
    let produced: Value = serde_saphyr::from_str(manifest)
        .map_err(|error| format!("the output {WORKLOAD_OUTPUT} is not YAML: {error}"))?;
    let labels = run.metadata.labels.clone().unwrap_or_default();
    let namespace = run.metadata.namespace.as_deref().unwrap_or_default();
    judge_workload(&produced, &labels, namespace).map_err(|refusal| refusal.to_string())
}
