//! How long a phase change on the build plane takes to show in the WorkflowRun: on a platform of `buildplane up`, with
//! this program as the one that writes the Argo Workflow's status.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::TryStreamExt as _;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::watcher;
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::load::quantile;
use crate::process::Running;

const RUNS: usize = 100;
const UP: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(20);
const NAMESPACE: &str = "default";

/// When each run was first seen to run, and to be complete.
type Seen = HashMap<(String, Step), Instant>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Running,
    Completed,
}

/// The 99th percentile in milliseconds.
pub(crate) async fn run(binary: &Path, dir: &Path) -> anyhow::Result<f64> {
    let data_dir = dir.join("platform");
    let mut command = Command::new(binary);
    command.args(["up", "--ports", "auto", "--data-dir"]).arg(&data_dir);
    let mut platform = Running::start("platform", command, dir)?;
    let kubeconfig = data_dir.join("kubeconfig");
    let measured = measure(&mut platform, &kubeconfig).await;
    let ended = platform.end(UP);
    let p99 = measured?;
    ended?;
    Ok(p99)
}

async fn measure(platform: &mut Running, kubeconfig: &Path) -> anyhow::Result<f64> {
    platform.told("The platform is ready", UP)?;
    let control_plane = client(kubeconfig, "control-plane").await?;
    let build_plane = client(kubeconfig, "build-plane").await?;
    let runs = api(control_plane.clone(), "openchoreo.dev", "v1alpha1", "WorkflowRun", NAMESPACE);
    let workflows = api(control_plane, "openchoreo.dev", "v1alpha1", "Workflow", NAMESPACE);
    let argo = api(build_plane, "argoproj.io", "v1alpha1", "Workflow", "openchoreo-ci-default");
    workflows.create(&PostParams::default(), &object("Workflow", "lag", &workflow())?).await?;
    let (sender, mut seen) = watch::channel(Seen::new());
    let watching = tokio::spawn(follow(runs.clone(), sender));
    let mut lags = Vec::new();
    for index in 0..RUNS {
        let name = format!("lag-{index}");
        let spec = json!({ "workflow": { "name": "lag" } });
        runs.create(&PostParams::default(), &object("WorkflowRun", &name, &spec)?).await?;
        when(&mut seen, &name, Step::Running).await?;
        let phase = json!({ "status": { "phase": "Succeeded" } });
        let changed = Instant::now();
        argo.patch(&name, &PatchParams::default(), &Patch::Merge(phase)).await?;
        lags.push(when(&mut seen, &name, Step::Completed).await?.saturating_duration_since(changed));
    }
    watching.abort();
    lags.sort_unstable();
    Ok(quantile(&lags, 0.99) / 1000.0)
}

/// A step that lasts longer than this program: its end is what is written from outside.
fn workflow() -> Value {
    let step = json!({ "name": "main", "container": {
        "image": "buildplane/tools", "command": ["sleep"], "args": ["600"],
    } });
    json!({ "runTemplate": {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": { "name": "${metadata.workflowRunName}", "namespace": "${metadata.namespace}" },
        "spec": { "entrypoint": "main", "templates": [step] },
    } })
}

fn object(kind: &str, name: &str, spec: &Value) -> anyhow::Result<DynamicObject> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "openchoreo.dev/v1alpha1",
        "kind": kind,
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": spec,
    }))?)
}

async fn follow(runs: Api<DynamicObject>, sender: watch::Sender<Seen>) -> anyhow::Result<()> {
    let mut changes = std::pin::pin!(watcher(runs, watcher::Config::default()));
    while let Some(event) = changes.try_next().await? {
        let now = Instant::now();
        let (watcher::Event::Apply(run) | watcher::Event::InitApply(run)) = event else { continue };
        let name = run.metadata.name.clone().unwrap_or_default();
        for (step, condition) in [(Step::Running, "WorkflowRunning"), (Step::Completed, "WorkflowCompleted")]
        {
            if is_true(&run, condition) {
                sender.send_modify(|seen| {
                    seen.entry((name.clone(), step)).or_insert(now);
                });
            }
        }
    }
    Ok(())
}

fn is_true(run: &DynamicObject, condition: &str) -> bool {
    let conditions = run.data["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|found| found["type"] == condition && found["status"] == "True")
}

async fn when(seen: &mut watch::Receiver<Seen>, name: &str, step: Step) -> anyhow::Result<Instant> {
    let key = (name.to_owned(), step);
    let found = tokio::time::timeout(PATIENCE, seen.wait_for(|seen| seen.contains_key(&key))).await;
    let found = found.with_context(|| format!("run {name} is not seen to be {step:?}"))??;
    found.get(&key).copied().context("it is there")
}

async fn client(kubeconfig: &Path, context: &str) -> anyhow::Result<Client> {
    let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(Kubeconfig::read_from(kubeconfig)?, &options).await?;
    Ok(Client::try_from(config)?)
}

fn api(client: Client, group: &str, version: &str, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&kube::core::GroupVersionKind::gvk(group, version, kind));
    Api::namespaced_with(client, namespace, &resource)
}
