//! Two API servers, a gateway and the controllers.

use std::time::Duration;

use axum::Router;
use buildplane_apiserver::{Identity, Server};
use buildplane_controllers::{Config, Timings};
use buildplane_store::Store;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, NamespaceResourceScope};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::gateway::FakeGateway;

/// How long anything may take to come about.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub(crate) control: Client,
    pub(crate) build: Client,
    pub(crate) gateway: FakeGateway,
    pub(crate) controllers: CancellationToken,
    shutdown: CancellationToken,
    url: String,
    _guard: DropGuard,
    _directories: [TempDir; 2],
}

impl World {
    /// Everything runs, and namespace `org` exists.
    pub(crate) async fn new() -> Self {
        let mut world = Self::without_controllers().await;
        world.start_controllers();
        world
    }

    pub(crate) async fn without_controllers() -> Self {
        buildplane_tls::install_crypto();
        let shutdown = CancellationToken::new();
        let (control_directory, control) = server(&shutdown).await;
        let (build_directory, build) = server(&shutdown).await;
        let control = Client::new(control, "default");
        let gateway = FakeGateway::new(build.clone());
        let build = Client::new(build, "default");
        install(&control, buildplane_api::crds()).await;
        install(&build, buildplane_argo::crds()).await;
        let mut org = Namespace::default();
        org.metadata.name = Some("org".into());
        Api::<Namespace>::all(control.clone())
            .create(&PostParams::default(), &org)
            .await
            .expect("namespace org");
        let url = gateway.serve(shutdown.clone()).await;
        Self {
            control,
            build,
            gateway,
            controllers: CancellationToken::new(),
            url,
            _guard: shutdown.clone().drop_guard(),
            shutdown,
            _directories: [control_directory, build_directory],
        }
    }

    /// The controllers that start next find nobody where the gateway should be.
    pub(crate) fn lose_the_gateway(&mut self) {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        self.url = format!("http://{}", taken.local_addr().expect("an address"));
    }

    pub(crate) fn start_controllers(&mut self) {
        self.controllers = self.shutdown.child_token();
        let gateway = kube::Config::new(self.url.parse().expect("an address"));
        let mut config = Config::new(self.control.clone(), gateway);
        config.timings = Timings {
            run_cleanup: Duration::from_secs(2),
            plane_cleanup: Duration::from_secs(2),
            ..Timings::default()
        };
        tokio::spawn(buildplane_controllers::run(config, self.controllers.clone()));
    }

    /// An object of the control plane, made from a manifest.
    pub(crate) async fn create<K>(&self, manifest: Value) -> K
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
    {
        let object: K = serde_json::from_value(manifest).expect("an object");
        let kind = ApiResource::erase::<K>(&());
        let url = K::url_path(&(), object.meta().namespace.as_deref());
        let request = kube::core::Request::new(url)
            .create(&PostParams::default(), serde_json::to_vec(&object).expect("serializes"))
            .expect("a request");
        self.control.request(request).await.unwrap_or_else(|error| panic!("create {}: {error}", kind.kind))
    }

    pub(crate) fn of<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.control.clone(), "org")
    }

    /// Argo Workflows on the build plane.
    pub(crate) fn workflows(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Workflow");
        Api::namespaced_with(self.build.clone(), "openchoreo-ci-org", &ApiResource::from_gvk(&kind))
    }

    /// The engine writes the status of a Workflow.
    pub(crate) async fn engine_says(&self, name: &str, status: &Value) {
        let patch = Patch::Merge(serde_json::json!({"status": status}));
        self.workflows().patch(name, &PatchParams::default(), &patch).await.expect("the Workflow is there");
    }
}

async fn server(shutdown: &CancellationToken) -> (TempDir, Router) {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(directory.path(), buildplane_store::Config::default()).expect("a store");
    let server = Server::new(store, buildplane_apiserver::Config::default()).await.expect("a server");
    let client = server.client(Identity::master("test"));
    let shutdown = shutdown.clone();
    tokio::spawn(async move { server.background(shutdown).await });
    (directory, client)
}

async fn install(client: &Client, crds: Vec<CustomResourceDefinition>) {
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    for crd in crds {
        let name = crd.metadata.name.clone().expect("a name");
        api.create(&PostParams::default(), &crd).await.unwrap_or_else(|error| panic!("CRD {name}: {error}"));
        eventually(&format!("CRD {name} is established"), async || {
            let crd = api.get(&name).await.expect("the CRD");
            let conditions = crd.status.and_then(|status| status.conditions).unwrap_or_default();
            conditions.iter().any(|c| c.type_ == "Established" && c.status == "True").then_some(())
        })
        .await;
    }
}

/// Looks until there is something to see.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "it never came about that {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The conditions of an object as `type=status/reason`.
pub(crate) fn told(conditions: &[Condition], type_: &str) -> String {
    let condition = conditions.iter().find(|condition| condition.type_ == type_);
    condition.map(|c| format!("{}/{}", c.status, c.reason)).unwrap_or_default()
}
