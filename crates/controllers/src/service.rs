//! Wires the controllers together and keeps them running.

use std::sync::Arc;
use std::time::Duration;

use buildplane_api::{
    BuildPlane, ClusterBuildPlane, ClusterDataPlane, ClusterObservabilityPlane, DataPlane,
    ObservabilityPlane, SecretReference, Workflow,
};
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::error::Error;
use crate::events::Events;
use crate::follow::follow;
use crate::gateway::{Feed, GatewayClient, Registrations, Subscriber};
use crate::judged::Judged;
use crate::leader;
use crate::planes::{
    self, Bindings, Existence, Kind, Notices, PlaneApi, PlaneListener, Stores, Sweeper, Written,
};
use crate::retry::Retries;
use crate::runs::Runs;

/// How long reconciles that are under way may take to end.
const GRACE: Duration = Duration::from_secs(5);

/// Runs every controller until `shutdown`; where there are several processes, while this one leads.
///
/// The CRDs have to be there; watches on kinds that are not are tried again until they are.
///
/// # Errors
/// The gateway's client cannot be set up, or a controller ended although nobody asked it to.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), Error> {
    let Some(election) = config.leader_election.clone() else { return work(config, shutdown).await };
    let client = config.control_plane.clone();
    let ended = leader::lead(&election, client, &shutdown, |term| work(config.clone(), term)).await;
    ended.unwrap_or(Ok(()))
}

/// Runs every controller until `shutdown`, as the only process that does.
async fn work(config: Config, shutdown: CancellationToken) -> Result<(), Error> {
    let Config { control_plane, gateway, secret_namespaces, instance, leader_election: _, timings } = config;
    let shared = GatewayClient::new(&gateway, timings.request)?;
    let feed = Feed::new(&timings);
    let gateway = shared.clone().routed_by(Arc::clone(&feed));
    let (events, publisher) = Events::new(control_plane.clone(), instance);
    let runs = Runs::new(control_plane.clone(), gateway.clone(), events.clone(), timings, shutdown.clone());
    let stores = Stores::new(gateway, shutdown.clone());
    let context = Arc::new(planes::Context {
        client: control_plane.clone(),
        feed: Arc::clone(&feed),
        registrations: Registrations::new(Arc::clone(&feed)),
        events,
        timings,
        secret_namespaces: secret_namespaces.clone(),
        retries: Retries::new(&timings),
        stores: Arc::clone(&stores),
        bindings: Bindings::default(),
        notices: Notices::default(),
        written: Written::default(),
    });
    let planes = Planes::new(&context);
    let mut listeners = planes.listeners();
    listeners.push(Arc::clone(&runs) as Arc<dyn PlaneListener>);
    let listeners: Arc<[Arc<dyn PlaneListener>]> = listeners.into();
    let sweeper = Sweeper::new(planes.existence());
    let mut subscribers = planes.subscribers();
    stores.tell(subscribers.clone());
    subscribers.push(Arc::clone(&sweeper) as Arc<dyn Subscriber>);

    let mut tasks = Tasks { set: JoinSet::new(), shutdown: shutdown.clone() };
    planes.spawn(&mut tasks, &listeners);
    tasks.spawn("Workflow", {
        let workflows = Judged::<Workflow>::new(control_plane.clone(), &timings);
        let shutdown = shutdown.clone();
        async move { workflows.run(shutdown).await }
    });
    tasks.spawn("SecretReference", {
        let references = Judged::<SecretReference>::new(control_plane.clone(), &timings);
        let shutdown = shutdown.clone();
        async move { references.run(shutdown).await }
    });
    tasks.spawn("WorkflowRun", {
        let shutdown = shutdown.clone();
        async move { Box::pin(runs.run(shutdown)).await }
    });
    tasks.spawn("secret watch", {
        let shutdown = shutdown.clone();
        let listeners = Arc::clone(&listeners);
        async move { watch_secrets(control_plane, secret_namespaces, &listeners, &shutdown).await }
    });
    tasks.spawn("gateway feed", {
        let shutdown = shutdown.clone();
        async move { feed.run(&shared, &subscribers, &shutdown).await }
    });
    tasks.spawn("events", publisher.run(shutdown.clone()));
    tasks.spawn("registration sweep", {
        let shutdown = shutdown.clone();
        async move { sweeper.run(&context, &shutdown).await }
    });
    tasks.join().await
}

/// The six plane kinds.
struct Planes {
    build: Arc<Kind<BuildPlane>>,
    cluster_build: Arc<Kind<ClusterBuildPlane>>,
    data: Arc<Kind<DataPlane>>,
    cluster_data: Arc<Kind<ClusterDataPlane>>,
    observability: Arc<Kind<ObservabilityPlane>>,
    cluster_observability: Arc<Kind<ClusterObservabilityPlane>>,
}

impl Planes {
    fn new(context: &Arc<planes::Context>) -> Self {
        Self {
            build: Kind::new(Arc::clone(context)),
            cluster_build: Kind::new(Arc::clone(context)),
            data: Kind::new(Arc::clone(context)),
            cluster_data: Kind::new(Arc::clone(context)),
            observability: Kind::new(Arc::clone(context)),
            cluster_observability: Kind::new(Arc::clone(context)),
        }
    }

    fn listeners(&self) -> Vec<Arc<dyn PlaneListener>> {
        vec![
            Arc::clone(&self.build) as _,
            Arc::clone(&self.cluster_build) as _,
            Arc::clone(&self.data) as _,
            Arc::clone(&self.cluster_data) as _,
            Arc::clone(&self.observability) as _,
            Arc::clone(&self.cluster_observability) as _,
        ]
    }

    fn subscribers(&self) -> Vec<Arc<dyn Subscriber>> {
        vec![
            Arc::clone(&self.build) as _,
            Arc::clone(&self.cluster_build) as _,
            Arc::clone(&self.data) as _,
            Arc::clone(&self.cluster_data) as _,
            Arc::clone(&self.observability) as _,
            Arc::clone(&self.cluster_observability) as _,
        ]
    }

    fn existence(&self) -> Vec<Arc<dyn Existence>> {
        vec![
            Arc::clone(&self.build) as _,
            Arc::clone(&self.cluster_build) as _,
            Arc::clone(&self.data) as _,
            Arc::clone(&self.cluster_data) as _,
            Arc::clone(&self.observability) as _,
            Arc::clone(&self.cluster_observability) as _,
        ]
    }

    fn spawn(&self, tasks: &mut Tasks, listeners: &Arc<[Arc<dyn PlaneListener>]>) {
        spawn_kind("BuildPlane", &self.build, tasks, listeners);
        spawn_kind("ClusterBuildPlane", &self.cluster_build, tasks, listeners);
        spawn_kind("DataPlane", &self.data, tasks, listeners);
        spawn_kind("ClusterDataPlane", &self.cluster_data, tasks, listeners);
        spawn_kind("ObservabilityPlane", &self.observability, tasks, listeners);
        spawn_kind("ClusterObservabilityPlane", &self.cluster_observability, tasks, listeners);
    }
}

fn spawn_kind<P: PlaneApi>(
    name: &'static str,
    kind: &Arc<Kind<P>>,
    tasks: &mut Tasks,
    listeners: &Arc<[Arc<dyn PlaneListener>]>,
) {
    let kind = Arc::clone(kind);
    let listeners = Arc::clone(listeners);
    let shutdown = tasks.shutdown.clone();
    tasks.spawn(name, async move { kind.run(&listeners, shutdown).await });
}

/// The tasks of the service. None may end before the shutdown.
pub(crate) struct Tasks {
    set: JoinSet<&'static str>,
    shutdown: CancellationToken,
}

impl Tasks {
    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.set.spawn(async move {
            task.await;
            name
        });
    }

    async fn join(mut self) -> Result<(), Error> {
        let first = tokio::select! {
            () = self.shutdown.cancelled() => None,
            ended = self.set.join_next() => ended,
        };
        let stopped = match first {
            Some(_) if self.shutdown.is_cancelled() => None,
            Some(Ok(name)) => Some(name),
            Some(Err(_panicked)) => Some("panicked"),
            None => None,
        };
        self.shutdown.cancel();
        let drained =
            tokio::time::timeout(GRACE, async { while self.set.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            tracing::warn!("controllers did not end in time and are cut off");
        }
        stopped.map_or(Ok(()), |name| Err(Error::Stopped { name }))
    }
}

/// Follows the metadata of Secrets, so that a CA that is put right takes effect by itself. Their content is read only
/// where a plane names them.
async fn watch_secrets(
    client: Client,
    namespaces: Option<Vec<String>>,
    listeners: &[Arc<dyn PlaneListener>],
    shutdown: &CancellationToken,
) {
    let apis: Vec<Api<PartialObjectMeta<Secret>>> = match namespaces {
        None => vec![Api::all(client)],
        Some(namespaces) => namespaces.iter().map(|name| Api::namespaced(client.clone(), name)).collect(),
    };
    let watches = apis.into_iter().map(|api| {
        follow("Secret", watcher(api, watcher::Config::default()), shutdown, |event| match event {
            watcher::Event::Apply(secret)
            | watcher::Event::InitApply(secret)
            | watcher::Event::Delete(secret) => {
                let metadata = &secret.metadata;
                if let (Some(namespace), Some(name)) = (&metadata.namespace, &metadata.name) {
                    for listener in listeners {
                        listener.secret_touched(namespace, name);
                    }
                }
            }
            watcher::Event::Init | watcher::Event::InitDone => {}
        })
    });
    futures::future::join_all(watches).await;
    // With no namespace allowed there is nothing to follow; the task still lives as long as the others.
    shutdown.cancelled().await;
}
