//! The node itself: which Pods there are, and which of them it runs.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::sync::Arc;
use std::time::Duration;

use buildplane_executor::{Bubblewrap, Executor, Missing, VolumeId};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::api::PodRef;
use crate::claims;
use crate::run_pod::{Shared, interrupt, run_pod};
use crate::volumes::Volumes;
use crate::{Config, Error, Logs};

/// Runs the Pods of one Kubernetes API.
pub struct Node {
    client: Client,
    config: Config,
    executor: Arc<dyn Executor>,
    logs: Logs,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Node {
    /// Prepares the data directory. Nothing runs before [`Node::run`].
    pub fn new(client: Client, config: Config) -> Result<Self, Error> {
        let error = |path| move |source| Error::Prepare { path, source };
        let logs = config.data_dir.join("logs");
        for directory in [&config.data_dir, &logs] {
            let builder = &mut fs::DirBuilder::new();
            builder.recursive(true).mode(0o700).create(directory).map_err(error(directory.clone()))?;
            // One that was there already may be open to others.
            let private = fs::Permissions::from_mode(0o700);
            fs::set_permissions(directory, private).map_err(error(directory.clone()))?;
        }
        let volumes = config.data_dir.join("volumes");
        let mut sandboxes = buildplane_executor::Config::new(&volumes);
        sandboxes.shared.clone_from(&config.extra_mounts);
        let executor = Bubblewrap::new(sandboxes).map_err(error(volumes))?;
        Ok(Self { client, config, executor: Arc::new(executor), logs: Logs::new(logs) })
    }

    /// What this machine lacks for running steps; empty when nothing. Makes a sandbox to find out, which takes some
    /// tens of milliseconds and is not lost: the first step uses it.
    pub async fn missing(&self) -> Vec<Missing> {
        self.executor.missing().await
    }

    /// Reads the logs of this node's Pods.
    pub fn logs(&self) -> Logs {
        self.logs.clone()
    }

    /// Runs Pods until `shutdown`, then stops the running ones and writes down that it did.
    ///
    /// A Pod that is found running at the start was started by a former life of this node: it is ended as interrupted,
    /// never started again.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let Self { client, config, executor, logs } = self;
        let volumes = Volumes::new(Arc::clone(&executor));
        if !sweep(&client, &volumes, &shutdown).await {
            return Ok(());
        }
        let shared = Arc::new(Shared {
            places: Semaphore::new(config.max_parallel.max(1)),
            give_up: CancellationToken::new(),
            client,
            config,
            executor,
            volumes,
            logs,
            shutdown,
        });
        Keeper { shared, pods: HashMap::new(), claims: HashMap::new(), tasks: JoinSet::new() }.run().await;
        Ok(())
    }
}

/// Removes what a former life has left: every directory that is not a claim's. No step runs yet.
async fn sweep(client: &Client, volumes: &Volumes, shutdown: &CancellationToken) -> bool {
    let mut pause = Duration::from_millis(50);
    loop {
        let claims = tokio::select! {
            claims = claims::all(client) => claims,
            () = shutdown.cancelled() => return false,
        };
        match claims {
            Ok(kept) => {
                if let Err(error) = volumes.remove_all_but(&kept).await {
                    warn!(%error, "left volumes of a former run behind");
                }
                return true;
            }
            Err(error) => warn!(%error, "failed to list persistentvolumeclaims"),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(5)),
            () = shutdown.cancelled() => return false,
        }
    }
}

/// Follows the Pods and claims of the API; the one task that knows which there are.
struct Keeper {
    shared: Arc<Shared>,
    pods: HashMap<String, Known>,
    claims: HashMap<String, VolumeId>,
    tasks: JoinSet<Option<String>>,
}

/// A Pod this life of the node has seen.
struct Known {
    reference: PodRef,
    /// Stops its task.
    stop: CancellationToken,
    busy: bool,
    state: Wanted,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    There,
    /// Its deletion waits for this node.
    Deleting,
    Gone,
}

impl Keeper {
    async fn run(mut self) {
        let client = self.shared.client.clone();
        let pods = watcher(Api::<Pod>::all(client.clone()), watcher::Config::default()).default_backoff();
        let claims =
            watcher(Api::<PersistentVolumeClaim>::all(client), watcher::Config::default()).default_backoff();
        let (mut pods, mut claims) = (pods.boxed(), claims.boxed());
        let (mut listed_pods, mut listed_claims) = (HashSet::new(), HashSet::new());
        let shutdown = self.shared.shutdown.clone();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(event) = pods.next() => match event {
                    Ok(event) => self.pod_event(event, &mut listed_pods),
                    Err(error) => warn!(%error, "failed to watch pods"),
                },
                Some(event) = claims.next() => match event {
                    Ok(event) => self.claim_event(event, &mut listed_claims),
                    Err(error) => warn!(%error, "failed to watch persistentvolumeclaims"),
                },
                Some(ended) = self.tasks.join_next() => self.task_ended(ended),
            }
        }
        self.stop().await;
    }

    async fn stop(mut self) {
        info!(steps = self.tasks.len(), "stopping");
        let shared = Arc::clone(&self.shared);
        let everything = async {
            while let Some(ended) = self.tasks.join_next().await {
                if let Err(error) = ended {
                    error!(%error, "the task of a pod failed");
                }
            }
        };
        tokio::select! {
            () = everything => {}
            () = async { shared.watch_shutdown().await; std::future::pending().await } => {}
        }
    }

    fn pod_event(&mut self, event: watcher::Event<Pod>, listed: &mut HashSet<String>) {
        match event {
            watcher::Event::Apply(pod) => self.pod_applied(pod),
            watcher::Event::Delete(pod) => self.pod_gone(pod.metadata.uid.as_deref().unwrap_or_default()),
            watcher::Event::Init => listed.clear(),
            watcher::Event::InitApply(pod) => {
                listed.extend(pod.metadata.uid.clone());
                self.pod_applied(pod);
            }
            watcher::Event::InitDone => {
                let gone: Vec<_> = self.pods.keys().filter(|uid| !listed.contains(*uid)).cloned().collect();
                for uid in &gone {
                    self.pod_gone(uid);
                }
                let kept: HashSet<_> = self.pods.keys().cloned().collect();
                if let Err(error) = self.shared.logs.remove_all_but(&kept) {
                    warn!(%error, "left logs of former pods behind");
                }
            }
        }
    }

    fn pod_applied(&mut self, pod: Pod) {
        let Some(reference) = PodRef::of(&pod) else { return };
        let deleting = pod.metadata.deletion_timestamp.is_some();
        if let Some(known) = self.pods.get_mut(&reference.uid) {
            if deleting && known.state == Wanted::There {
                known.state = Wanted::Deleting;
                known.stop.cancel();
                if !known.busy {
                    self.let_go(&reference);
                }
            }
            return;
        }
        let phase = pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
        let stop = self.shared.shutdown.child_token();
        let state = if deleting { Wanted::Deleting } else { Wanted::There };
        let shared = Arc::clone(&self.shared);
        let uid = reference.uid.clone();
        let busy = match phase.as_str() {
            "" | "Pending" if !deleting => {
                let stop = stop.clone();
                let task = async move {
                    run_pod(&shared, pod, &stop).await;
                    Some(uid)
                };
                self.tasks.spawn(task);
                true
            }
            "Running" | "Unknown" => {
                let task = async move {
                    interrupt(&shared, &pod).await;
                    Some(uid)
                };
                self.tasks.spawn(task);
                true
            }
            _ => false,
        };
        if deleting && !busy {
            self.let_go(&reference);
        }
        self.pods.insert(reference.uid.clone(), Known { reference, stop, busy, state });
    }

    fn pod_gone(&mut self, uid: &str) {
        let Some(known) = self.pods.get_mut(uid) else { return };
        known.state = Wanted::Gone;
        known.stop.cancel();
        if !known.busy {
            self.forget(uid);
        }
    }

    /// The Pod's object has gone and its step has ended: its log goes too.
    fn forget(&mut self, uid: &str) {
        self.pods.remove(uid);
        if let Err(error) = self.shared.logs.remove(uid) {
            warn!(uid, %error, "left the log of a pod behind");
        }
    }

    fn let_go(&mut self, reference: &PodRef) {
        let (client, reference) = (self.shared.client.clone(), reference.clone());
        self.tasks.spawn(async move {
            reference.finish_deletion(&client).await;
            None
        });
    }

    fn task_ended(&mut self, ended: Result<Option<String>, tokio::task::JoinError>) {
        let uid = match ended {
            Ok(Some(uid)) => uid,
            Ok(None) => return,
            Err(error) => {
                error!(%error, "the task of a pod failed");
                return;
            }
        };
        let Some(known) = self.pods.get_mut(&uid) else { return };
        known.busy = false;
        match known.state {
            Wanted::There => {}
            Wanted::Deleting => {
                let reference = known.reference.clone();
                self.let_go(&reference);
            }
            Wanted::Gone => self.forget(&uid),
        }
    }

    fn claim_event(&mut self, event: watcher::Event<PersistentVolumeClaim>, listed: &mut HashSet<String>) {
        match event {
            watcher::Event::Apply(claim) => self.claim_applied(claim),
            watcher::Event::Delete(claim) => {
                self.claim_gone(claim.metadata.uid.as_deref().unwrap_or_default());
            }
            watcher::Event::Init => listed.clear(),
            watcher::Event::InitApply(claim) => {
                listed.extend(claim.metadata.uid.clone());
                self.claim_applied(claim);
            }
            watcher::Event::InitDone => {
                let gone: Vec<_> = self.claims.keys().filter(|uid| !listed.contains(*uid)).cloned().collect();
                for uid in &gone {
                    self.claim_gone(uid);
                }
            }
        }
    }

    fn claim_applied(&mut self, claim: PersistentVolumeClaim) {
        if let (Some(uid), Some(id)) = (claim.metadata.uid.clone(), claims::volume_of(&claim)) {
            self.claims.insert(uid, id);
            let (client, volumes) = (self.shared.client.clone(), self.shared.volumes.clone());
            self.tasks.spawn(async move {
                claims::bind(client, volumes, claim).await;
                None
            });
        }
    }

    fn claim_gone(&mut self, uid: &str) {
        if let Some(id) = self.claims.remove(uid) {
            let volumes = self.shared.volumes.clone();
            self.tasks.spawn(async move {
                claims::remove(volumes, id).await;
                None
            });
        }
    }
}
