//! Keeps a connection to every gateway replica that can be reached: dials whom the [`Roster`] names, serves what opens, and
//! leaves what is replaced.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use buildplane_tls::ServerCertificates;
use buildplane_wire::{AgentHello, ReplicaSet};

use crate::connection::{Connection, ConnectionError, Dialer};
use crate::error::Error;
use crate::health::{Health, Part, chain};
use crate::metrics::Metrics;
use crate::policy::Policy;
use crate::replicas::Told;
use crate::requests::Requests;
use crate::roster::{ConnectionId, Generation, Roster, Target, Verdict};
use crate::terms::{Sources, Succession, Terms};

/// How often open connections are held against the clock and the trusted CAs.
const LOOK: Duration = Duration::from_secs(1);
/// How long connections under older terms may last where those may allow too much.
const PRESSING: Duration = Duration::from_secs(4);
/// Replica sets that wait to be looked at; a gateway that sends more waits for its answer.
const TOLD: usize = 16;

/// What the connections are kept with.
pub(crate) struct Keeping {
    pub(crate) dialer: Dialer,
    pub(crate) sources: Sources,
    pub(crate) hello: AgentHello,
    pub(crate) requests: Box<dyn Fn(Policy) -> Requests + Send>,
    pub(crate) health: Health,
    pub(crate) metrics: Metrics,
}

struct Dialled {
    target: Target,
    generation: Generation,
    outcome: Result<Connection, ConnectionError>,
}

/// An open connection.
struct Lease {
    server: ServerCertificates,
    /// Cancelled when it should drain.
    leave: CancellationToken,
    /// Cancelled when it should end at once.
    cut: CancellationToken,
}

pub(crate) struct Connections {
    keeping: Keeping,
    roster: Roster,
    terms: Option<Arc<Terms>>,
    generation: Generation,
    /// When what is older than the terms of today is left, replaced or not.
    deadline: Option<Instant>,
    leases: HashMap<ConnectionId, Lease>,
    dials: JoinSet<Dialled>,
    open: JoinSet<ConnectionId>,
    tell: mpsc::Sender<(ConnectionId, ReplicaSet)>,
    told: mpsc::Receiver<(ConnectionId, ReplicaSet)>,
    next: u64,
    stop: CancellationToken,
}

impl Connections {
    pub(crate) fn new(keeping: Keeping, roster: Roster, stop: CancellationToken) -> Self {
        let (tell, told) = mpsc::channel(TOLD);
        Self {
            keeping,
            roster,
            terms: None,
            generation: 0,
            deadline: None,
            leases: HashMap::new(),
            dials: JoinSet::new(),
            open: JoinSet::new(),
            tell,
            told,
            next: 0,
            stop,
        }
    }

    /// Runs until the agent stops; then every connection drains within its own limit.
    ///
    /// # Errors
    ///
    /// When a connection's task panicked.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.renew(Succession::Patient);
        while !self.stop.is_cancelled() {
            self.dial();
            self.report();
            let next = self.roster.next_due();
            let due = async { tokio::time::sleep_until(next.unwrap_or_else(Instant::now)).await };
            tokio::select! {
                () = self.stop.cancelled() => {}
                Some(dialled) = self.dials.join_next() => self.dialled(dialled.map_err(Error::Task)?),
                Some(ended) = self.open.join_next() => self.ended(ended)?,
                Some((id, set)) = self.told.recv() => self.told(id, set),
                succession = self.keeping.sources.changed() => self.renew(succession),
                () = due, if next.is_some() && self.terms.is_some() => {}
                _ = look.tick() => self.look(),
            }
        }
        self.dials.shutdown().await;
        for lease in self.leases.values() {
            lease.leave.cancel();
        }
        while let Some(ended) = self.open.join_next().await {
            self.ended(ended)?;
        }
        self.report();
        Ok(())
    }

    fn dial(&mut self) {
        let Some(terms) = &self.terms else { return };
        for target in self.roster.due(Instant::now()) {
            let (dialer, terms) = (self.keeping.dialer.clone(), Arc::clone(terms));
            self.dials.spawn(async move {
                let outcome = dialer.dial(&target.address, &terms).await;
                Dialled { target, generation: terms.generation, outcome }
            });
        }
    }

    fn dialled(&mut self, dialled: Dialled) {
        let Dialled { target, generation, outcome } = dialled;
        let now = Instant::now();
        let connection = match outcome {
            Ok(connection) => connection,
            Err(error) => return self.failed(&target, &error),
        };
        let id = ConnectionId(self.next);
        self.next += 1;
        let instance = connection.instance.clone();
        match self.roster.connected(&target, (id, generation), instance.clone(), now) {
            Verdict::Duplicate => {
                self.keeping.metrics.dialled("duplicate");
                tracing::debug!(gateway = %target.address, instance, "connected to this gateway already");
            }
            Verdict::Keep { leave } => {
                self.keeping.metrics.dialled("connected");
                self.keeping.health.right(Part::Gateway);
                tracing::info!(gateway = %target.address, instance, plane = %self.keeping.dialer.plane_id, "connected to the gateway");
                self.begin(id, connection);
                for old in leave {
                    self.leave(old);
                }
            }
        }
    }

    fn begin(&mut self, id: ConnectionId, connection: Connection) {
        let (leave, cut) = (CancellationToken::new(), CancellationToken::new());
        let server = connection.server.clone();
        self.leases.insert(id, Lease { server, leave: leave.clone(), cut: cut.clone() });
        let told = Told { connection: id, tell: self.tell.clone() };
        self.open.spawn(async move {
            let outcome = cut.run_until_cancelled(connection.serve(told, leave)).await;
            let error = outcome.as_ref().and_then(|outcome| outcome.as_ref().err());
            let error = error.map(|error| error as &dyn std::error::Error);
            tracing::info!(error, "the connection to the gateway ended");
            id
        });
    }

    fn failed(&mut self, target: &Target, error: &ConnectionError) {
        let delay = self.roster.failed(target, error.is_soon(), Instant::now());
        let outcome = match error.refusal() {
            Some(_) if error.is_soon() => "unready",
            Some(_) => "refused",
            None => "failed",
        };
        self.keeping.metrics.dialled(outcome);
        let cause = error as &dyn std::error::Error;
        if error.is_soon() {
            tracing::info!(gateway = %target.address, error = cause, ?delay, "the gateway is not ready for this agent; trying again");
        } else {
            tracing::warn!(gateway = %target.address, error = cause, ?delay, "cannot connect to the gateway; trying again");
        }
        self.keeping.health.wrong(Part::Gateway, format!("{}: {}", target.address, chain(cause)));
    }

    fn ended(&mut self, ended: Result<ConnectionId, JoinError>) -> Result<(), Error> {
        let id = ended.map_err(Error::Task)?;
        self.leases.remove(&id);
        self.roster.ended(id, Instant::now());
        Ok(())
    }

    fn told(&mut self, id: ConnectionId, set: ReplicaSet) {
        tracing::debug!(instance = set.instance, n_replicas = set.replicas.len(), "told the live gateways");
        if let Some(second) = self.roster.told(id, set, Instant::now()) {
            self.leave(second);
        }
    }

    fn leave(&self, id: ConnectionId) {
        if let Some(lease) = self.leases.get(&id) {
            lease.leave.cancel();
        }
    }

    /// Something changed of what connections are opened under.
    fn renew(&mut self, succession: Succession) {
        self.generation += 1;
        let Keeping { sources, hello, requests, .. } = &self.keeping;
        let Some(terms) = sources.terms(self.generation, hello, requests) else { return };
        self.terms = Some(Arc::new(terms));
        let now = Instant::now();
        self.roster.renew(self.generation, now);
        let n_older = self.roster.stale().len();
        if n_older == 0 {
            return;
        }
        tracing::info!(n_older, "certificate, trust, policy or cluster changed; opening connections anew");
        if succession == Succession::Pressing {
            self.deadline = self.deadline.or(Some(now + PRESSING));
            self.look();
        }
    }

    /// Ends what may not go on: servers that are believed no longer, at once; older terms that were to be replaced.
    fn look(&mut self) {
        let now = Instant::now();
        let Some(terms) = &self.terms else { return };
        for (id, lease) in &self.leases {
            if lease.cut.is_cancelled() {
                continue;
            }
            if let Err(error) = lease.server.verify(&terms.trust, SystemTime::now()) {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the gateway of an open connection is believed no longer; ending it");
                lease.cut.cancel();
                self.roster.forget(*id, now);
            }
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.deadline = None;
            for id in self.roster.stale() {
                tracing::warn!("no new connection in time; leaving one under older terms");
                self.roster.forget(id, now);
                self.leave(id);
            }
        }
        if self.roster.stale().is_empty() {
            self.deadline = None;
        }
    }

    fn report(&self) {
        let Keeping { health, metrics, .. } = &self.keeping;
        let n_leaving = self
            .leases
            .values()
            .filter(|lease| lease.leave.is_cancelled() || lease.cut.is_cancelled())
            .count();
        let n_connected = self.leases.len() - n_leaving;
        metrics.connections("connected", n_connected);
        metrics.connections("draining", n_leaving);
        metrics.connections("dialling", self.dials.len());
        metrics.replicas.set(i64::try_from(self.roster.n_replicas()).unwrap_or(i64::MAX));
        health.turned(n_connected);
    }
}
