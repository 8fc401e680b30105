//! The controllers with the real gateway and the real agent: trust as an operator sets it up, from Secret to Ready.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use buildplane_agent::{Agent, Config as AgentConfig, ServerCa};
use buildplane_api::plane::PlaneStatus;
use buildplane_api::{BuildPlane, ClusterBuildPlane, PlaneType};
use buildplane_controllers::{Config, Timings};
use buildplane_gateway::{AgentListener, Gateway, InternalListener, Limits, Metrics, Roles};
use buildplane_tls::{AnchorStore, Authority, LeafRequest, ServerIdentity};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, DynamicObject, GroupVersionKind, PostParams};
use kube::core::ApiResource;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::cluster::{self, Cleanup, Cluster, client_config};
use crate::planes::ca;
use crate::world::{eventually, told};

const HOUR: Duration = Duration::from_hours(1);

/// Control plane, gateway and controllers; the build plane is the same cluster.
struct Whole {
    agents: String,
    gateway_ca: Authority,
    // Dropped in this order: nothing may run any more while what is left on a cluster is taken away.
    _running: DropGuard,
    cleanup: Option<Cleanup>,
    cluster: Cluster,
}

fn agents_namespace() -> String {
    format!("{}-agent", cluster::org())
}

impl Whole {
    async fn start() -> Self {
        buildplane_tls::install_crypto();
        let shutdown = CancellationToken::new();
        let mut cleanup = None;
        let cluster = if cluster::is_somebodys() {
            let cluster = Cluster::somebodys().await;
            cluster.install(buildplane_api::crds()).await;
            cluster.refuse_one_in_use().await;
            let namespaces = vec![cluster::org(), cluster::ci(), agents_namespace()];
            cleanup = Some(Cleanup::new(cluster.client.clone(), namespaces));
            cluster
        } else {
            let cluster = Cluster::own(&shutdown).await;
            cluster.install(buildplane_api::crds()).await;
            cluster
        };
        for namespace in [cluster::org(), agents_namespace()] {
            cluster.create_namespace(&namespace).await;
        }
        let [gateway_ca, callers_ca] =
            ["gateway", "control plane"].map(|name| Authority::generate(name, HOUR).expect("an authority"));
        let listen = async || TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (agents, internal) = (listen().await, listen().await);
        let url = |scheme: &str, listener: &TcpListener| {
            format!("{scheme}://{}", listener.local_addr().expect("an address"))
        };
        let (agents_url, internal_url) = (url("wss", &agents) + "/ws", url("https", &internal));
        let loopback = "127.0.0.1".parse().expect("an address");
        let certified = gateway_ca.issue(LeafRequest::server(&["localhost"], &[loopback], HOUR));
        let identity = ServerIdentity::new(&certified.expect("a certificate"));
        let set = |name: &str| BTreeSet::from([name.to_owned()]);
        let gateway = Gateway::new(buildplane_gateway::Config {
            agents: AgentListener { listener: agents, identity: identity.clone() },
            internal: InternalListener {
                listener: internal,
                identity,
                callers: AnchorStore::new(callers_ca.anchors().expect("anchors")),
                authorizer: Arc::new(Roles { controllers: set("controllers"), users: set("users") }),
                control_plane: None,
            },
            health: None,
            hosts: Vec::new(),
            tunnel: buildplane_tunnel::Settings::default(),
            upstream_agents: None,
            limits: Limits { settle: Duration::ZERO, ..Limits::default() },
            metrics: Metrics::default(),
            peers: None,
            advertise: None,
        });
        tokio::spawn(gateway.expect("a gateway").run(shutdown.clone()));
        let gateway = client_config(&internal_url, &gateway_ca, &callers_ca, "controllers");
        let mut config = Config::new(cluster.client.clone(), gateway);
        config.timings = Timings { plane_cleanup: Duration::from_secs(2), ..Timings::default() };
        tokio::spawn(buildplane_controllers::run(config, shutdown.clone()));
        Self { agents: agents_url, gateway_ca, _running: shutdown.drop_guard(), cleanup, cluster }
    }

    /// An agent for a plane id, until the guard is dropped, and the CA it made for itself.
    async fn agent(&self, plane_id: &str) -> (DropGuard, String) {
        let mut config = AgentConfig::new(
            self.agents.parse().expect("an address"),
            ServerCa::Pem(self.gateway_ca.cert_pem().to_owned()),
            (PlaneType::BuildPlane, plane_id.parse().expect("a plane id")),
            self.cluster.config.clone(),
        );
        config.namespace = agents_namespace();
        let stop = CancellationToken::new();
        tokio::spawn(Agent::new(config).expect("an agent").run(stop.clone()));
        let secrets = Api::<Secret>::namespaced(self.cluster.client.clone(), &agents_namespace());
        let made = eventually("the agent makes its Secret", async || {
            let secret = secrets.get_opt("cluster-agent-tls").await.expect("an answer")?;
            secret.data?.get("ca.crt").map(|ca| String::from_utf8(ca.0.clone()).expect("PEM"))
        });
        (stop.drop_guard(), made.await)
    }

    fn planes(&self) -> Api<BuildPlane> {
        Api::namespaced(self.cluster.client.clone(), &cluster::org())
    }

    async fn create(&self, name: &str, spec: Value) {
        let manifest = json!({"apiVersion": "openchoreo.dev/v1alpha1", "kind": "BuildPlane",
            "metadata": {"name": name}, "spec": spec});
        let plane = serde_json::from_value(cluster::resolved(manifest)).expect("a plane");
        self.planes().create(&PostParams::default(), &plane).await.unwrap_or_else(|e| panic!("{name}: {e}"));
    }

    async fn until(&self, name: &str, type_: &str, expected: &str) -> PlaneStatus {
        eventually(&format!("{name} has {type_}={expected}"), async || {
            let status = self.planes().get(name).await.expect("the plane").status.unwrap_or_default();
            (told(&status.conditions, type_) == expected).then_some(status)
        })
        .await
    }
}

fn client_ca(plane_id: &str, client_ca: &Value) -> Value {
    json!({"planeID": plane_id, "clusterAgent": {"clientCA": client_ca}})
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_believed_by_every_form_of_its_ca_and_by_no_other() {
    let whole = Whole::start().await;
    let (agent, mine) = whole.agent("shared").await;
    let other = ca();
    let secrets = Api::<Secret>::namespaced(whole.cluster.client.clone(), &cluster::org());
    let secret = json!({"metadata": {"name": "agent-ca"}, "stringData": {"ca.crt": mine}});
    let secret = serde_json::from_value(secret).expect("a Secret");
    secrets.create(&PostParams::default(), &secret).await.expect("the Secret");
    for (name, form) in [
        ("pem", json!({"value": mine})),
        ("encoded", json!({"value": STANDARD.encode(&mine)})),
        ("bundle", json!({"value": format!("{other}{mine}")})),
        ("by-secret", json!({"secretRef": {"name": "agent-ca", "key": "ca.crt"}})),
        ("by-secret-there", json!({"secretRef": {"name": "agent-ca", "key": "ca.crt", "namespace": "org"}})),
    ] {
        whole.create(name, client_ca("shared", &form)).await;
        let ready = whole.until(name, "Ready", "True/Ready").await;
        assert_eq!(ready.plane_id.as_deref(), Some("shared"));
        assert_eq!(ready.agent_connection.expect("told").connected_agents, 1, "{name}");
    }
    whole.create("other", client_ca("shared", &json!({"value": other}))).await;
    let other = whole.until("other", "ClientCAValid", "True/CertificatesValid").await;
    assert!(told(&other.conditions, "AgentConnected").starts_with("False/"), "{other:?}");
    whole.create("text", client_ca("shared", &json!({"value": "no certificate"}))).await;
    whole.until("text", "ClientCAValid", "False/InvalidCertificate").await;

    // One tenant's end is none of the others'.
    whole.planes().delete("pem", &DeleteParams::default()).await.expect("deleted");
    eventually("the plane is gone", async || {
        whole.planes().get_opt("pem").await.expect("an answer").is_none().then_some(())
    })
    .await;
    whole.until("bundle", "Ready", "True/Ready").await;
    drop(agent);
    for name in ["encoded", "bundle", "by-secret"] {
        let lost = whole.until(name, "Ready", "False/NoAgentConnected").await;
        assert!(lost.agent_connection.expect("told").last_disconnected_time.is_some(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plane_without_an_id_goes_by_its_name() {
    let whole = Whole::start().await;
    let (_agent, mine) = whole.agent("nameless").await;
    whole.create("nameless", json!({"clusterAgent": {"clientCA": {"value": mine}}})).await;
    let ready = whole.until("nameless", "Ready", "True/Ready").await;
    assert_eq!(ready.plane_id.as_deref(), Some("nameless"));
    let spec = whole.planes().get("nameless").await.expect("the plane").spec;
    assert_eq!(
        serde_json::to_value(spec).expect("serializes").get("planeID"),
        None,
        "only the status tells it"
    );
}

/// The manifests that the documentation shows, as they are but for their namespaces.
#[tokio::test(flavor = "multi_thread")]
async fn every_example_is_taken_and_judged() {
    let whole = Whole::start().await;
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/planes");
    let mut n_examples = 0;
    for file in std::fs::read_dir(directory).expect("the examples") {
        let path = file.expect("a file").path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("text");
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).expect("YAML");
        for mut example in documents.into_iter().filter(Value::is_object) {
            n_examples += 1;
            let kind = example["kind"].as_str().expect("a kind").to_owned();
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("openchoreo.dev", "v1alpha1", &kind));
            let client = whole.cluster.client.clone();
            let api: Api<DynamicObject> = if kind.starts_with("Cluster") {
                // Its name may be taken on a cluster that is not this test's alone.
                example["metadata"]["name"] = format!("{}-{n_examples}", cluster::org()).into();
                Api::all_with(client, &resource)
            } else {
                example["metadata"]["namespace"] = cluster::org().into();
                Api::namespaced_with(client, &cluster::org(), &resource)
            };
            let name = example["metadata"]["name"].as_str().expect("a name").to_owned();
            if let Some(cleanup) = whole.cleanup.as_ref().filter(|_| kind.starts_with("Cluster")) {
                cleanup.remember(resource, &name);
            }
            let object = serde_json::from_value(example).expect("an object");
            api.create(&PostParams::default(), &object)
                .await
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            eventually(&format!("{kind} {name} is judged"), async || {
                let found = api.get(&name).await.expect("the plane");
                let conditions = found.data["status"]["conditions"].as_array()?.clone();
                conditions.iter().any(|condition| condition["type"] == "ClientCAValid").then_some(())
            })
            .await;
        }
    }
    assert!(n_examples >= 8, "{n_examples}");
    let cluster_planes = Api::<ClusterBuildPlane>::all(whole.cluster.client.clone());
    assert!(!cluster_planes.list(&kube::api::ListParams::default()).await.expect("a list").items.is_empty());
}
