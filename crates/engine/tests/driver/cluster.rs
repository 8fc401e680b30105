//! A build cluster in one process: API server, store on disk, definitions, a namespace, a node.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use buildplane_apiserver::{Identity, Server};
use buildplane_argo::{Workflow, WorkflowPhase};
use buildplane_engine::{Config, Engine};
use buildplane_store::Store;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::node::Node;

pub(crate) const NAMESPACE: &str = "ci";
/// How long anything may take. Nothing does; a test that reaches it has failed.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) node: Arc<Node>,
    server: Server,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
    _directory: TempDir,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(directory.path(), buildplane_store::Config::default()).expect("a store");
        let server = Server::new(store, buildplane_apiserver::Config::default()).await.expect("a server");
        let client = client_of(&server);
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let (background, token) = (server.clone(), shutdown.clone());
        tasks.spawn(async move { background.background(token).await });
        let node = Arc::new(Node::default());
        let (running, watched, token) = (node.clone(), client.clone(), shutdown.clone());
        let cluster = Self { client, node, server, shutdown, tasks, _directory: directory };
        cluster.install().await;
        let mut cluster = cluster;
        cluster.tasks.spawn(async move { running.run(watched, token).await });
        cluster
    }

    async fn install(&self) {
        let definitions: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        for definition in buildplane_argo::crds() {
            definitions.create(&PostParams::default(), &definition).await.expect("a definition is accepted");
        }
        for definition in buildplane_argo::crds() {
            let name = definition.metadata.name.expect("definitions have names");
            self.eventually(&format!("{name} is established"), async || {
                let definition = definitions.get(&name).await.expect("it exists");
                let conditions = definition.status.and_then(|status| status.conditions).unwrap_or_default();
                conditions
                    .iter()
                    .any(|condition| condition.type_ == "Established" && condition.status == "True")
            })
            .await;
        }
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let namespace: Namespace = object(&json!({"metadata": {"name": NAMESPACE}}));
        namespaces.create(&PostParams::default(), &namespace).await.expect("a namespace");
    }

    /// Starts an engine that lives as long as the cluster.
    pub(crate) fn engine(&mut self, config: Config) {
        let (client, token) = (self.client.clone(), self.shutdown.clone());
        self.tasks
            .spawn(async move { Engine::new(client, config).run(token).await.expect("the engine runs") });
    }

    /// A client whose changes are counted, and that breaks off at the `at`th.
    pub(crate) fn counted(&self, at: usize, moment: Moment) -> (Client, Counter) {
        let counter = Counter { count: Arc::default(), at, moment, crashed: CancellationToken::new() };
        let service =
            Counted { inner: self.server.client(Identity::master("engine")), counter: counter.clone() };
        (Client::new(service, NAMESPACE), counter)
    }

    pub(crate) fn workflows(&self) -> Api<Workflow> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    pub(crate) async fn submit(&self, name: &str, spec: Value) -> Workflow {
        let workflow: Workflow = object(&json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"name": name}, "spec": spec,
        }));
        self.workflows().create(&PostParams::default(), &workflow).await.expect("a workflow is accepted")
    }

    pub(crate) async fn patch(&self, name: &str, patch: &Value) {
        let parameters = PatchParams::default();
        self.workflows().patch(name, &parameters, &Patch::Merge(patch)).await.expect("a patch is accepted");
    }

    /// Waits for a workflow to end.
    pub(crate) async fn ended(&self, name: &str) -> Workflow {
        self.eventually(&format!("{name} ends"), async || {
            let workflow = self.workflows().get(name).await.expect("the workflow is there");
            phase(&workflow).is_some_and(|phase| phase.is_completed())
        })
        .await;
        self.workflows().get(name).await.expect("the workflow is there")
    }

    /// Waits until something holds.
    pub(crate) async fn eventually(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !holds().await {
            assert!(tokio::time::Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("no task broke off");
        }
    }
}

pub(crate) fn phase(workflow: &Workflow) -> Option<WorkflowPhase> {
    workflow.status().ok()?.phase
}

pub(crate) fn message(workflow: &Workflow) -> String {
    workflow.status().ok().and_then(|status| status.message).unwrap_or_default()
}

/// A workflow of one container with these arguments for the node.
pub(crate) fn one_step(arguments: &[&str]) -> Value {
    json!({"entrypoint": "main", "templates": [{"name": "main", "container": {"image": "i", "args": arguments}}]})
}

fn object<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    T::deserialize(value).expect("the object is well formed")
}

fn client_of(server: &Server) -> Client {
    Client::new(server.client(Identity::master("test")), NAMESPACE)
}

/// Whether a broken-off change has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Before,
    After,
}

/// How many changes were asked for.
#[derive(Clone)]
pub(crate) struct Counter {
    pub(crate) count: Arc<AtomicUsize>,
    at: usize,
    moment: Moment,
    /// Cancelled when the client broke off.
    pub(crate) crashed: CancellationToken,
}

#[derive(Clone)]
struct Counted<S> {
    inner: S,
    counter: Counter,
}

type Request = http::Request<kube::client::Body>;

impl<S> Service<Request> for Counted<S>
where
    S: Service<Request> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: Send,
    S::Error: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let is_change = !matches!(*request.method(), http::Method::GET | http::Method::HEAD);
        let counter = self.counter.clone();
        let count = if is_change { counter.count.fetch_add(1, Ordering::SeqCst) + 1 } else { 0 };
        let breaks = is_change && counter.at != 0 && count >= counter.at;
        let does = !breaks || (count == counter.at && counter.moment == Moment::After);
        let answer = does.then(|| self.inner.call(request));
        Box::pin(async move {
            let answer = match answer {
                Some(answer) => Some(answer.await),
                None => None,
            };
            match answer {
                Some(answer) if !breaks => answer,
                // Nobody hears of it: the process is gone.
                Some(_) | None => {
                    counter.crashed.cancel();
                    std::future::pending().await
                }
            }
        })
    }
}
