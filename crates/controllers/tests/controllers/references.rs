//! What planes refer to on the plane itself, what their schemas take, and what their end leaves behind.

use std::collections::BTreeMap;

use buildplane_api::{
    BuildPlane, ClusterBuildPlane, ClusterDataPlane, ClusterObservabilityPlane, DataPlane,
    ObservabilityPlane, WorkflowRun,
};
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Resource;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
    PostParams,
};
use serde_json::{Value, json};

use crate::cluster;
use crate::planes::{ca, plane, until};
use crate::world::{World, eventually};

fn external_secrets() -> CustomResourceDefinition {
    serde_json::from_value(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "clustersecretstores.external-secrets.io"},
        "spec": {"group": "external-secrets.io", "scope": "Cluster",
            "names": {"kind": "ClusterSecretStore", "plural": "clustersecretstores"},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]},
    }))
    .expect("a CRD")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_store_is_watched_on_the_plane() {
    if cluster::is_somebodys() {
        return; // It would install External Secrets' CRD.
    }
    let key = "buildplane/bp/org/bp";
    let world = World::new().await;
    let mut spec = json!({"clusterAgent": {"clientCA": {"value": ca()}}});
    spec["secretStoreRef"] = json!({"name": "vault"});
    world.create::<BuildPlane>(plane("bp", &spec)).await;
    until(&world, "bp", "SecretStoreReady", "Unknown/PlaneUnreachable").await;
    world.gateway.connect(key);
    until(&world, "bp", "SecretStoreReady", "False/ExternalSecretsNotInstalled").await;

    // Each fix takes effect without touching the plane.
    let crds = Api::<CustomResourceDefinition>::all(world.build.clone());
    crds.create(&PostParams::default(), &external_secrets()).await.expect("the CRD");
    until(&world, "bp", "Ready", "False/SecretStoreNotFound").await;
    let kind = GroupVersionKind::gvk("external-secrets.io", "v1", "ClusterSecretStore");
    let stores: Api<DynamicObject> =
        Api::all_with(world.build.clone(), &ApiResource::from_gvk_with_plural(&kind, "clustersecretstores"));
    let mut store = DynamicObject::new("vault", &ApiResource::from_gvk(&kind));
    store.data = json!({"spec": {}});
    stores.create(&PostParams::default(), &store).await.expect("the store");
    until(&world, "bp", "SecretStoreReady", "False/SecretStoreNotReady").await;
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    stores.patch_status("vault", &PatchParams::default(), &Patch::Merge(ready)).await.expect("its status");
    until(&world, "bp", "Ready", "True/Ready").await;
    stores.delete("vault", &DeleteParams::default()).await.expect("deleted");
    until(&world, "bp", "Ready", "False/SecretStoreNotFound").await;
    world.gateway.disconnect(key);
    until(&world, "bp", "SecretStoreReady", "Unknown/PlaneUnreachable").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plane_with_live_runs_says_so_at_its_end() {
    let mut world = World::without_controllers().await;
    let runs = world.of::<WorkflowRun>();
    for (name, phase) in [("live-1", "Running"), ("live-2", "Running"), ("over", "Succeeded")] {
        let run = json!({"apiVersion": "openchoreo.dev/v1alpha1", "kind": "WorkflowRun",
            "metadata": {"name": name, "namespace": "org"}, "spec": {"workflow": {"name": "w"}}});
        world.create::<WorkflowRun>(run).await;
        let reference = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": name});
        let ended = (phase == "Succeeded").then_some("2026-01-01T00:00:00Z");
        let status = json!({"status": {"phase": phase, "completedAt": ended, "runReference": reference, "buildPlane":
            {"kind": "BuildPlane", "namespace": cluster::org(), "name": "bp", "planeID": "bp"}}});
        runs.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.expect("its status");
    }
    world.start_controllers();
    world.create::<BuildPlane>(plane("bp", &json!({"clusterAgent": {"clientCA": {"value": ca()}}}))).await;
    until(&world, "bp", "AgentConnected", "False/NoAgentConnected").await;
    world.of::<BuildPlane>().delete("bp", &DeleteParams::default()).await.expect("deleted");
    eventually("the plane is gone", async || {
        world.of::<BuildPlane>().get_opt("bp").await.expect("an answer").is_none().then_some(())
    })
    .await;
    let note = eventually("an event tells of its runs", async || {
        let fields = ListParams::default().fields("involvedObject.name=bp");
        let events = world.of::<Event>().list(&fields).await.expect("the events");
        events.items.into_iter().find(|e| e.reason.as_deref() == Some("DeletedWithLiveRuns"))?.message
    })
    .await;
    assert!(note.starts_with("2 WorkflowRuns are live"), "{note}");
}

/// Why the API refuses an object; none where it takes it.
async fn refused<K>(world: &World, spec: &Value) -> Option<String>
where
    K: Resource<DynamicType = ()>,
{
    let kind = ApiResource::erase::<K>(&());
    let is_cluster_scoped = K::kind(&()).starts_with("Cluster");
    let api: Api<DynamicObject> = if is_cluster_scoped {
        Api::all_with(world.control.clone(), &kind)
    } else {
        Api::namespaced_with(world.control.clone(), &cluster::org(), &kind)
    };
    let mut object = DynamicObject::new("probe", &kind);
    object.data = json!({"spec": spec});
    let params = PostParams { dry_run: true, ..PostParams::default() };
    api.create(&params, &object).await.err().map(|error| error.to_string())
}

/// The rules of the API references, on every plane kind.
async fn check_kind<K>(world: &World, required: &Value)
where
    K: Resource<DynamicType = ()>,
{
    let kind = K::kind(&());
    let is_cluster_scoped = kind.starts_with("Cluster");
    let refers = !kind.contains("Observability");
    let with = |change: &Value| {
        let mut spec = required.clone();
        spec["clusterAgent"] = json!({"clientCA": {"value": "text that is no certificate"}});
        for (name, value) in change.as_object().into_iter().flatten() {
            spec[name] = value.clone();
        }
        spec
    };
    let by_secret = |reference: Value| json!({"clusterAgent": {"clientCA": {"secretRef": reference}}});
    let here = json!({"name": "s", "key": "ca.crt"});
    let there = json!({"name": "s", "key": "ca.crt", "namespace": "openchoreo-system"});
    let obs = |reference: Value| json!({"observabilityPlaneRef": reference});
    let own = if is_cluster_scoped { "ClusterObservabilityPlane" } else { "ObservabilityPlane" };
    let mut table = vec![
        (json!({}), None),
        (json!({"planeID": "us-west-2"}), None),
        (json!({"planeID": "a".repeat(63)}), None),
        (json!({"planeID": "a".repeat(64)}), Some("planeID")),
        (json!({"planeID": "-a"}), Some("planeID")),
        (json!({"planeID": "A"}), Some("planeID")),
        (json!({"clusterAgent": null}), Some("clusterAgent")),
        (json!({"clusterAgent": {}}), Some("clientCA")),
        (json!({"clusterAgent": {"clientCA": {}}}), Some("either value or secretRef")),
        (json!({"clusterAgent": {"clientCA": {"value": ""}}}), Some("either value or secretRef")),
        (json!({"clusterAgent": {"clientCA": {"value": "x", "secretRef": there}}}), None),
        (by_secret(here), is_cluster_scoped.then_some("secretRef.namespace is required")),
        (by_secret(there), None),
        (by_secret(json!({"name": "s", "namespace": "n"})), Some("key")),
        (by_secret(json!({"key": "k", "namespace": "n"})), Some("name")),
    ];
    if refers {
        table.extend([
            (json!({"secretStoreRef": {"name": "vault-backend"}}), None),
            (json!({"secretStoreRef": {}}), Some("name")),
            (obs(json!({"name": "o"})), None),
            (obs(json!({"kind": own, "name": "o"})), None),
            (obs(json!({"kind": "ClusterObservabilityPlane", "name": "o"})), None),
            (obs(json!({"kind": "ObservabilityPlane", "name": "o"})), is_cluster_scoped.then_some("kind")),
            (obs(json!({"kind": "Pod", "name": "o"})), Some("kind")),
            (obs(json!({"kind": own})), Some("name")),
        ]);
    } else {
        table.push((json!({"observerURL": null}), Some("observerURL")));
    }
    for (change, expected) in table {
        let refused = refused::<K>(world, &with(&change)).await;
        match (&refused, expected) {
            (None, None) => {}
            (Some(error), Some(part)) if error.contains(part) => {}
            _ => panic!("{kind} {change}: {refused:?} instead of {expected:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_plane_kind_takes_and_refuses_what_the_references_say() {
    let world = World::without_controllers().await;
    let nothing = json!({});
    let observer = json!({"observerURL": "https://observer"});
    check_kind::<BuildPlane>(&world, &nothing).await;
    check_kind::<ClusterBuildPlane>(&world, &nothing).await;
    check_kind::<DataPlane>(&world, &nothing).await;
    check_kind::<ClusterDataPlane>(&world, &nothing).await;
    check_kind::<ObservabilityPlane>(&world, &observer).await;
    check_kind::<ClusterObservabilityPlane>(&world, &observer).await;
}

/// All kinds go through the same steps.
#[tokio::test(flavor = "multi_thread")]
async fn every_plane_kind_is_told_of_its_agents() {
    let world = World::new().await;
    let spec = json!({"clusterAgent": {"clientCA": {"value": ca()}}, "observerURL": "https://observer"});
    let kinds = BTreeMap::from([
        ("DataPlane", "dataplane"),
        ("ClusterDataPlane", "dataplane"),
        ("ObservabilityPlane", "observabilityplane"),
        ("ClusterObservabilityPlane", "observabilityplane"),
        ("ClusterBuildPlane", "buildplane"),
    ]);
    for (kind, plane_type) in kinds {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("openchoreo.dev", "v1alpha1", kind));
        let is_cluster_scoped = kind.kind.starts_with("Cluster");
        let name = kind.kind.to_lowercase();
        let (api, scope): (Api<DynamicObject>, _) = if is_cluster_scoped {
            (Api::all_with(world.control.clone(), &kind), "_cluster")
        } else {
            (Api::namespaced_with(world.control.clone(), &cluster::org(), &kind), "org")
        };
        let mut object = DynamicObject::new(&name, &kind);
        object.data = json!({"spec": spec});
        api.create(&PostParams::default(), &object).await.expect("created");
        let key = format!("{plane_type}/{name}/{scope}/{name}");
        eventually(&format!("{name} is registered"), async || world.gateway.registered(&key)).await;
        world.gateway.connect(&key);
        eventually(&format!("{name} is ready"), async || {
            let status = api.get(&name).await.expect("the plane").data["status"].take();
            let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
            let is_ready = conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True");
            let is_observed = conditions.iter().all(|c| c["observedGeneration"] == 1);
            (is_ready && is_observed && status["agentConnection"]["agents"][0]["instance"] == "agent-1")
                .then_some(())
        })
        .await;
        api.delete(&name, &DeleteParams::default()).await.expect("deleted");
    }
}
