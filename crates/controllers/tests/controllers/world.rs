//! A control plane, a build plane, a gateway and the controllers. Where they are: see `cluster`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use buildplane_controllers::{Config, LeaderElection, Timings};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, NamespaceResourceScope};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::cluster::{self, Cleanup, Cluster};
use crate::gateway::FakeGateway;

/// How long anything may take to come about.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub(crate) control: Client,
    pub(crate) build: Client,
    pub(crate) gateway: FakeGateway,
    pub(crate) controllers: CancellationToken,
    /// The times of the controllers that start next.
    pub(crate) timings: Timings,
    /// What was written to the control plane.
    pub(crate) writes: Arc<Writes>,
    shutdown: CancellationToken,
    url: String,
    // Dropped in this order: nothing may run any more while what is left on a cluster is taken away.
    _guard: DropGuard,
    cleanup: Option<Cleanup>,
    _clusters: Vec<Cluster>,
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
        let clusters = if cluster::is_somebodys() {
            vec![Cluster::somebodys().await]
        } else {
            vec![Cluster::own(&shutdown).await, Cluster::own(&shutdown).await]
        };
        let (control_plane, build_plane) = (&clusters[0], &clusters[clusters.len() - 1]);
        control_plane.install(buildplane_api::crds()).await;
        build_plane.install(buildplane_argo::crds()).await;
        let mut cleanup = None;
        if cluster::is_somebodys() {
            control_plane.refuse_one_in_use().await;
            let namespaces = vec![cluster::org(), cluster::ci()];
            cleanup = Some(Cleanup::new(control_plane.client.clone(), namespaces));
        }
        control_plane.create_namespace(&cluster::org()).await;
        let gateway = FakeGateway::new(build_plane.router.clone());
        let writes = Arc::<Writes>::default();
        let (control, build) = (counted(&control_plane.client, &writes), build_plane.client.clone());
        let url = gateway.serve(shutdown.clone()).await;
        Self {
            control,
            build,
            gateway,
            controllers: shutdown.child_token(),
            timings: Timings {
                run_cleanup: Duration::from_secs(2),
                plane_cleanup: Duration::from_secs(2),
                ..Timings::default()
            },
            writes,
            url,
            _guard: shutdown.clone().drop_guard(),
            shutdown,
            cleanup,
            _clusters: clusters,
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
        config.timings = self.timings;
        tokio::spawn(buildplane_controllers::run(config, self.controllers.clone()));
    }

    /// Asks the controllers to end.
    pub(crate) fn end(&self) {
        self.controllers.cancel();
    }

    /// One of several controller processes. Nothing of it goes on once the task is aborted.
    pub(crate) fn start_candidate(&self, identity: &str) -> tokio::task::JoinHandle<()> {
        let gateway = kube::Config::new(self.url.parse().expect("an address"));
        let mut config = Config::new(self.control.clone(), gateway);
        config.timings = self.timings;
        let mut election = LeaderElection::new(cluster::org(), identity);
        election.lease = Duration::from_secs(2);
        election.renewal = Duration::from_millis(1500);
        election.retry = Duration::from_millis(200);
        config.leader_election = Some(election);
        let shutdown = self.controllers.clone();
        tokio::spawn(async move {
            buildplane_controllers::run(config, shutdown).await.expect("the controllers end well");
        })
    }

    /// An object of the control plane, made from a manifest.
    pub(crate) async fn create<K>(&self, manifest: Value) -> K
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
    {
        let object: K = serde_json::from_value(cluster::resolved(manifest)).expect("an object");
        let kind = ApiResource::erase::<K>(&());
        if let Some(cleanup) = self.cleanup.as_ref().filter(|_| object.meta().namespace.is_none()) {
            cleanup.remember(kind.clone(), object.meta().name.as_deref().expect("a name"));
        }
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
        Api::namespaced(self.control.clone(), &cluster::org())
    }

    /// Argo Workflows on the build plane.
    pub(crate) fn workflows(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Workflow");
        Api::namespaced_with(self.build.clone(), &cluster::ci(), &ApiResource::from_gvk(&kind))
    }

    /// The engine writes the status of a Workflow.
    pub(crate) async fn engine_says(&self, name: &str, status: &Value) {
        let patch = Patch::Merge(serde_json::json!({"status": status}));
        self.workflows().patch(name, &PatchParams::default(), &patch).await.expect("the Workflow is there");
    }
}

/// The writes that an API server was asked for.
#[derive(Default)]
pub(crate) struct Writes {
    n: AtomicUsize,
    n_events: AtomicUsize,
}

impl Writes {
    /// Writes, events aside.
    pub(crate) fn n(&self) -> usize {
        self.n.load(Ordering::Relaxed)
    }

    pub(crate) fn n_events(&self) -> usize {
        self.n_events.load(Ordering::Relaxed)
    }
}

/// A client that counts what it writes.
fn counted(client: &Client, writes: &Arc<Writes>) -> Client {
    let (client, writes) = (client.clone(), Arc::clone(writes));
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        if request.method() != http::Method::GET {
            let is_event = request.uri().path().contains("/events");
            let counter = if is_event { &writes.n_events } else { &writes.n };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let client = client.clone();
        async move { client.send(request).await }
    });
    Client::new(service, "default")
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
