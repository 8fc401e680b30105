//! One of several controller processes works, the others stand by.
//!
//! A Lease in the control plane's API says who. Whoever holds it renews it; whoever cannot stops working before anybody
//! else may begin. The clocks of other machines are not believed: a Lease is over when it was not seen to change for as
//! long as it lasts.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::error::chain;
use crate::retry::jittered;

/// How one of several processes is chosen.
#[derive(Debug, Clone)]
pub struct LeaderElection {
    /// The namespace of the Lease.
    pub namespace: String,
    /// The name of the Lease.
    pub name: String,
    /// What tells this process from the others.
    pub identity: String,
    /// How long the others wait for a leader that is not heard of.
    pub lease: Duration,
    /// How long the leader works on without having renewed the Lease. Shorter than `lease` by what it takes to stop.
    pub renewal: Duration,
    /// How often the Lease is looked at, or renewed.
    pub retry: Duration,
}

impl LeaderElection {
    /// The usual times, which are those of Kubernetes' own controllers.
    pub fn new(namespace: impl Into<String>, identity: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: "buildplane-controller".to_owned(),
            identity: identity.into(),
            lease: Duration::from_secs(15),
            renewal: Duration::from_secs(8),
            retry: Duration::from_secs(2),
        }
    }

    /// The same, for this process of a host: the random part tells apart what runs, or ran before, on the same host.
    pub fn on_host(namespace: impl Into<String>, host: &str) -> Self {
        // A fresh RandomState is keyed at random; no better randomness is needed here.
        let random = RandomState::new().hash_one(std::process::id());
        Self::new(namespace, format!("{host}_{random:016x}"))
    }
}

/// Runs `work` whenever this process leads, until `shutdown` or until it ends by itself. Its token is cancelled when the
/// process leads no longer; it then ends in less time than lies between `renewal` and `lease`.
pub(crate) async fn lead<Work, T>(
    election: &LeaderElection,
    client: Client,
    shutdown: &CancellationToken,
    mut work: impl FnMut(CancellationToken) -> Work,
) -> Option<T>
where
    Work: Future<Output = T>,
{
    let mut candidate = Candidate { api: Api::namespaced(client, &election.namespace), election, seen: None };
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return None,
            () = candidate.campaign() => {}
        }
        tracing::info!(identity = election.identity, lease = election.name, "leading");
        let term = shutdown.child_token();
        let mut working = std::pin::pin!(work(term.clone()));
        let ended = tokio::select! {
            ended = &mut working => Some(ended),
            () = candidate.keep() => None,
        };
        term.cancel();
        if let Some(ended) = ended {
            candidate.resign().await;
            return Some(ended);
        }
        tracing::warn!(identity = election.identity, lease = election.name, "leading no longer");
        let ended = working.await;
        if shutdown.is_cancelled() {
            return Some(ended);
        }
    }
}

struct Candidate<'a> {
    api: Api<Lease>,
    election: &'a LeaderElection,
    /// The version of the Lease that was seen last, and when it was first.
    seen: Option<(Option<String>, Instant)>,
}

/// Why a Lease was not taken or renewed.
#[derive(Debug, thiserror::Error)]
enum NotHeld {
    #[error("the lease is held by {0}")]
    BySomebody(String),
    #[error("somebody else was quicker")]
    Conflict,
    #[error("failed to read or write the lease")]
    Api(#[source] kube::Error),
    #[error("the API did not answer in time")]
    TimedOut,
}

impl From<kube::Error> for NotHeld {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code == 409 => Self::Conflict,
            error => Self::Api(error),
        }
    }
}

impl Candidate<'_> {
    /// Ends when this process holds the Lease.
    async fn campaign(&mut self) {
        let mut is_told = false;
        loop {
            match self.try_hold().await {
                Ok(()) => return,
                Err(error @ (NotHeld::Api(_) | NotHeld::TimedOut)) if !is_told => {
                    tracing::warn!(error = chain(&error), "no lease can be had, trying again");
                    is_told = true;
                }
                Err(error) => tracing::debug!(error = chain(&error), "standing by"),
            }
            sleep(jittered(self.election.retry)).await;
        }
    }

    /// Renews the Lease; ends when it could not be for too long, or is somebody else's.
    async fn keep(&mut self) {
        let mut renewed = Instant::now();
        loop {
            sleep(self.election.retry).await;
            // Counted from before the request: what the API noted may be as old as that.
            let begun = Instant::now();
            match self.try_hold().await {
                Ok(()) => renewed = begun,
                Err(NotHeld::BySomebody(holder)) => {
                    tracing::warn!(holder, "somebody else holds the lease");
                    return;
                }
                Err(error) => tracing::warn!(error = chain(&error), "the lease was not renewed"),
            }
            if renewed.elapsed() >= self.election.renewal {
                return;
            }
        }
    }

    /// Takes or renews the Lease, within the time between two attempts.
    async fn try_hold(&mut self) -> Result<(), NotHeld> {
        let patience = self.election.retry.max(Duration::from_millis(100));
        timeout(patience, self.hold()).await.unwrap_or(Err(NotHeld::TimedOut))
    }

    async fn hold(&mut self) -> Result<(), NotHeld> {
        let Some(mut lease) = self.api.get_opt(&self.election.name).await? else {
            let metadata = ObjectMeta { name: Some(self.election.name.clone()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(self.spec(None)) };
            self.api.create(&PostParams::default(), &lease).await?;
            return Ok(());
        };
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
        let version = lease.metadata.resource_version.clone();
        if holder != self.election.identity && !holder.is_empty() {
            let since = match &self.seen {
                Some((seen, since)) if *seen == version => *since,
                _ => self.seen.insert((version, Instant::now())).1,
            };
            let lasts = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
            let lasts = lasts.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
            if since.elapsed() < lasts.unwrap_or_default().max(self.election.lease) {
                return Err(NotHeld::BySomebody(holder));
            }
        }
        lease.spec = Some(self.spec(lease.spec));
        // The version of what was read goes along: of two who are too late for each other's view one is refused.
        self.api.replace(&self.election.name, &PostParams::default(), &lease).await?;
        Ok(())
    }

    /// What the Lease says when this process holds it.
    fn spec(&self, before: Option<LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let before = before.unwrap_or_default();
        let is_renewal = before.holder_identity.as_deref() == Some(self.election.identity.as_str());
        let n_before = before.lease_transitions.unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.election.identity.clone()),
            lease_duration_seconds: i32::try_from(self.election.lease.as_secs().max(1)).ok(),
            acquire_time: if is_renewal { before.acquire_time } else { Some(now.clone()) },
            renew_time: Some(now),
            lease_transitions: Some(if is_renewal { n_before } else { n_before.saturating_add(1) }),
            ..before
        }
    }

    /// Gives the Lease back, so that nobody has to wait for its end.
    async fn resign(&self) {
        let resigned = async {
            let Some(mut lease) = self.api.get_opt(&self.election.name).await? else { return Ok(()) };
            let Some(spec) = &mut lease.spec else { return Ok(()) };
            if spec.holder_identity.as_deref() != Some(self.election.identity.as_str()) {
                return Ok(());
            }
            spec.holder_identity = None;
            self.api.replace(&self.election.name, &PostParams::default(), &lease).await.map(drop)
        };
        match timeout(self.election.renewal, resigned).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(error = chain(&error), "the lease was not given back"),
            Err(_elapsed) => tracing::debug!("the lease was not given back in time"),
        }
    }
}
