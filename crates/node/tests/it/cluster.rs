//! An API server and a node, for one test.

use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use buildplane_apiserver::{Identity, Server};
use buildplane_node::{Config, Logs, Node};
use buildplane_store::Store;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, PersistentVolumeClaim, Pod, Secret};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) const NAMESPACE: &str = "openchoreo-ci-default";

pub(crate) struct Cluster {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) client: Client,
    _background: JoinSet<()>,
}

/// A node that runs; dropped, it is gone without a word, as if killed.
pub(crate) struct RunningNode {
    pub(crate) logs: Logs,
    shutdown: CancellationToken,
    task: JoinSet<()>,
}

impl Cluster {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store"), buildplane_store::Config::default()).unwrap();
        let server = Server::new(store, buildplane_apiserver::Config::default()).await.unwrap();
        let client = Client::new(server.client(Identity::master("test")), "default");
        let mut background = JoinSet::new();
        background.spawn(async move { server.background(CancellationToken::new()).await });
        let cluster = Self { directory, client, _background: background };
        let namespaces = Api::<Namespace>::all(cluster.client.clone());
        namespaces
            .create(&PostParams::default(), &object(json!({"metadata": {"name": NAMESPACE}})))
            .await
            .unwrap();
        cluster
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.directory.path().join("node")
    }

    pub(crate) fn start(&self) -> RunningNode {
        self.start_with(|_| {})
    }

    pub(crate) fn start_with(&self, change: impl FnOnce(&mut Config)) -> RunningNode {
        let mut config = Config::new(self.data_dir());
        config.min_free_bytes = 0;
        change(&mut config);
        let node = Node::new(self.client.clone(), config).unwrap();
        let (logs, shutdown, mut task) = (node.logs(), CancellationToken::new(), JoinSet::new());
        let token = shutdown.clone();
        task.spawn(async move { node.run(token).await.unwrap() });
        RunningNode { logs, shutdown, task }
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    pub(crate) async fn create_secret(&self, name: &str, data: &Value) {
        let secrets = Api::<Secret>::namespaced(self.client.clone(), NAMESPACE);
        let secret = object(json!({"metadata": {"name": name}, "stringData": data}));
        secrets.create(&PostParams::default(), &secret).await.unwrap();
    }

    pub(crate) async fn create_config_map(&self, name: &str, data: &Value) {
        let maps = Api::<ConfigMap>::namespaced(self.client.clone(), NAMESPACE);
        maps.create(&PostParams::default(), &object(json!({"metadata": {"name": name}, "data": data})))
            .await
            .unwrap();
    }

    pub(crate) fn claims(&self) -> Api<PersistentVolumeClaim> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    pub(crate) async fn create_claim(&self, name: &str) -> PersistentVolumeClaim {
        let claim = object(json!({
            "metadata": {"name": name},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }));
        self.claims().create(&PostParams::default(), &claim).await.unwrap()
    }

    pub(crate) async fn create_pod(&self, pod: Value) -> Pod {
        self.pods().create(&PostParams::default(), &object(pod)).await.unwrap()
    }

    pub(crate) async fn delete_pod(&self, name: &str) {
        self.pods().delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// Waits until the Pod's status is as wanted, and gives the Pod as JSON.
    pub(crate) async fn wait_for(&self, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let pod = serde_json::to_value(self.pods().get(name).await.unwrap()).unwrap();
            if wanted(&pod["status"]) {
                return pod;
            }
            assert!(Instant::now() < deadline, "pod {name} never was {what}: {:#}", pod["status"]);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn wait_for_phase(&self, name: &str, phase: &str) -> Value {
        self.wait_for(name, phase, |status| status["phase"] == phase).await
    }

    pub(crate) async fn wait_for_end(&self, name: &str) -> Value {
        self.wait_for(name, "at its end", |status| {
            status["phase"] == "Succeeded" || status["phase"] == "Failed"
        })
        .await
    }
}

impl RunningNode {
    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        self.task.join_next().await.unwrap().unwrap();
    }

    pub(crate) async fn log(&self, pod: &Value, options: buildplane_node::LogOptions) -> String {
        use futures::TryStreamExt as _;
        let log = self.logs.open(uid(pod), options).await.unwrap();
        let bytes: Vec<u8> = log.map_ok(|bytes| bytes.to_vec()).try_concat().await.unwrap();
        String::from_utf8(bytes).unwrap()
    }
}

pub(crate) fn uid(pod: &Value) -> &str {
    pod["metadata"]["uid"].as_str().unwrap()
}

/// A Pod that runs a shell script.
pub(crate) fn pod(name: &str, script: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "main", "image": "buildplane/tools:1", "command": ["sh", "-c", script]}],
        },
    })
}

pub(crate) fn object<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, check: impl Fn() -> F) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !check().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
