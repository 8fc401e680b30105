use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use buildplane_serve::{Limits as ServeLimits, serve, serve_plain};
use buildplane_tls::{Alpn, ClientAuth};

use crate::agents::{self, Agents};
use crate::config::{Config, Limits};
use crate::error::Error;
use crate::health::{self, Readiness};
use crate::internal::Internal;
use crate::planes::{self, Planes};
use crate::proxy::Proxy;
use crate::registry::{self, Registry};

/// The cluster gateway.
#[derive(Debug)]
pub struct Gateway {
    config: Config,
}

impl Gateway {
    /// A gateway that has not begun to serve.
    pub fn new(config: Config) -> Self {
        Self { config }
    }

    /// Serves until `shutdown`: then readiness goes first, callers are drained, and the agents' connections close last.
    ///
    /// # Errors
    ///
    /// When a listener cannot be served; the other parts are stopped before this returns.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let Config { agents, internal, health, hosts, tunnel, limits, metrics } = self.config;
        let hosts: Arc<[String]> = hosts.into();
        let Limits {
            agents: n_agents,
            agents_per_plane,
            registrations,
            request_bytes,
            response_head,
            settle,
            sweep,
        } = limits;
        let registry = Arc::new(Registry::new(registry::Limits { agents_per_plane, registrations }));
        let readiness = Readiness::default();
        // Cancelled when the gateway should stop for any reason, and when it has drained its callers.
        let stop = shutdown.child_token();
        let tunnels_close = CancellationToken::new();
        let _tunnels_close_on_drop = tunnels_close.clone().drop_guard();
        let tunnels = TaskTracker::new();

        let planes = planes::router(Arc::new(Planes {
            registry: Arc::clone(&registry),
            authorizer: Arc::clone(&internal.authorizer),
            instance: uuid::Uuid::new_v4().to_string(),
            shutdown: stop.clone(),
        }));
        let proxy = Arc::new(Proxy {
            registry: Arc::clone(&registry),
            authorizer: internal.authorizer,
            metrics: metrics.clone(),
            request_bytes,
            response_head,
        });
        let internal_tls = internal
            .identity
            .server_config(ClientAuth::Anchored(internal.callers), &[Alpn::H2, Alpn::Http1])
            .map_err(|source| Error::Tls { listener: "internal", source })?;
        // A WebSocket begins as HTTP/1.1.
        let agents_tls = agents
            .identity
            .server_config(ClientAuth::AnyCertificate, &[Alpn::Http1])
            .map_err(|source| Error::Tls { listener: "agents", source })?;
        let internal_service = Internal { proxy, planes, hosts: Arc::clone(&hosts) };
        let internal_service = tower::service_fn(move |request| {
            let answer = internal_service.clone().answer(request);
            async move { Ok::<_, std::convert::Infallible>(answer.await) }
        });
        let agents_service = agents::router(Arc::new(Agents {
            registry: Arc::clone(&registry),
            settings: tunnel,
            metrics: metrics.clone(),
            hosts,
            slots: Arc::new(Semaphore::new(n_agents.min(Semaphore::MAX_PERMITS))),
            settled: Instant::now() + settle,
            tasks: tunnels.clone(),
            shutdown: tunnels_close.clone(),
            next_link: AtomicU64::new(0),
        }));

        let mut parts = JoinSet::new();
        if let Some(listener) = health {
            let router = health::router(readiness.clone(), &metrics);
            let served = serve_plain(listener, router, ServeLimits::default(), tunnels_close.clone());
            parts.spawn(async move { part("health", served.await) });
        }
        let agent_limits =
            ServeLimits { connections: n_agents.saturating_add(1024), ..ServeLimits::default() };
        let served = serve(agents.listener, agents_tls, agents_service, agent_limits, stop.clone());
        parts.spawn(async move { part("agents", served.await) });
        let served =
            serve(internal.listener, internal_tls, internal_service, ServeLimits::default(), stop.clone());
        let callers_drained = tunnels_close.clone();
        parts.spawn(async move {
            let served = served.await;
            callers_drained.cancel();
            part("internal", served)
        });
        parts.spawn({
            let (registry, stop) = (Arc::clone(&registry), stop.clone());
            async move {
                keep_swept(&registry, sweep, &stop).await;
                Ok(())
            }
        });
        readiness.set();

        let mut result = Ok(());
        let mut stopping = false;
        loop {
            let ended = tokio::select! {
                ended = parts.join_next() => ended,
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    readiness.clear();
                    continue;
                }
            };
            match ended {
                None => break,
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(error))) => result = result.and(Err(error)),
                Some(Err(panicked)) => result = result.and(Err(Error::Task(panicked))),
            }
            // Any part that ends, ends all.
            stop.cancel();
        }
        tunnels.close();
        tunnels.wait().await;
        result
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
