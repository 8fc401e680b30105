//! One plane for the runs of several namespaces.

use buildplane_api::run::{RunPhase, WorkflowRunStatus};
use buildplane_api::{BuildPlane, ClusterBuildPlane, Workflow, WorkflowRun};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use kube::core::ApiResource;
use serde_json::{Value, json};

use crate::cluster;
use crate::planes::{ca, plane};
use crate::runs::{run, workflow};
use crate::world::{World, eventually, told};

const CLUSTER: &str = "buildplane/default/_cluster/default";
const NAMESPACES: [&str; 2] = ["org", "team"];

/// The real namespace of this test: see `cluster`.
fn real(namespace: &str) -> String {
    if namespace == "org" { cluster::org() } else { format!("{}-{namespace}", cluster::org()) }
}

/// A world with two namespaces, a Workflow in each, and no plane.
async fn world() -> World {
    let world = World::new().await;
    let mut names = vec![real("team")];
    if cluster::is_somebodys() {
        // Made here, so that it is taken away again.
        names.push(format!("openchoreo-ci-{}", real("team")));
    }
    for name in names {
        let manifest = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        world.create::<Namespace>(manifest).await;
    }
    for namespace in NAMESPACES {
        world.create::<Workflow>(within(workflow(), namespace)).await;
    }
    world
}

/// The same, with a connected ClusterBuildPlane.
async fn shared() -> World {
    let world = world().await;
    connected_cluster_plane(&world).await;
    world
}

async fn connected_cluster_plane(world: &World) {
    world
        .create::<ClusterBuildPlane>(json!({
            "apiVersion": "openchoreo.dev/v1alpha1",
            "kind": "ClusterBuildPlane",
            "metadata": {"name": "default"},
            "spec": {"planeID": "default", "clusterAgent": {"clientCA": {"value": ca()}}},
        }))
        .await;
    eventually("the plane is registered", async || world.gateway.registered(CLUSTER)).await;
    world.gateway.connect(CLUSTER);
}

fn within(mut manifest: Value, namespace: &str) -> Value {
    manifest["metadata"]["namespace"] = real(namespace).into();
    manifest
}

/// A run that builds no component, so that its end needs no Workload.
fn plain(name: &str, namespace: &str) -> Value {
    let mut manifest = within(run(name, &json!({})), namespace);
    manifest["metadata"]["labels"] = json!({});
    manifest
}

async fn status(world: &World, namespace: &str, name: &str) -> WorkflowRunStatus {
    let api = Api::<WorkflowRun>::namespaced(world.control.clone(), &real(namespace));
    api.get(name).await.expect("the run").status.unwrap_or_default()
}

async fn until(world: &World, namespace: &str, name: &str, type_: &str, expected: &str) -> WorkflowRunStatus {
    eventually(&format!("{namespace}/{name} has {type_}={expected}"), async || {
        let status = status(world, namespace, name).await;
        (told(&status.conditions, type_) == expected).then_some(status)
    })
    .await
}

async fn engine_says(world: &World, namespace: &str, name: &str, status: &Value) {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Workflow"));
    let ci = format!("openchoreo-ci-{}", real(namespace));
    let api = Api::<DynamicObject>::namespaced_with(world.build.clone(), &ci, &kind);
    let patch = Patch::Merge(json!({"status": status}));
    api.patch(name, &PatchParams::default(), &patch).await.expect("the Workflow is there");
}

/// Starts a run in each namespace.
async fn started(world: &World, name: &str) {
    for namespace in NAMESPACES {
        world.create::<WorkflowRun>(plain(name, namespace)).await;
    }
    for namespace in NAMESPACES {
        until(world, namespace, name, "WorkflowRunning", "False/WorkflowPending").await;
    }
}

async fn ended(world: &World, name: &str) {
    for namespace in NAMESPACES {
        engine_says(world, namespace, name, &json!({"phase": "Succeeded"})).await;
        until(world, namespace, name, "Ready", "True/WorkflowSucceeded").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_watch_tells_of_all_namespaces_of_a_cluster_build_plane() {
    let world = shared().await;
    started(&world, "run-1").await;
    ended(&world, "run-1").await;
    assert_eq!(world.gateway.watched(), ["*"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_wide_watch_is_allowed_each_namespace_has_its_own() {
    let world = shared().await;
    world.gateway.allow_no_wide_watch();
    started(&world, "run-1").await;
    ended(&world, "run-1").await;
    started(&world, "run-2").await;
    ended(&world, "run-2").await;
    let watched = world.gateway.watched();
    assert!(!watched.contains(&"*".to_owned()), "{watched:?}");
    for namespace in NAMESPACES {
        assert!(watched.contains(&format!("openchoreo-ci-{}", real(namespace))), "{watched:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_missed_or_doubled_when_the_watch_breaks() {
    let world = shared().await;
    started(&world, "run-1").await;
    for step in 0..10 {
        for namespace in NAMESPACES {
            world.gateway.break_streams();
            let message = format!("step {step}");
            engine_says(&world, namespace, "run-1", &json!({"phase": "Running", "message": message})).await;
        }
    }
    world.gateway.disconnect(CLUSTER);
    for namespace in NAMESPACES {
        engine_says(&world, namespace, "run-1", &json!({"phase": "Succeeded"})).await;
    }
    world.gateway.connect(CLUSTER);
    for namespace in NAMESPACES {
        until(&world, namespace, "run-1", "Ready", "True/WorkflowSucceeded").await;
        let events = Api::<Event>::namespaced(world.control.clone(), &real(namespace));
        let succeeded = eventually("the event is there", async || {
            let events = events.list(&ListParams::default()).await.expect("events").items;
            let about = |event: &Event| {
                event.regarding.as_ref().and_then(|regarding| regarding.kind.as_deref())
                    == Some("WorkflowRun")
                    && event.reason.as_deref() == Some("WorkflowSucceeded")
            };
            let found: Vec<Event> = events.into_iter().filter(about).collect();
            (!found.is_empty()).then_some(found)
        })
        .await;
        assert_eq!(succeeded.len(), 1, "told twice: {succeeded:?}");
        assert!(succeeded[0].series.is_none(), "told twice: {succeeded:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tenants_of_one_plane_use_their_own_secret_stores() {
    let world = world().await;
    for namespace in NAMESPACES {
        let mut spec = workflow();
        spec["spec"]["resources"][0]["template"]["data"]["store"] = "${buildplane.secretStore}".into();
        let api = Api::<Workflow>::namespaced(world.control.clone(), &real(namespace));
        let patch = Patch::Merge(json!({"spec": spec["spec"]}));
        api.patch("docker", &PatchParams::default(), &patch).await.expect("the Workflow");
        let spec = json!({
            "planeID": "shared-builder",
            "clusterAgent": {"clientCA": {"value": ca()}},
            "secretStoreRef": {"name": format!("{namespace}-secrets")},
        });
        world.create::<BuildPlane>(within(plane("default", &spec), namespace)).await;
        let key = format!("buildplane/shared-builder/{}/default", real(namespace));
        eventually("the plane is registered", async || world.gateway.registered(&key)).await;
        world.gateway.connect(&key);
    }
    started(&world, "run-1").await;
    for namespace in NAMESPACES {
        let ci = format!("openchoreo-ci-{}", real(namespace));
        let settings = Api::<ConfigMap>::namespaced(world.build.clone(), &ci);
        let settings = settings.get("run-1-settings").await.expect("settings").data.unwrap_or_default();
        assert_eq!(settings["store"], format!("{namespace}-secrets"));
    }
    // A store that is another tenant's is not asked.
    let foreign = json!([{"id": "secret", "template": {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": {"name": "${metadata.workflowRunName}-secret"},
        "spec": {"secretStoreRef": {"kind": "ClusterSecretStore", "name": "team-secrets"}, "target": {"name": "x"}},
    }}]);
    let api = Api::<Workflow>::namespaced(world.control.clone(), &real("org"));
    let patch = Patch::Merge(json!({"spec": {"resources": foreign}}));
    api.patch("docker", &PatchParams::default(), &patch).await.expect("the Workflow");
    world.create::<WorkflowRun>(plain("run-2", "org")).await;
    let refused = until(&world, "org", "run-2", "Ready", "False/NotAdmitted").await;
    let ready = refused.conditions.iter().find(|condition| condition.type_ == "Ready").expect("Ready");
    assert!(ready.message.contains("must be ClusterSecretStore org-secrets"), "{}", ready.message);
}

async fn delete_cluster_plane(world: &World) {
    let planes = Api::<ClusterBuildPlane>::all(world.control.clone());
    planes.delete("default", &DeleteParams::default()).await.expect("deleted");
    eventually("the plane is gone", async || {
        planes.get_opt("default").await.expect("an answer").is_none().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_end_when_their_plane_is_deleted_and_go_without_it() {
    let world = shared().await;
    started(&world, "run-1").await;
    delete_cluster_plane(&world).await;
    for namespace in NAMESPACES {
        let ended = eventually("the run fails", async || {
            let status = status(&world, namespace, "run-1").await;
            (status.phase == Some(RunPhase::Failed)).then_some(status)
        })
        .await;
        assert_eq!(told(&ended.conditions, "Ready"), "False/BuildPlaneDeleted");
        assert!(ended.completed_at.is_some());
        let runs = Api::<WorkflowRun>::namespaced(world.control.clone(), &real(namespace));
        runs.delete("run-1", &DeleteParams::default()).await.expect("deleted");
        eventually("the run is gone", async || {
            runs.get_opt("run-1").await.expect("an answer").is_none().then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_go_on_when_their_plane_is_made_anew_or_given_another_id() {
    let world = shared().await;
    started(&world, "run-1").await;
    delete_cluster_plane(&world).await;
    connected_cluster_plane(&world).await;
    engine_says(&world, "org", "run-1", &json!({"phase": "Succeeded"})).await;
    until(&world, "org", "run-1", "Ready", "True/WorkflowSucceeded").await;

    let planes = Api::<ClusterBuildPlane>::all(world.control.clone());
    let patch = Patch::Merge(json!({"spec": {"planeID": "moved"}}));
    planes.patch("default", &PatchParams::default(), &patch).await.expect("the plane");
    let key = "buildplane/moved/_cluster/default";
    eventually("the plane is registered", async || world.gateway.registered(key)).await;
    world.gateway.connect(key);
    engine_says(&world, "team", "run-1", &json!({"phase": "Succeeded"})).await;
    until(&world, "team", "run-1", "Ready", "True/WorkflowSucceeded").await;
}
