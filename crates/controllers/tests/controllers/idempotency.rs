//! What is asked twice, too late, or while the answer is under way, happens once.

use buildplane_api::run::RunPhase;
use buildplane_api::{BuildPlane, Workflow, WorkflowRun};
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::planes::{ca, plane};
use crate::runs::{run, workflow};
use crate::world::{World, eventually, told};

const PLANE: &str = "buildplane/default/org/default";

async fn world() -> World {
    let world = World::new().await;
    world.create::<Workflow>(workflow()).await;
    let spec = json!({"clusterAgent": {"clientCA": {"value": ca()}}});
    world.create::<BuildPlane>(plane("default", &spec)).await;
    eventually("the plane is registered", async || world.gateway.registered(PLANE)).await;
    world.gateway.connect(PLANE);
    world
}

/// A run that builds no component, so that its end needs no Workload.
fn plain(name: &str, spec: &Value) -> Value {
    let mut manifest = run(name, spec);
    manifest["metadata"]["labels"] = json!({});
    manifest
}

async fn until(world: &World, name: &str, expected: &str) -> WorkflowRun {
    eventually(&format!("{name} has Ready={expected}"), async || {
        let run = world.of::<WorkflowRun>().get(name).await.expect("the run");
        let conditions = run.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
        (told(&conditions, "Ready") == expected).then_some(run)
    })
    .await
}

async fn set(world: &World, name: &str, spec: &Value) {
    let patch = Patch::Merge(json!({"spec": spec}));
    world.of::<WorkflowRun>().patch(name, &PatchParams::default(), &patch).await.expect("the run");
}

/// Waits until the Workflow of a run is there.
async fn created(world: &World, name: &str) -> DynamicObject {
    eventually("the Workflow is there", async || world.workflows().get_opt(name).await.expect("an answer"))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_whose_answer_is_lost_makes_one_run() {
    let world = world().await;
    world.gateway.lose_the_next_creation();
    world.create::<WorkflowRun>(plain("run-1", &json!({}))).await;
    let first = created(&world, "run-1").await;
    until(&world, "run-1", "False/BuildPlaneUnreachable").await;
    world.gateway.restart();
    eventually("the plane is registered again", async || world.gateway.registered(PLANE)).await;
    world.gateway.connect(PLANE);
    until(&world, "run-1", "False/WorkflowPending").await;
    world.engine_says("run-1", &json!({"phase": "Succeeded"})).await;
    until(&world, "run-1", "True/WorkflowSucceeded").await;
    let all = world.workflows().list(&ListParams::default()).await.expect("a list").items;
    assert_eq!(all.len(), 1, "a second run was started");
    assert_eq!(all[0].metadata.uid, first.metadata.uid);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_after_the_end_and_cancel_twice_change_nothing() {
    let world = world().await;
    for name in ["done", "canceled"] {
        world.create::<WorkflowRun>(plain(name, &json!({}))).await;
        until(&world, name, "False/WorkflowPending").await;
        created(&world, name).await;
    }
    world.engine_says("done", &json!({"phase": "Succeeded"})).await;
    let before = until(&world, "done", "True/WorkflowSucceeded").await;
    set(&world, "done", &json!({"cancel": true})).await;

    set(&world, "canceled", &json!({"cancel": true})).await;
    eventually("the engine is told", async || {
        (created(&world, "canceled").await.data["spec"]["shutdown"] == "Terminate").then_some(())
    })
    .await;
    let told_once = created(&world, "canceled").await.metadata.resource_version;
    set(&world, "canceled", &json!({"cancel": false})).await;
    set(&world, "canceled", &json!({"cancel": true})).await;
    // A run that is looked at afterwards has been looked at by then.
    world.create::<WorkflowRun>(plain("later", &json!({}))).await;
    until(&world, "later", "False/WorkflowPending").await;
    let version = created(&world, "canceled").await.metadata.resource_version;
    assert_eq!(version, told_once, "the engine was told again");
    world.engine_says("canceled", &json!({"phase": "Failed"})).await;
    let canceled = until(&world, "canceled", "False/WorkflowCanceled").await;
    assert_eq!(canceled.status.and_then(|status| status.phase), Some(RunPhase::Canceled));

    // By now the first one was looked at as well.
    let after = world.of::<WorkflowRun>().get("done").await.expect("the run");
    assert_eq!(
        after.status.map(|status| (status.phase, status.completed_at)),
        before.status.map(|s| (s.phase, s.completed_at))
    );
    assert_eq!(created(&world, "done").await.data["spec"]["shutdown"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_kept_for_no_time_or_for_ages() {
    let world = world().await;
    for (name, ttl) in [("none", "0s"), ("ages", "1000000000000s")] {
        world.create::<WorkflowRun>(plain(name, &json!({"ttlAfterCompletion": ttl}))).await;
        until(&world, name, "False/WorkflowPending").await;
        created(&world, name).await;
    }
    for name in ["ages", "none"] {
        world.engine_says(name, &json!({"phase": "Succeeded"})).await;
    }
    until(&world, "ages", "True/WorkflowSucceeded").await;
    eventually("the run is gone", async || {
        world.of::<WorkflowRun>().get_opt("none").await.expect("an answer").is_none().then_some(())
    })
    .await;
    let kept = world.of::<WorkflowRun>().get("ages").await.expect("the run is kept");
    assert!(kept.metadata.deletion_timestamp.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reaches_beyond_a_build_is_refused_after_rendering() {
    let world = world().await;
    let parameter = json!({"workflow": {"name": "docker", "parameters": {"url": "kube-system"}}});
    for (index, (spec, field)) in [
        (json!({"serviceAccountName": "default"}), "serviceAccountName"),
        (json!({"hostNetwork": true}), "hostNetwork"),
        (json!({"podSpecPatch": "hostPID: true"}), "podSpecPatch"),
        (json!({"artifactGC": {"strategy": "OnWorkflowDeletion", "serviceAccountName": "default"}}), "artifactGC"),
        (json!({"volumes": [{"name": "x", "hostPath": {"path": "/"}}]}), "hostPath"),
        (
            json!({"templates": [{"name": "main", "container": {"image": "x", "securityContext": {"privileged": true}}}]}),
            "privileged",
        ),
        (json!({"metadata": {"namespace": "${parameters.url}"}}), "metadata.namespace"),
        (
            json!({"resource": {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "x"}}}),
            "ClusterRole",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let mut hostile = workflow()["spec"].clone();
        if let Some(resource) = spec.get("resource") {
            hostile["resources"][0]["template"] = resource.clone();
        } else if let Some(metadata) = spec.get("metadata") {
            hostile["runTemplate"]["metadata"]["namespace"] = metadata["namespace"].clone();
        } else {
            for (key, value) in spec.as_object().expect("an object") {
                hostile["runTemplate"]["spec"][key] = value.clone();
            }
        }
        let api: Api<Workflow> = world.of();
        api.delete("docker", &kube::api::DeleteParams::default()).await.expect("deleted");
        let mut manifest = workflow();
        manifest["spec"] = hostile;
        world.create::<Workflow>(manifest).await;
        let name = format!("run-{index}");
        world.create::<WorkflowRun>(plain(&name, &parameter)).await;
        let refused = until(&world, &name, "False/NotAdmitted").await;
        let conditions = refused.status.unwrap_or_default().conditions;
        let ready = conditions.iter().find(|condition| condition.type_ == "Ready").expect("Ready");
        assert!(ready.message.contains(field), "{field}: {}", ready.message);
        set(&world, &name, &json!({"cancel": true})).await;
        until(&world, &name, "False/WorkflowCanceled").await;
    }
    let all = world.workflows().list(&ListParams::default()).await.expect("a list").items;
    assert!(all.is_empty(), "{all:?}");
}
