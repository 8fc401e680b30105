use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use buildplane_serve::{Limits, serve_plain};
use buildplane_tls::{CertifiedKey, ClientIdentity, PlaneSan};
use buildplane_wire::AgentHello;

use crate::backoff::Backoff;
use crate::config::Config;
use crate::connection::{Connection, ConnectionError, Dialer};
use crate::error::Error;
use crate::health;
use crate::identity::IdentityKeeper;
use crate::local_api::LocalApi;
use crate::metrics::{Metrics, Outcome};
use crate::requests::Requests;

/// How often the Secrets are looked at. Plane objects are made from what they hold, so one that was deleted or changed
/// is put right soon. A look is two small reads, which need no right to watch Secrets.
const LOOK: Duration = Duration::from_secs(1);
/// A connection that lived this long was a success: the next failure begins with a short delay again.
const SETTLED: Duration = Duration::from_secs(5);

/// The cluster agent.
pub struct Agent {
    config: Config,
    api: LocalApi,
    client: Client,
}

impl Agent {
    /// An agent that has not begun to dial.
    pub fn new(config: Config) -> Result<Self, Error> {
        let api = LocalApi::new(&config.kube)?;
        let client = Client::try_from(config.kube.clone()).map_err(Error::LocalApi)?;
        Ok(Self { config, api, client })
    }

    /// Keeps one connection to the gateway until `shutdown`; then open requests may finish within the drain time.
    ///
    /// What fails on the way (the local API, the gateway) is logged and tried again; only a listener of our own that
    /// fails ends the agent.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let Self { config, api, client } = self;
        let Config {
            gateway,
            server_ca,
            server_name,
            plane_type,
            plane_id,
            kube: _,
            namespace,
            policy,
            tunnel,
            health,
            metrics,
        } = config;
        let stop = shutdown.child_token();
        let plane = PlaneSan { plane_type: plane_type.to_string(), plane_id: plane_id.to_string() };
        let keeper = IdentityKeeper::new(client, namespace, plane);
        let hello = AgentHello {
            instance: Some(uuid::Uuid::new_v4().to_string()),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            cluster: None,
            allowed: policy.allowed_planes.clone(),
        };
        let requests = Arc::new(Requests::new(api, policy, plane_type, metrics.clone()));
        let dialer =
            Dialer { gateway, server_ca, server_name, plane_type, plane_id, hello, settings: tunnel };

        let mut parts: JoinSet<Result<(), Error>> = JoinSet::new();
        if let Some(listener) = health {
            let served = serve_plain(listener, health::router(&metrics), Limits::default(), stop.clone());
            parts.spawn(async move { served.await.map_err(Error::Health) });
        }
        let (certificates, certificate) = watch::channel(None);
        parts.spawn(keep_certificate(keeper, certificates, metrics.clone(), stop.clone()));
        parts.spawn(keep_connected(dialer, requests, certificate, metrics, stop.clone()));
        let mut result = Ok(());
        while let Some(ended) = parts.join_next().await {
            let ended = ended.unwrap_or_else(|panicked| Err(Error::Task(panicked)));
            result = result.and(ended);
            stop.cancel();
        }
        result
    }
}

/// Reads, makes and renews the certificate; publishes it whenever it is another one.
async fn keep_certificate(
    mut keeper: IdentityKeeper,
    certificates: watch::Sender<Option<CertifiedKey>>,
    metrics: Metrics,
    stop: CancellationToken,
) -> Result<(), Error> {
    let mut backoff = Backoff::new();
    loop {
        let current = tokio::select! {
            current = keeper.current(SystemTime::now()) => current,
            () = stop.cancelled() => return Ok(()),
        };
        let pause = match current {
            Ok(current) => {
                let expiry = current.expiry().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                metrics.certificate_not_after.set(i64::try_from(expiry.as_secs()).unwrap_or(i64::MAX));
                certificates.send_if_modified(|known| {
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
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the agent cannot look after its certificate; trying again"
                );
                backoff.delay()
            }
        };
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return Ok(());
        }
    }
}

/// Dials, and dials again. A new certificate opens a new connection first, then lets the old one drain.
async fn keep_connected(
    dialer: Dialer,
    requests: Arc<Requests>,
    mut certificate: watch::Receiver<Option<CertifiedKey>>,
    metrics: Metrics,
    stop: CancellationToken,
) -> Result<(), Error> {
    let mut backoff = Backoff::new();
    let mut connections = JoinSet::new();
    let mut current: Option<CancellationToken> = None;
    while !stop.is_cancelled() {
        let Some(presented) = certificate.borrow_and_update().clone() else {
            if stop.run_until_cancelled(certificate.changed()).await.is_none_or(|changed| changed.is_err()) {
                break;
            }
            continue;
        };
        let identity = ClientIdentity::new(&presented);
        let Some(dialled) = stop.run_until_cancelled(dialer.dial(&identity)).await else { break };
        let connection = match dialled {
            Ok(connection) => connection,
            Err(error) => {
                let delay = failed(&error, &mut backoff, &metrics);
                if stop.run_until_cancelled(tokio::time::sleep(delay)).await.is_none() {
                    break;
                }
                continue;
            }
        };
        metrics.dials.get_or_create(&Outcome { outcome: "connected" }).inc();
        tracing::info!(gateway = %dialer.gateway, plane = %dialer.plane_id, "connected to the gateway");
        if let Some(older) = current.take() {
            older.cancel();
        }
        let leave = stop.child_token();
        let ended = leave.child_token();
        let begun = Instant::now();
        connections.spawn(one(
            connection,
            Arc::clone(&requests),
            leave.clone(),
            ended.clone(),
            metrics.clone(),
        ));
        tokio::select! {
            () = ended.cancelled() => {}
            changed = certificate.changed() => {
                tracing::info!("the certificate was renewed; opening a connection with it");
                current = Some(leave);
                backoff.reset();
                if changed.is_ok() {
                    continue;
                }
                break;
            }
        }
        if stop.is_cancelled() {
            break;
        }
        if begun.elapsed() >= SETTLED {
            backoff.reset();
        }
        stop.run_until_cancelled(tokio::time::sleep(backoff.delay())).await;
        while connections.try_join_next().is_some() {}
    }
    stop.cancelled().await;
    // Each drains within its own limit.
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// Serves one connection; `ended` is cancelled when it is over.
async fn one(
    connection: Connection,
    requests: Arc<Requests>,
    leave: CancellationToken,
    ended: CancellationToken,
    metrics: Metrics,
) {
    let _ended = ended.drop_guard();
    metrics.connected.inc();
    let served = connection.serve(requests, leave).await;
    metrics.connected.dec();
    let error = served.as_ref().err().map(|error| error as &dyn std::error::Error);
    tracing::info!(error, "the connection to the gateway ended");
}

fn failed(error: &ConnectionError, backoff: &mut Backoff, metrics: &Metrics) -> Duration {
    metrics.dials.get_or_create(&Outcome { outcome: "failed" }).inc();
    let soon = matches!(
        error,
        ConnectionError::Tunnel(buildplane_tunnel::Error::Refused { status, .. }) if status.as_u16() == 503
    );
    let cause = error as &dyn std::error::Error;
    if soon {
        let delay = backoff.short_delay();
        tracing::info!(error = cause, ?delay, "the gateway is not ready for this agent; trying again");
        delay
    } else {
        let delay = backoff.delay();
        tracing::warn!(error = cause, ?delay, "cannot connect to the gateway; trying again");
        delay
    }
}
