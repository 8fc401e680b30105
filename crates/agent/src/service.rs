use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use buildplane_serve::{Limits, serve_plain};
use buildplane_tls::{CertifiedKey, PlaneSan, TrustAnchors};
use buildplane_wire::AgentHello;

use crate::backoff::Backoff;
use crate::cluster::{self, Cluster};
use crate::config::{Config, ServerCa};
use crate::connection::Dialer;
use crate::connections::{Connections, Keeping};
use crate::error::Error;
use crate::followed::Followed;
use crate::health::{self, Health, Part, chain};
use crate::identity::IdentityKeeper;
use crate::local_api::LocalApi;
use crate::local_connect::LocalConnect;
use crate::metrics::{Metrics, ReloadedFile};
use crate::policy_source::KeptPolicy;
use crate::requests::Requests;
use crate::roster::Roster;
use crate::terms::Sources;

/// How often the Secrets and the files are looked at. Plane objects are made from what the Secrets hold, so one that was
/// deleted or changed is put right soon. A look is a few small reads, which need no right to watch Secrets.
pub(crate) const LOOK: Duration = Duration::from_secs(1);

/// The cluster agent.
pub struct Agent {
    config: Config,
    policy: KeptPolicy,
    api: LocalApi,
    client: Client,
}

impl Agent {
    /// An agent that has not begun to dial.
    pub fn new(mut config: Config) -> Result<Self, Error> {
        let (api, client) = if let Some(connect) = config.local_connect.take() {
            let api = LocalApi::over(LocalConnect(connect), &config.kube)?;
            let client = api.client(&config.kube);
            (api, client)
        } else {
            let api = LocalApi::new(&config.kube)?;
            (api, Client::try_from(config.kube.clone()).map_err(Error::LocalApi)?)
        };
        let policy = KeptPolicy::new(config.policy.clone(), std::mem::take(&mut config.allowed_planes))?;
        Ok(Self { config, policy, api, client })
    }

    /// Keeps a connection to every gateway replica until `shutdown`; then open requests may finish within the drain time.
    ///
    /// What fails on the way (the local API, the gateway) is logged and tried again; only a listener of our own that
    /// fails ends the agent.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let Self { config, policy, api, client } = self;
        let stop = shutdown.child_token();
        let state = Health::default();
        let metrics = config.metrics.clone();
        let mut parts: JoinSet<Result<(), Error>> = JoinSet::new();
        if let Some(listener) = config.health {
            let router = health::router(&metrics, &state);
            let served = serve_plain(listener, router, Limits::default(), stop.clone());
            parts.spawn(async move { served.await.map_err(Error::Health) });
        }

        let plane =
            PlaneSan { plane_type: config.plane_type.to_string(), plane_id: config.plane_id.to_string() };
        let keeper = IdentityKeeper::new(client.clone(), config.namespace, plane, config.lifetimes);
        let told = (state.clone(), metrics.clone());
        let (tell, certificate) = watch::channel(None);
        spawn(&mut parts, keep_certificate(keeper, tell, told.clone(), stop.clone()));
        let (tell, cluster) = watch::channel(Cluster::Unasked);
        spawn(&mut parts, found_cluster(client, tell, state.clone(), stop.clone()));
        let (initial, file) = policy.into_parts();
        let (tell, policy) = watch::channel(initial);
        spawn(&mut parts, KeptPolicy::keep(file, tell, told.clone(), stop.clone()));
        let (tell, trust) = watch::channel(None);
        spawn(&mut parts, keep_trust(config.server_ca, tell, told, stop.clone()));

        let server_name = config.server_name.unwrap_or_else(|| config.gateway.host.clone());
        let seed = config.seed.unwrap_or_else(rand::random);
        let roster = Roster::new(config.gateway, Backoff::seeded(Duration::MAX, seed), Instant::now());
        let (plane_type, counted) = (config.plane_type, metrics.clone());
        let keeping = Keeping {
            dialer: Dialer {
                connect: config.connect,
                server_name,
                plane_type,
                plane_id: config.plane_id,
                settings: config.tunnel,
            },
            sources: Sources { certificate, trust, policy, cluster },
            hello: AgentHello {
                instance: Some(uuid::Uuid::new_v4().to_string()),
                version: Some(env!("CARGO_PKG_VERSION").to_owned()),
                ..AgentHello::default()
            },
            requests: Box::new(move |policy| Requests::new(api.clone(), policy, plane_type, counted.clone())),
            health: state,
            metrics,
        };
        parts.spawn(Connections::new(keeping, roster, stop.clone()).run());

        let mut result = Ok(());
        while let Some(ended) = parts.join_next().await {
            let ended = ended.unwrap_or_else(|panicked| Err(Error::Task(panicked)));
            result = result.and(ended);
            stop.cancel();
        }
        result
    }
}

fn spawn(parts: &mut JoinSet<Result<(), Error>>, part: impl Future<Output = ()> + Send + 'static) {
    parts.spawn(async move {
        part.await;
        Ok(())
    });
}

/// Knows the cluster's identity, and stays: a part that ends ends the agent.
async fn found_cluster(
    client: Client,
    tell: watch::Sender<Cluster>,
    health: Health,
    stop: CancellationToken,
) {
    cluster::find(client, tell, health, stop.clone()).await;
    stop.cancelled().await;
}

/// Follows the CA of the gateway's certificate.
async fn keep_trust(
    server_ca: ServerCa,
    tell: watch::Sender<Option<Arc<TrustAnchors>>>,
    (health, metrics): (Health, Metrics),
    stop: CancellationToken,
) {
    let changed = |found: Result<TrustAnchors, &dyn std::error::Error>| match found {
        Ok(anchors) => {
            health.right(Part::GatewayCa);
            tell.send_if_modified(|known| {
                let other = known.as_ref().is_none_or(|known| known.pem() != anchors.pem());
                if other {
                    *known = Some(Arc::new(anchors));
                }
                other
            });
        }
        Err(error) => {
            metrics.reload_failures.get_or_create(&ReloadedFile { file: "server-ca" }).inc();
            let consequence = if tell.borrow().is_some() {
                "the CA before it stays in force"
            } else {
                "no gateway is believed until there is a CA"
            };
            let message = format!("{}; {consequence}", chain(error));
            tracing::warn!(message, "the gateway's CA is not used");
            health.wrong(Part::GatewayCa, message);
        }
    };
    match server_ca {
        ServerCa::Pem(pem) => {
            match TrustAnchors::parse(pem) {
                Ok(anchors) => changed(Ok(anchors)),
                Err(error) => changed(Err(&error)),
            }
            stop.cancelled().await;
        }
        ServerCa::File(path) => {
            let mut file = Followed::new(path, |text| Ok(TrustAnchors::parse(text)?));
            let changed = |found: Result<TrustAnchors, crate::FileError>| match found {
                Ok(anchors) => changed(Ok(anchors)),
                Err(error) => changed(Err(&error)),
            };
            if let Some(found) = file.look() {
                changed(found);
            }
            file.follow(LOOK, changed, stop).await;
        }
    }
}

/// Reads, makes and renews the certificate; publishes it whenever it is another one.
async fn keep_certificate(
    mut keeper: IdentityKeeper,
    tell: watch::Sender<Option<CertifiedKey>>,
    (health, metrics): (Health, Metrics),
    stop: CancellationToken,
) {
    let mut backoff = Backoff::up_to(Duration::from_secs(5));
    loop {
        let current = tokio::select! {
            current = keeper.current(SystemTime::now()) => current,
            () = stop.cancelled() => return,
        };
        let pause = match current {
            Ok(current) => {
                let expiry = current.expiry().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                metrics.certificate_not_after.set(i64::try_from(expiry.as_secs()).unwrap_or(i64::MAX));
                health.certificate();
                tell.send_if_modified(|known| {
                    let other = known.as_ref().is_none_or(|known| known.cert_der() != current.cert_der());
                    if other {
                        *known = Some(current);
                    }
                    other
                });
                backoff.reset();
                LOOK
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the agent cannot look after its certificate; trying again");
                health.wrong(Part::Certificate, chain(error));
                backoff.delay()
            }
        };
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}
