use std::collections::BTreeMap;

use buildplane_api::plane::PlaneStatus;
use buildplane_api::{BuildPlane, ClusterBuildPlane, ObservabilityPlane};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::world::{World, eventually, told};

pub(crate) fn ca() -> String {
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().expect("a key");
    params.self_signed(&key).expect("a certificate").pem()
}

pub(crate) fn plane(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "openchoreo.dev/v1alpha1", "kind": "BuildPlane",
        "metadata": {"name": name, "namespace": "org"}, "spec": spec})
}

fn inline(pem: &str) -> Value {
    json!({"clusterAgent": {"clientCA": {"value": pem}}})
}

fn by_secret() -> Value {
    json!({"clusterAgent": {"clientCA": {"secretRef": {"name": "agent-ca", "key": "ca.crt"}}}})
}

async fn status(world: &World, name: &str) -> PlaneStatus {
    world.of::<BuildPlane>().get(name).await.expect("the plane").status.unwrap_or_default()
}

/// Waits until a condition of a plane reads as expected.
pub(crate) async fn until(world: &World, name: &str, type_: &str, expected: &str) -> PlaneStatus {
    eventually(&format!("{name} has {type_}={expected}"), async || {
        let status = status(world, name).await;
        (told(&status.conditions, type_) == expected).then_some(status)
    })
    .await
}

fn secret(pem: &str) -> Secret {
    Secret {
        metadata: ObjectMeta { name: Some("agent-ca".into()), ..ObjectMeta::default() },
        data: Some(BTreeMap::from([("ca.crt".to_owned(), ByteString(pem.as_bytes().to_vec()))])),
        ..Secret::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plane_is_ready_while_its_agent_is_connected() {
    let world = World::new().await;
    let key = "buildplane/shared/org/bp";
    let mut spec = inline(&ca());
    spec["planeID"] = "shared".into();
    world.create::<BuildPlane>(plane("bp", &spec)).await;

    let before = until(&world, "bp", "AgentConnected", "False/NoAgentConnected").await;
    assert_eq!(before.plane_id.as_deref(), Some("shared"));
    assert_eq!(told(&before.conditions, "ClientCAValid"), "True/CertificatesValid");
    assert_eq!(told(&before.conditions, "Created"), "True/BuildPlaneCreated");
    assert_eq!(told(&before.conditions, "ObservabilityPlaneResolved"), "True/NotConfigured");
    assert!(world.gateway.registered(key).is_some_and(|pem| pem.contains("BEGIN CERTIFICATE")));

    world.gateway.connect(key);
    let connected = until(&world, "bp", "Ready", "True/Ready").await;
    let connection = connected.agent_connection.expect("told");
    assert_eq!((connection.connected, connection.connected_agents), (true, 1));
    assert!(connection.last_connected_time.is_some());

    world.gateway.disconnect(key);
    let lost = until(&world, "bp", "Ready", "False/NoAgentConnected").await;
    assert!(lost.agent_connection.expect("told").last_disconnected_time.is_some());

    world.gateway.refuse("shared", "no certificate authority of this plane signed it");
    let refused = until(&world, "bp", "AgentConnected", "False/AgentRefused").await;
    let message = &refused.conditions.iter().find(|c| c.type_ == "AgentConnected").expect("told").message;
    assert!(message.contains("no certificate authority"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fix_takes_effect_without_touching_the_plane() {
    let world = World::new().await;
    let secrets = world.of::<Secret>();
    let mut spec = by_secret();
    spec["observabilityPlaneRef"] = json!({"name": "obs"});
    world.create::<BuildPlane>(plane("bp", &spec)).await;
    let status = until(&world, "bp", "ClientCAValid", "False/SecretNotFound").await;
    assert_eq!(told(&status.conditions, "ObservabilityPlaneResolved"), "False/ObservabilityPlaneNotFound");
    assert_eq!(world.gateway.registered("buildplane/bp/org/bp"), None);

    secrets.create(&PostParams::default(), &secret("not a certificate")).await.expect("the Secret");
    until(&world, "bp", "ClientCAValid", "False/InvalidCertificate").await;
    let good = json!({"stringData": {"ca.crt": ca()}});
    secrets.patch("agent-ca", &PatchParams::default(), &Patch::Merge(good)).await.expect("the Secret");
    until(&world, "bp", "ClientCAValid", "True/CertificatesValid").await;
    assert!(world.gateway.registered("buildplane/bp/org/bp").is_some());

    let obs = json!({"apiVersion": "openchoreo.dev/v1alpha1", "kind": "ObservabilityPlane",
        "metadata": {"name": "obs", "namespace": "org"},
        "spec": {"clusterAgent": {"clientCA": {"value": ca()}}, "observerURL": "https://observer"}});
    world.create::<ObservabilityPlane>(obs).await;
    until(&world, "bp", "ObservabilityPlaneResolved", "True/Resolved").await;

    secrets.delete("agent-ca", &DeleteParams::default()).await.expect("the Secret");
    until(&world, "bp", "ClientCAValid", "False/SecretNotFound").await;
    eventually("the CA is revoked", async || {
        world.gateway.registered("buildplane/bp/org/bp").is_none().then_some(())
    })
    .await;
}

/// As parts of a path these would ask for something else than what they stand for.
#[tokio::test(flavor = "multi_thread")]
async fn a_path_in_place_of_a_name_names_nothing() {
    let world = World::new().await;
    for (index, name) in
        ["../../other/secrets/agent-ca", "agent-ca?watch=true", "agent-ca/status", ".."].iter().enumerate()
    {
        let mut spec = by_secret();
        spec["clusterAgent"]["clientCA"]["secretRef"]["name"] = json!(name);
        let plane_name = format!("bp-{index}");
        world.create::<BuildPlane>(plane(&plane_name, &spec)).await;
        until(&world, &plane_name, "ClientCAValid", "False/SecretNotFound").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_restarts_is_told_everything_again() {
    let world = World::new().await;
    let key = "buildplane/bp/org/bp";
    world.create::<BuildPlane>(plane("bp", &inline(&ca()))).await;
    eventually("the plane is registered", async || world.gateway.registered(key)).await;
    world.gateway.restart();
    eventually("the plane is registered again", async || world.gateway.registered(key)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_plane_id_moves_the_registration() {
    let world = World::new().await;
    world.create::<BuildPlane>(plane("bp", &inline(&ca()))).await;
    eventually("the plane is registered", async || world.gateway.registered("buildplane/bp/org/bp")).await;
    let patch = Patch::Merge(json!({"spec": {"planeID": "other"}}));
    world.of::<BuildPlane>().patch("bp", &PatchParams::default(), &patch).await.expect("the plane");
    eventually("it is registered there", async || world.gateway.registered("buildplane/other/org/bp")).await;
    eventually("and no longer here", async || {
        world.gateway.registered("buildplane/bp/org/bp").is_none().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_plane_is_forgotten() {
    let world = World::new().await;
    let cluster = json!({"apiVersion": "openchoreo.dev/v1alpha1", "kind": "ClusterBuildPlane",
        "metadata": {"name": "shared"}, "spec": inline(&ca())});
    world.create::<ClusterBuildPlane>(cluster).await;
    let key = "buildplane/shared/_cluster/shared";
    eventually("the plane is registered", async || world.gateway.registered(key)).await;
    let api = Api::<ClusterBuildPlane>::all(world.control.clone());
    eventually("its status is told", async || api.get("shared").await.expect("the plane").status).await;
    api.delete("shared", &DeleteParams::default()).await.expect("deleted");
    eventually("the plane is gone", async || {
        api.get_opt("shared").await.expect("an answer").is_none().then_some(())
    })
    .await;
    assert_eq!(world.gateway.registered(key), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_away_is_told_and_holds_up_nothing() {
    let mut world = World::without_controllers().await;
    world.lose_the_gateway();
    world.start_controllers();
    world.create::<BuildPlane>(plane("bp", &inline(&ca()))).await;
    let status = until(&world, "bp", "AgentConnected", "Unknown/GatewayUnreachable").await;
    assert_eq!(told(&status.conditions, "ClientCAValid"), "True/CertificatesValid");
    assert_eq!(told(&status.conditions, "Ready"), "Unknown/GatewayUnreachable");
    world.of::<BuildPlane>().delete("bp", &DeleteParams::default()).await.expect("deleted");
    eventually("the plane is gone", async || {
        world.of::<BuildPlane>().get_opt("bp").await.expect("an answer").is_none().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_schema_refuses() {
    let world = World::without_controllers().await;
    let create = async |manifest: Value, cluster: bool| -> Option<String> {
        if cluster {
            let object: ClusterBuildPlane =
                serde_json::from_value(crate::cluster::resolved(manifest)).expect("an object");
            let api = Api::<ClusterBuildPlane>::all(world.control.clone());
            api.create(&PostParams::default(), &object).await.err().map(|error| error.to_string())
        } else {
            let object: BuildPlane =
                serde_json::from_value(crate::cluster::resolved(manifest)).expect("an object");
            world
                .of::<BuildPlane>()
                .create(&PostParams::default(), &object)
                .await
                .err()
                .map(|e| e.to_string())
        }
    };
    let cluster = |spec: Value| {
        json!({"apiVersion": "openchoreo.dev/v1alpha1", "kind": "ClusterBuildPlane", "metadata": {"name": "c"},
            "spec": spec})
    };
    let neither = create(plane("a", &json!({"clusterAgent": {"clientCA": {}}})), false).await;
    assert!(neither.as_deref().is_some_and(|e| e.contains("either value or secretRef")), "{neither:?}");
    let bad_id =
        create(plane("b", &json!({"planeID": "A_b", "clusterAgent": {"clientCA": {"value": "x"}}})), false);
    let bad_id = bad_id.await;
    assert!(bad_id.as_deref().is_some_and(|e| e.contains("planeID")), "{bad_id:?}");
    let no_namespace = create(cluster(by_secret()), true).await;
    assert!(
        no_namespace.as_deref().is_some_and(|e| e.contains("secretRef.namespace is required")),
        "{no_namespace:?}"
    );
    let text = create(plane("d", &inline("no certificate at all")), false).await;
    assert_eq!(text, None, "text that is no certificate is accepted and told in a condition");
}
