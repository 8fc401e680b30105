use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant, SystemTime};

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use buildplane_serve::{Limits as ServeLimits, Listener, serve, serve_plain};
use buildplane_tls::{Alpn, ClientAuth, ServerConfig};

use crate::agents::{self, Agents};
use crate::authorize::{Access, Authorizer};
use crate::config::Config;
use crate::error::Error;
use crate::health::{self, Readiness};
use crate::internal::Internal;
use crate::limits::Shares;
use crate::peers::{self, Forwarder, Peers};
use crate::planes::{self, Planes};
use crate::proxy::{CarryLimits, Proxy};
use crate::registry::{self, Registry};

/// The cluster gateway.
#[derive(Debug)]
pub struct Gateway<L: Listener = TcpListener> {
    config: Config<L>,
    tls: Tls,
}

#[derive(Debug)]
struct Tls {
    agents: Arc<ServerConfig>,
    internal: Arc<ServerConfig>,
}

impl<L: Listener> Gateway<L> {
    /// A gateway that has not begun to serve.
    pub fn new(config: Config<L>) -> Result<Self, Error> {
        // A WebSocket begins as HTTP/1.1.
        let agents = config
            .agents
            .identity
            .server_config(ClientAuth::AnyCertificate, &[Alpn::Http1])
            .map_err(|source| Error::Tls { listener: "agents", source })?;
        let internal = config
            .internal
            .identity
            .server_config(
                ClientAuth::Anchored(Arc::clone(&config.internal.callers)),
                &[Alpn::H2, Alpn::Http1],
            )
            .map_err(|source| Error::Tls { listener: "internal", source })?;
        Ok(Self { config, tls: Tls { agents, internal } })
    }

    /// Serves until `shutdown`. Then readiness goes first, and agents and watchers are told that this replica leaves; after
    /// `notice` no new work is taken, watches end and other requests drain; the agents' connections close last.
    ///
    /// # Errors
    ///
    /// When a listener cannot be served; the other parts are stopped before this returns.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let Self { config, tls } = self;
        let readiness = Readiness::default();
        // Cancelled when the gateway should stop, for any reason.
        let stop = CancellationToken::new();
        // Cancelled when the callers have drained.
        let tunnels_close = CancellationToken::new();
        let _close_on_drop = tunnels_close.clone().drop_guard();
        let tunnels = TaskTracker::new();
        let registry = Arc::new(Registry::new(registry::Limits {
            agents_per_plane: config.limits.agents_per_plane,
            registrations: config.limits.registrations,
        }));
        let n_agents = config.limits.agents;
        let sweep = config.limits.sweep;
        let upgraded = TaskTracker::new();
        let peers = Arc::new(Peers::new(Arc::clone(&registry), config.advertise.clone()));
        let internal = internal(&config, &registry, &peers, &upgraded, &stop);
        let names: Arc<[String]> = config.hosts.into();
        let agents = Arc::new(Agents {
            registry: Arc::clone(&registry),
            peers: Arc::clone(&peers),
            settings: config.tunnel,
            upstream: config.upstream_agents,
            metrics: config.metrics.clone(),
            hosts: Arc::clone(&names),
            slots: Arc::new(Semaphore::new(n_agents.min(Semaphore::MAX_PERMITS))),
            settled: Instant::now() + config.limits.settle,
            tasks: tunnels.clone(),
            shutdown: tunnels_close.clone(),
            next_link: AtomicU64::new(0),
        });

        let mut parts = JoinSet::new();
        if let Some(listener) = config.health {
            let router = health::router(readiness.clone(), &config.metrics, names);
            let served = serve_plain(listener, router, ServeLimits::default(), tunnels_close.clone());
            parts.spawn(async move { part("health", served.await) });
        }
        // Room for handshakes beside the agents that are connected.
        let limits = ServeLimits {
            connections: n_agents.saturating_add(1024),
            // An agent asks once, at once.
            header_read: Duration::from_secs(10),
            ..ServeLimits::default()
        };
        let served = serve(config.agents.listener, tls.agents, agents::router(agents), limits, stop.clone());
        parts.spawn(async move { part("agents", served.await) });
        let service = tower::service_fn(move |request| {
            let answer = internal.clone().answer(request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let limits = ServeLimits::default();
        let served = serve(config.internal.listener, tls.internal, service, limits, stop.clone());
        parts.spawn(async move {
            let served = served.await;
            // Each ends within the drain time by itself.
            upgraded.close();
            upgraded.wait().await;
            tunnels_close.cancel();
            part("internal", served)
        });
        let leaving = Arc::clone(&peers);
        if let Some(config) = config.peers {
            let stop = stop.clone();
            parts.spawn(async move {
                peers::run(config, peers, stop).await;
                Ok(())
            });
        }
        // Whatever part ends first ends the others: this one when its time has come.
        let (stopping, notice, ready) = (stop.clone(), config.limits.notice, readiness.clone());
        parts.spawn(async move {
            stopping.run_until_cancelled(leave(shutdown, ready, &leaving, notice)).await;
            Ok(())
        });
        let swept = stop.clone();
        parts.spawn(async move {
            keep_swept(&registry, sweep, &swept).await;
            Ok(())
        });
        readiness.set();
        let ended = until_all_ended(parts, &stop, &readiness).await;
        tunnels.close();
        tunnels.wait().await;
        ended
    }
}

fn internal<L: Listener>(
    config: &Config<L>,
    registry: &Arc<Registry>,
    peers: &Arc<Peers>,
    upgraded: &TaskTracker,
    stop: &CancellationToken,
) -> Internal {
    let control_plane = config.internal.control_plane.clone();
    let authorizer: Arc<dyn Authorizer> = Arc::new(Access {
        names: Arc::clone(&config.internal.authorizer),
        control_plane: control_plane.clone(),
    });
    let planes = planes::router(Arc::new(Planes {
        registry: Arc::clone(registry),
        authorizer: Arc::clone(&authorizer),
        peers: Arc::clone(peers),
        heartbeat: config.limits.heartbeat,
        shutdown: stop.clone(),
    }));
    let proxy = Arc::new(Proxy {
        registry: Arc::clone(registry),
        authorizer,
        metrics: config.metrics.clone(),
        shares: Shares::new(config.limits.fairness.clone()),
        streams: TaskTracker::new(),
        request_bytes: config.limits.request_bytes,
        response_head: config.limits.response_head,
        carry: CarryLimits { drain: config.tunnel.drain, stalled: config.limits.stalled },
        upgraded: upgraded.clone(),
        stop: stop.clone(),
    });
    let forwarder = Arc::new(Forwarder {
        registry: Arc::clone(registry),
        peers: Arc::clone(peers),
        response_head: config.limits.response_head,
        carry: CarryLimits { drain: config.tunnel.drain, stalled: config.limits.stalled },
        upgraded: upgraded.clone(),
        stop: stop.clone(),
    });
    Internal { proxy, forwarder, planes, control_plane, hosts: config.hosts.as_slice().into() }
}

/// Waits for `shutdown`, and says in time that this replica goes.
async fn leave(shutdown: CancellationToken, readiness: Readiness, peers: &Peers, notice: Duration) {
    shutdown.cancelled().await;
    readiness.clear();
    peers.leave();
    tokio::time::sleep(notice).await;
}

/// Waits for every part; the first that ends, for whatever reason, ends the others.
async fn until_all_ended(
    mut parts: JoinSet<Result<(), Error>>,
    stop: &CancellationToken,
    readiness: &Readiness,
) -> Result<(), Error> {
    let mut result = Ok(());
    loop {
        let ended = tokio::select! {
            ended = parts.join_next() => ended,
            () = stop.cancelled(), if readiness.is_set() => {
                readiness.clear();
                continue;
            }
        };
        match ended {
            None => return result,
            Some(Ok(Ok(()))) => {}
            Some(Ok(Err(error))) => result = result.and(Err(error)),
            Some(Err(panicked)) => result = result.and(Err(Error::Task(panicked))),
        }
        stop.cancel();
    }
}

fn part(listener: &'static str, served: io::Result<()>) -> Result<(), Error> {
    served.map_err(|source| Error::Listener { listener, source })
}

/// Compares admissions with the clock: a certificate that expires ends its streams within one interval.
async fn keep_swept(registry: &Registry, interval: Duration, stop: &CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
        registry.sweep(SystemTime::now());
    }
}
