//! Several gateway replicas, and what each of them says.

use buildplane_api::BuildPlane;
use buildplane_api::plane::PlaneStatus;
use k8s_openapi::api::core::v1::Event;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::gateway::FakeGateway;
use crate::planes::{ca, plane, until};
use crate::world::{World, eventually};

fn shared(pem: &str) -> Value {
    json!({"planeID": "shared", "clusterAgent": {"clientCA": {"value": pem}}})
}

fn message(status: &PlaneStatus, type_: &str) -> String {
    let condition = status.conditions.iter().find(|condition| condition.type_ == type_);
    condition.map(|condition| condition.message.clone()).unwrap_or_default()
}

/// The reasons of the events about a plane.
async fn events(world: &World, name: &str) -> Vec<String> {
    let fields = ListParams::default().fields(&format!("involvedObject.name={name}"));
    let events = world.of::<Event>().list(&fields).await.expect("the events");
    events.items.into_iter().filter_map(|event| event.reason).collect()
}

async fn until_event(world: &World, name: &str, reason: &str) {
    eventually(&format!("{name} has an event {reason}"), async || {
        events(world, name).await.iter().any(|found| found == reason).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_is_told_and_followed() {
    const KEY: &str = "buildplane/shared/org/bp";
    let world = World::without_controllers().await;
    let second = FakeGateway::new(axum::Router::new());
    let alive = CancellationToken::new();
    let address = second.serve(alive.clone()).await;
    let names = |url: &str| {
        vec![
            json!({"instance": world.gateway.instance()}),
            json!({"instance": second.instance(), "url": url}),
        ]
    };
    world.gateway.names_replicas(names(&address));
    second.names_replicas(names(&address));
    let mut world = world;
    world.start_controllers();
    world.create::<BuildPlane>(plane("bp", &shared(&ca()))).await;
    eventually("both replicas know the plane", async || {
        (world.gateway.registered(KEY).is_some() && second.registered(KEY).is_some()).then_some(())
    })
    .await;

    // The same agent at both counts once; at one of them is enough.
    second.connect(KEY);
    until(&world, "bp", "Ready", "True/Ready").await;
    world.gateway.connect(KEY);
    second.disconnect(KEY);
    let status = until(&world, "bp", "Ready", "True/Ready").await;
    let connection = status.agent_connection.expect("told");
    assert_eq!((connection.connected_agents, connection.agents.len()), (1, 1));
    assert_eq!(connection.agents[0].version.as_deref(), Some("0.1.0"));
    second.connect(KEY);

    // A replica that comes back has forgotten everything.
    second.restart();
    eventually("the replica is told again", async || second.registered(KEY)).await;

    // One that is gone holds nothing up, and what it said counts no longer.
    world.gateway.disconnect(KEY);
    until(&world, "bp", "Ready", "True/Ready").await;
    alive.cancel();
    second.restart();
    world.gateway.names_replicas(vec![json!({"instance": world.gateway.instance()})]);
    until(&world, "bp", "Ready", "False/NoAgentConnected").await;
    let moved = json!({"spec": {"planeID": "elsewhere"}});
    world
        .of::<BuildPlane>()
        .patch("bp", &PatchParams::default(), &Patch::Merge(moved))
        .await
        .expect("patched");
    eventually("it is registered under its new plane id alone", async || {
        let there = world.gateway.registered("buildplane/elsewhere/org/bp").is_some();
        (there && world.gateway.registered(KEY).is_none()).then_some(())
    })
    .await;
    until_event(&world, "bp", "PlaneIDChanged").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_agents_away_is_told_with_what_to_do() {
    const KEY: &str = "buildplane/shared/org/bp";
    let world = World::new().await;
    world.create::<BuildPlane>(plane("bp", &shared(&ca()))).await;
    until(&world, "bp", "AgentConnected", "False/NoAgentConnected").await;

    world
        .gateway
        .says(KEY, json!({"unadmitted": [{"instance": "a", "version": "1", "message": "not on the list"}]}));
    let status = until(&world, "bp", "Ready", "False/NotAdmittedByPlane").await;
    let told = message(&status, "AgentConnected");
    assert!(
        told.contains(&crate::cluster::named("buildplane/org/bp")) && told.contains("not on the list"),
        "{told}"
    );
    until_event(&world, "bp", "NotAdmittedByPlane").await;

    let at = "2026-01-01T00:00:00Z";
    world
        .gateway
        .says(KEY, json!({"refusal": {"reason": "ClusterConflict", "message": "another", "at": at}}));
    let status = until(&world, "bp", "Ready", "False/ClusterConflict").await;
    assert!(message(&status, "Ready").contains("openchoreo.dev/cluster-id"));

    // An agent is there for somebody else with the same plane id.
    world.gateway.says(KEY, json!({}));
    world.create::<BuildPlane>(plane("other", &shared(&ca()))).await;
    world.gateway.connect("buildplane/shared/org/other");
    let status = until(&world, "bp", "Ready", "False/AgentNotVerified").await;
    assert!(message(&status, "AgentConnected").contains("cluster-agent-tls"));

    // It serves both, and nobody narrowed that.
    let open =
        json!([{"instance": "agent-1", "certificateNotAfter": "2040-01-01T00:00:00Z", "narrowed": false}]);
    world.gateway.says(KEY, json!({"agents": open}));
    world.gateway.connect(KEY);
    until(&world, "bp", "Ready", "True/Ready").await;
    until_event(&world, "bp", "SharedPlaneNotNarrowed").await;

    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24);
    let ending = json!([{"instance": "agent-1", "certificateNotAfter": soon, "narrowed": true}]);
    world.gateway.says(KEY, json!({"agents": ending}));
    until(&world, "bp", "AgentConnected", "True/AgentCertificateExpiring").await;
    until_event(&world, "bp", "AgentCertificateExpiring").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plane_keeps_to_the_cluster_that_served_it_first() {
    const KEY: &str = "buildplane/shared/org/bp";
    let world = World::new().await;
    let api = world.of::<BuildPlane>();
    world.create::<BuildPlane>(plane("bp", &shared(&ca()))).await;
    eventually("the plane is registered", async || world.gateway.registered(KEY)).await;
    assert!(world.gateway.body(KEY).is_some_and(|body| body.get("clusterID").is_none()));
    let pinned = async |to: &str| {
        eventually(&format!("the plane is pinned to {to}"), async || {
            world.gateway.body(KEY).filter(|body| body["clusterID"] == to)
        })
        .await;
        eventually("its status says so", async || {
            let status = api.get("bp").await.expect("the plane").status.unwrap_or_default();
            (status.cluster_id.as_deref() == Some(to)).then_some(())
        })
        .await;
    };
    world.gateway.says(KEY, json!({"clusterID": "first"}));
    world.gateway.connect(KEY);
    pinned("first").await;
    // After a restart of the gateway the plane is bound to the same cluster before any agent can come.
    world.gateway.restart();
    pinned("first").await;

    let named = json!({"metadata": {"annotations": {"openchoreo.dev/cluster-id": "second"}}});
    api.patch("bp", &PatchParams::default(), &Patch::Merge(named)).await.expect("patched");
    pinned("second").await;
    until_event(&world, "bp", "ClusterChanged").await;
    let unnamed =
        json!({"metadata": {"annotations": {"openchoreo.dev/cluster-id": null}}, "spec": shared(&ca())});
    world.gateway.says(KEY, json!({"clusterID": "third"}));
    api.patch("bp", &PatchParams::default(), &Patch::Merge(unnamed)).await.expect("patched");
    pinned("third").await;
    until_event(&world, "bp", "ClientCARotated").await;
}
