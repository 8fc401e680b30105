use buildplane_api::run::{RunPhase, TaskPhase, WorkflowRunStatus};
use buildplane_api::{BuildPlane, Workflow, WorkflowRun, Workload};
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use k8s_openapi::api::rbac::v1::Role;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::cluster;
use crate::planes::{ca, plane};
use crate::world::{World, eventually, told};

const PLANE: &str = "buildplane/default/org/default";

pub(crate) fn workflow() -> Value {
    json!({
        "apiVersion": "openchoreo.dev/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": "docker", "namespace": "org"},
        "spec": {
            "schema": {"parameters": {"url": "string", "branch": "string | default=main"}},
            "runTemplate": {
                "apiVersion": "argoproj.io/v1alpha1",
                "kind": "Workflow",
                "metadata": {"name": "${metadata.workflowRunName}", "namespace": "${metadata.namespace}"},
                "spec": {"entrypoint": "main", "arguments": {"parameters": [
                    {"name": "branch", "value": "${parameters.branch}"},
                ]}},
            },
            "resources": [{"id": "settings", "template": {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "${metadata.workflowRunName}-settings"},
                "data": {"url": "${parameters.url}"},
            }}],
        },
    })
}

pub(crate) fn run(name: &str, spec: &Value) -> Value {
    let labels = json!({"openchoreo.dev/project": "shop", "openchoreo.dev/component": "greeter"});
    let mut spec = spec.clone();
    if spec.get("workflow").is_none() {
        spec["workflow"] = json!({"name": "docker", "parameters": {"url": "https://git/greeter"}});
    }
    json!({"apiVersion": "openchoreo.dev/v1alpha1", "kind": "WorkflowRun",
        "metadata": {"name": name, "namespace": "org", "labels": labels}, "spec": spec})
}

/// A world with a connected plane and a Workflow.
async fn world() -> World {
    let world = World::new().await;
    world.create::<Workflow>(workflow()).await;
    connected_plane(&world).await;
    world
}

async fn connected_plane(world: &World) {
    let spec = json!({"clusterAgent": {"clientCA": {"value": ca()}}});
    world.create::<BuildPlane>(plane("default", &spec)).await;
    eventually("the plane is registered", async || world.gateway.registered(PLANE)).await;
    world.gateway.connect(PLANE);
}

/// Waits until a condition of a run reads as expected.
async fn until(world: &World, name: &str, type_: &str, expected: &str) -> WorkflowRunStatus {
    let mut last = String::new();
    let looked = tokio::time::timeout(
        std::time::Duration::from_secs(18),
        eventually(&format!("{name} has {type_}={expected}"), async || {
            let status =
                world.of::<WorkflowRun>().get(name).await.expect("the run").status.unwrap_or_default();
            last = format!("{:?}", status.conditions);
            (told(&status.conditions, type_) == expected).then_some(status)
        }),
    )
    .await;
    looked.unwrap_or_else(|_| panic!("{name} never had {type_}={expected}: {last}"))
}

fn nodes(workload: &str) -> Value {
    json!({
        "a": {"id": "a", "name": "run-1[0].checkout-source", "displayName": "checkout-source", "type": "Pod",
            "phase": "Succeeded", "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:01Z"},
        "b": {"id": "b", "name": "run-1[1].generate-workload-cr", "displayName": "generate-workload-cr", "type": "Pod",
            "phase": "Succeeded", "outputs": {"parameters": [{"name": "workload-cr", "value": workload}]}},
    })
}

fn workload(component: &str) -> String {
    format!(
        "apiVersion: openchoreo.dev/v1alpha1\nkind: Workload\nmetadata:\n  name: greeter\n  namespace: kube-system\n\
         spec:\n  owner:\n    projectName: shop\n    componentName: {component}\n  container:\n    image: r/greeter@sha256:0\n"
    )
}

fn succeeded(workload: &str) -> Value {
    json!({"phase": "Succeeded", "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:01:00Z",
        "nodes": nodes(workload)})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_to_its_plane_and_comes_back_with_a_workload() {
    let world = world().await;
    world.create::<WorkflowRun>(run("run-1", &json!({}))).await;
    let started = until(&world, "run-1", "WorkflowRunning", "False/WorkflowPending").await;
    let plane = started.build_plane.expect("the plane is noted");
    assert_eq!(
        (plane.kind.as_str(), plane.name.as_str(), plane.plane_id.as_str()),
        ("BuildPlane", "default", "default")
    );

    let ci = &cluster::ci();
    let account =
        Api::<ServiceAccount>::namespaced(world.build.clone(), ci).get("workflow-sa").await.expect("account");
    assert_eq!(account.automount_service_account_token, Some(false));
    Api::<Role>::namespaced(world.build.clone(), ci).get("workflow-sa-role").await.expect("a role");
    let settings =
        Api::<ConfigMap>::namespaced(world.build.clone(), ci).get("run-1-settings").await.expect("settings");
    assert_eq!(settings.data.and_then(|mut data| data.remove("url")).as_deref(), Some("https://git/greeter"));
    let argo = world.workflows().get("run-1").await.expect("the Workflow");
    assert_eq!(argo.data["spec"]["arguments"]["parameters"][0]["value"], "main");
    assert_eq!(argo.data["spec"]["serviceAccountName"], "workflow-sa");

    world
        .engine_says(
            "run-1",
            &json!({"phase": "Running", "startedAt": "2026-01-01T00:00:00Z", "nodes": {
        "a": {"id": "a", "name": "run-1[0].checkout-source", "displayName": "checkout-source", "type": "Pod",
            "phase": "Running"}}}),
        )
        .await;
    let running = until(&world, "run-1", "WorkflowRunning", "True/WorkflowRunning").await;
    assert_eq!(running.phase, Some(RunPhase::Running));
    assert_eq!(running.tasks[0].phase, Some(TaskPhase::Running));

    world.engine_says("run-1", &succeeded(&workload("greeter"))).await;
    let done = until(&world, "run-1", "Ready", "True/WorkflowSucceeded").await;
    assert_eq!(told(&done.conditions, "WorkloadUpdated"), "True/WorkloadUpdated");
    assert_eq!(done.tasks.len(), 2);
    assert_eq!(done.completed_at.map(|time| time.0.to_string()).as_deref(), Some("2026-01-01T00:01:00Z"));
    let stored = world.of::<Workload>().get("greeter").await.expect("the Workload");
    assert_eq!(stored.spec.container.map(|container| container.image).as_deref(), Some("r/greeter@sha256:0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_of_another_component_is_not_stored() {
    let world = world().await;
    world.create::<WorkflowRun>(run("run-1", &json!({}))).await;
    until(&world, "run-1", "WorkflowRunning", "False/WorkflowPending").await;
    world.engine_says("run-1", &succeeded(&workload("payments"))).await;
    let done = until(&world, "run-1", "Ready", "False/WorkloadUpdateFailed").await;
    assert_eq!(done.phase, Some(RunPhase::Succeeded));
    assert!(world.of::<Workload>().get_opt("greeter").await.expect("an answer").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_no_component_needs_no_workload() {
    let world = world().await;
    let mut manifest = run("run-1", &json!({}));
    manifest["metadata"]["labels"] = json!({});
    world.create::<WorkflowRun>(manifest).await;
    until(&world, "run-1", "WorkflowRunning", "False/WorkflowPending").await;
    world.engine_says("run-1", &succeeded("")).await;
    let done = until(&world, "run-1", "Ready", "True/WorkflowSucceeded").await;
    assert_eq!(told(&done.conditions, "WorkloadUpdated"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_missing_is_told_and_the_run_goes_on_when_it_appears() {
    let world = World::new().await;
    world.create::<WorkflowRun>(run("run-1", &json!({}))).await;
    until(&world, "run-1", "Ready", "False/WorkflowNotFound").await;
    world.create::<Workflow>(workflow()).await;
    until(&world, "run-1", "WorkflowCompleted", "False/BuildPlaneNotFound").await;
    let spec = json!({"clusterAgent": {"clientCA": {"value": ca()}}});
    world.create::<BuildPlane>(plane("default", &spec)).await;
    until(&world, "run-1", "Ready", "False/BuildPlaneUnreachable").await;
    eventually("the plane is registered", async || world.gateway.registered(PLANE)).await;
    world.gateway.connect(PLANE);
    until(&world, "run-1", "Ready", "False/WorkflowPending").await;
    eventually("the Workflow is there", async || {
        world.workflows().get_opt("run-1").await.expect("an answer")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_that_do_not_fit_are_told_and_can_be_put_right() {
    let world = world().await;
    let wrong = json!({"workflow": {"name": "docker", "parameters": {"url": 1}}});
    world.create::<WorkflowRun>(run("run-1", &wrong)).await;
    until(&world, "run-1", "Ready", "False/ParametersInvalid").await;
    let blocked = world.of::<WorkflowRun>().get("run-1").await.expect("the run");
    assert!(blocked.blocked().is_some_and(|condition| condition.message.contains("parameters.url")));
    let patch = Patch::Merge(json!({"spec": {"workflow": {"parameters": {"url": "https://git/x"}}}}));
    world.of::<WorkflowRun>().patch("run-1", &PatchParams::default(), &patch).await.expect("the run");
    until(&world, "run-1", "WorkflowRunning", "False/WorkflowPending").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_tells_what_is_wrong_with_it_before_anybody_runs_it() {
    let world = World::new().await;
    let reads = async |expected: &str| {
        eventually(&format!("the Workflow is {expected}"), async || {
            let status =
                world.of::<Workflow>().get("docker").await.expect("the Workflow").status.unwrap_or_default();
            (told(&status.conditions, "Ready") == expected).then_some(())
        })
        .await;
    };
    let mut manifest = workflow();
    manifest["spec"]["schema"]["parameters"]["branch"] = "strung".into();
    world.create::<Workflow>(manifest).await;
    reads("False/WorkflowInvalid").await;
    let patch = Patch::Merge(json!({"spec": workflow()["spec"]}));
    world.of::<Workflow>().patch("docker", &PatchParams::default(), &patch).await.expect("the Workflow");
    reads("True/WorkflowValid").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_ends_what_runs() {
    let world = world().await;
    world.create::<WorkflowRun>(run("run-1", &json!({}))).await;
    until(&world, "run-1", "WorkflowRunning", "False/WorkflowPending").await;
    world.engine_says("run-1", &json!({"phase": "Running"})).await;
    until(&world, "run-1", "Ready", "False/WorkflowRunning").await;
    let patch = Patch::Merge(json!({"spec": {"cancel": true}}));
    world.of::<WorkflowRun>().patch("run-1", &PatchParams::default(), &patch).await.expect("the run");
    eventually("the engine is told", async || {
        let argo = world.workflows().get("run-1").await.expect("the Workflow");
        (argo.data["spec"]["shutdown"] == "Terminate").then_some(())
    })
    .await;
    world.engine_says("run-1", &json!({"phase": "Failed", "message": "terminated"})).await;
    let done = until(&world, "run-1", "Ready", "False/WorkflowCanceled").await;
    assert_eq!(done.phase, Some(RunPhase::Canceled));
}

async fn cancel(world: &World, name: &str) {
    let patch = Patch::Merge(json!({"spec": {"cancel": true}}));
    world.of::<WorkflowRun>().patch(name, &PatchParams::default(), &patch).await.expect("the run");
}

/// Waits until it is told that nobody knows whether a run was created; where it would be stays noted.
async fn until_unknown(world: &World, name: &str) {
    eventually(&format!("{name} may have been created"), async || {
        let status = world.of::<WorkflowRun>().get(name).await.expect("the run").status.unwrap_or_default();
        let unreachable = told(&status.conditions, "Ready") == "False/BuildPlaneUnreachable";
        (unreachable && status.run_reference.is_some()).then_some(())
    })
    .await;
    assert!(world.workflows().get_opt(name).await.expect("an answer").is_some(), "it was created");
}

fn message(status: &WorkflowRunStatus) -> &str {
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
    ready.map_or("", |ready| &ready.message)
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_ends_a_run_whose_creation_the_plane_refuses() {
    let world = world().await;
    let crds = Api::<CustomResourceDefinition>::all(world.build.clone());
    crds.delete("workflows.argoproj.io", &DeleteParams::default()).await.expect("deleted");
    eventually("the plane knows no Workflows", async || {
        crds.get_opt("workflows.argoproj.io").await.expect("an answer").is_none().then_some(())
    })
    .await;
    world.create::<WorkflowRun>(run("run-1", &json!({}))).await;
    let refused = until(&world, "run-1", "Ready", "False/BuildPlaneRefused").await;
    assert!(refused.run_reference.is_some(), "where it would be is noted");
    let settings = Api::<ConfigMap>::namespaced(world.build.clone(), &cluster::ci());
    assert!(settings.get_opt("run-1-settings").await.expect("an answer").is_some());

    cancel(&world, "run-1").await;
    let done = until(&world, "run-1", "Ready", "False/WorkflowCanceled").await;
    assert_eq!(done.phase, Some(RunPhase::Canceled));
    assert!(done.completed_at.is_some());
    assert_eq!(message(&done), "the run was canceled before it started");
    assert!(
        settings.get_opt("run-1-settings").await.expect("an answer").is_none(),
        "something is left behind"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_ends_a_run_that_may_have_been_created_on_a_plane_that_is_away() {
    let world = world().await;
    world.gateway.lose_the_next_creation();
    world.create::<WorkflowRun>(run("run-1", &json!({}))).await;
    until_unknown(&world, "run-1").await;
    cancel(&world, "run-1").await;
    let done = until(&world, "run-1", "Ready", "False/WorkflowCanceled").await;
    assert_eq!(done.phase, Some(RunPhase::Canceled));
    let ci = cluster::ci();
    let left = format!("Workflow {ci}/run-1, ConfigMap {ci}/run-1-settings may be left");
    assert!(message(&done).contains(&left), "{}", message(&done));
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_ends_what_was_created_without_an_answer_when_the_plane_is_back() {
    let world = world().await;
    world.gateway.lose_the_next_creation();
    world.create::<WorkflowRun>(run("run-1", &json!({}))).await;
    until_unknown(&world, "run-1").await;
    cancel(&world, "run-1").await;
    world.gateway.connect(PLANE);
    eventually("the engine is told", async || {
        let argo = world.workflows().get("run-1").await.expect("the Workflow");
        (argo.data["spec"]["shutdown"] == "Terminate").then_some(())
    })
    .await;
    world.engine_says("run-1", &json!({"phase": "Failed", "message": "terminated"})).await;
    let done = until(&world, "run-1", "Ready", "False/WorkflowCanceled").await;
    assert_eq!(done.phase, Some(RunPhase::Canceled));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_created_before_a_crash_is_taken_up_and_never_run_twice() {
    let mut world = world().await;
    world.create::<WorkflowRun>(run("run-1", &json!({}))).await;
    until(&world, "run-1", "WorkflowRunning", "False/WorkflowPending").await;
    let created = world.workflows().get("run-1").await.expect("the Workflow");
    world.controllers.cancel();
    // As if the controllers had died between creating and saying so; and the Workflow has changed since.
    let forget = Patch::Merge(json!({"status": {"phase": "Pending", "conditions": []}}));
    world.of::<WorkflowRun>().patch_status("run-1", &PatchParams::default(), &forget).await.expect("the run");
    let rename = Patch::Merge(
        json!({"spec": {"runTemplate": {"metadata": {"name": "another-${metadata.workflowRunName}"}}}}),
    );
    world.of::<Workflow>().patch("docker", &PatchParams::default(), &rename).await.expect("the Workflow");
    world.engine_says("run-1", &succeeded(&workload("greeter"))).await;

    world.start_controllers();
    until(&world, "run-1", "Ready", "True/WorkflowSucceeded").await;
    let all = world.workflows().list(&kube::api::ListParams::default()).await.expect("a list");
    assert_eq!(all.items.len(), 1, "a second run was started");
    assert_eq!(all.items[0].metadata.uid, created.metadata.uid);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_runs_own_is_left_alone() {
    let world = world().await;
    world.create::<WorkflowRun>(run("run-1", &json!({}))).await;
    until(&world, "run-1", "WorkflowRunning", "False/WorkflowPending").await;
    world.of::<WorkflowRun>().delete("run-1", &DeleteParams::default()).await.expect("deleted");
    eventually("the run is gone", async || {
        world.of::<WorkflowRun>().get_opt("run-1").await.expect("an answer").is_none().then_some(())
    })
    .await;
    assert!(
        world.workflows().get_opt("run-1").await.expect("an answer").is_none(),
        "its Workflow is left behind"
    );

    let foreign = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow",
        "metadata": {"name": "run-2", "namespace": cluster::ci()}, "spec": {}});
    let foreign = serde_json::from_value(foreign).expect("an object");
    world.workflows().create(&kube::api::PostParams::default(), &foreign).await.expect("created");
    world.create::<WorkflowRun>(run("run-2", &json!({}))).await;
    until(&world, "run-2", "Ready", "False/NameConflict").await;
    world.of::<WorkflowRun>().delete("run-2", &DeleteParams::default()).await.expect("deleted");
    eventually("the run is gone", async || {
        world.of::<WorkflowRun>().get_opt("run-2").await.expect("an answer").is_none().then_some(())
    })
    .await;
    assert!(
        world.workflows().get_opt("run-2").await.expect("an answer").is_some(),
        "somebody else's was deleted"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_ends_although_the_plane_is_away() {
    let world = world().await;
    world.create::<WorkflowRun>(run("run-1", &json!({}))).await;
    until(&world, "run-1", "WorkflowRunning", "False/WorkflowPending").await;
    world.gateway.disconnect(PLANE);
    world.of::<WorkflowRun>().delete("run-1", &DeleteParams::default()).await.expect("deleted");
    eventually("the run is gone", async || {
        world.of::<WorkflowRun>().get_opt("run-1").await.expect("an answer").is_none().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_that_vanishes_ends_the_run() {
    let world = world().await;
    world.create::<WorkflowRun>(run("run-1", &json!({}))).await;
    until(&world, "run-1", "WorkflowRunning", "False/WorkflowPending").await;
    world.workflows().delete("run-1", &DeleteParams::default()).await.expect("deleted");
    let done = until(&world, "run-1", "Ready", "False/WorkflowDeleted").await;
    assert_eq!(done.phase, Some(RunPhase::Failed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_time_is_over_is_deleted() {
    let world = world().await;
    world.create::<WorkflowRun>(run("run-1", &json!({"ttlAfterCompletion": "1s"}))).await;
    until(&world, "run-1", "WorkflowRunning", "False/WorkflowPending").await;
    world.engine_says("run-1", &succeeded(&workload("greeter"))).await;
    eventually("the run is gone", async || {
        world.of::<WorkflowRun>().get_opt("run-1").await.expect("an answer").is_none().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_while_the_agent_was_away_is_told_when_it_is_back() {
    let world = world().await;
    world.create::<WorkflowRun>(run("run-1", &json!({}))).await;
    until(&world, "run-1", "WorkflowRunning", "False/WorkflowPending").await;
    world.gateway.disconnect(PLANE);
    world.gateway.restart();
    world.engine_says("run-1", &succeeded(&workload("greeter"))).await;
    eventually("the plane is registered again", async || world.gateway.registered(PLANE)).await;
    world.gateway.connect(PLANE);
    until(&world, "run-1", "Ready", "True/WorkflowSucceeded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_polled() {
    let world = world().await;
    world.create::<WorkflowRun>(run("run-1", &json!({}))).await;
    until(&world, "run-1", "WorkflowRunning", "False/WorkflowPending").await;
    world.engine_says("run-1", &json!({"phase": "Running"})).await;
    until(&world, "run-1", "Ready", "False/WorkflowRunning").await;
    let before = world.gateway.n_proxied();
    for step in 0..20 {
        world.engine_says("run-1", &json!({"phase": "Running", "message": format!("step {step}")})).await;
    }
    eventually("the last message arrives", async || {
        let status =
            world.of::<WorkflowRun>().get("run-1").await.expect("the run").status.unwrap_or_default();
        status.conditions.iter().any(|condition| condition.message == "step 19").then_some(())
    })
    .await;
    assert_eq!(world.gateway.n_proxied(), before, "requests were made to learn what the watch tells");
}
