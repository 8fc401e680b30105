//! Which gateway replicas there are, which of them are held, and whom to dial when. Pure: events and the time in, verdicts
//! out.
//!
//! ```text
//!  told by gateways ──▶ replicas ──▶ due ──▶ (dial) ──▶ connected ──▶ held ──▶ ended
//!                          ▲                    failed ──┘ (backoff)
//!  renewed: what is held becomes stale, and is dialled anew before it is left
//! ```
//!
//! A replica counts as long as any connection's gateway names it. One that has an address of its own is dialled there; the
//! others are found behind the shared address, where a load balancer decides who answers: an answer of somebody who is held
//! already is hung up on, and the next attempt waits longer, up to minutes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use buildplane_wire::ReplicaSet;

use crate::backoff::Backoff;
use crate::config::GatewayUrl;

/// With no connection at all, the longest pause between attempts: short enough that a thousand agents are back within ten
/// seconds of their gateway's return.
const LONELY: Duration = Duration::from_secs(5);
/// With another connection to work with, the longest pause.
const SPARE: Duration = Duration::from_mins(2);
/// A gateway that says "soon" is asked again soon.
const SOON: Duration = Duration::from_millis(500);
/// A replica that just came up is dialled by every agent within this time, not all at one moment.
const SPREAD: Duration = Duration::from_secs(1);
/// A connection that lived this long was a success: the next failure begins with a short delay again.
const SETTLED: Duration = Duration::from_secs(5);

/// One connection of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ConnectionId(pub(crate) u64);

/// The terms under which a connection was opened; a higher one is newer.
pub(crate) type Generation = u64;

/// Whom to dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The replica that should answer; none where the shared address decides.
    pub(crate) replica: Option<String>,
    pub(crate) address: GatewayUrl,
}

/// What becomes of a connection that was opened.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is kept, and those that it replaces are left.
    Keep { leave: Vec<ConnectionId> },
    /// Its replica is held already, under the same terms.
    Duplicate,
}

#[derive(Debug)]
pub(crate) struct Roster {
    shared: GatewayUrl,
    attempts: Attempts,
    replicas: BTreeMap<String, Replica>,
    held: HashMap<ConnectionId, Held>,
    generation: Generation,
    backoff: Backoff,
}

#[derive(Debug)]
struct Replica {
    address: Option<GatewayUrl>,
    attempts: Attempts,
}

#[derive(Debug)]
struct Held {
    instance: Option<String>,
    generation: Generation,
    target: Option<String>,
    since: Instant,
    told: Option<ReplicaSet>,
}

impl Held {
    /// A gateway that does not name itself any more is about to go.
    fn is_leaving(&self) -> bool {
        self.told.as_ref().is_some_and(|set| set.replicas.iter().all(|known| known.instance != set.instance))
    }
}

/// The attempts at one target.
#[derive(Debug)]
struct Attempts {
    backoff: Backoff,
    next: Instant,
    is_dialling: bool,
}

impl Attempts {
    fn new(mut backoff: Backoff, now: Instant, within: Duration) -> Self {
        let next = now + if within.is_zero() { within } else { backoff.jitter(within) };
        Self { backoff, next, is_dialling: false }
    }

    fn is_due(&self, now: Instant) -> bool {
        !self.is_dialling && self.next <= now
    }

    fn again_after(&mut self, now: Instant, delay: Duration) {
        self.is_dialling = false;
        self.next = now + delay;
    }
}

impl Roster {
    pub(crate) fn new(shared: GatewayUrl, mut backoff: Backoff, now: Instant) -> Self {
        let attempts = Attempts::new(backoff.fork(), now, Duration::ZERO);
        Self { shared, attempts, replicas: BTreeMap::new(), held: HashMap::new(), generation: 0, backoff }
    }

    /// Whom to dial now. Each is dialled once until [`connected`](Self::connected) or [`failed`](Self::failed).
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Target> {
        let mut due = Vec::new();
        if self.wants_shared() && self.attempts.is_due(now) {
            self.attempts.is_dialling = true;
            due.push(Target { replica: None, address: self.shared.clone() });
        }
        let fresh = self.fresh();
        for (instance, replica) in &mut self.replicas {
            let Some(address) = &replica.address else { continue };
            if !fresh.contains(instance) && replica.attempts.is_due(now) {
                replica.attempts.is_dialling = true;
                due.push(Target { replica: Some(instance.clone()), address: address.clone() });
            }
        }
        due
    }

    /// When somebody is due next, if anybody will be.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let shared = Some(&self.attempts).filter(|_attempts| self.wants_shared());
        let fresh = self.fresh();
        let replicas = self
            .replicas
            .iter()
            .filter(|(instance, replica)| replica.address.is_some() && !fresh.contains(instance.as_str()));
        let attempts = shared.into_iter().chain(replicas.map(|(_, replica)| &replica.attempts));
        attempts.filter(|attempts| !attempts.is_dialling).map(|attempts| attempts.next).min()
    }

    /// A dial succeeded.
    pub(crate) fn connected(
        &mut self,
        target: &Target,
        (id, generation): (ConnectionId, Generation),
        instance: Option<String>,
        now: Instant,
    ) -> Verdict {
        let same = |held: &Held| held.instance.is_some() && held.instance == instance;
        if self.held.values().any(|held| same(held) && held.generation >= generation) {
            self.rest(target, SPARE, now);
            return Verdict::Duplicate;
        }
        let replicas = &self.replicas;
        let is_named = |held: &Held| held.instance.as_ref().is_some_and(|known| replicas.contains_key(known));
        // What nobody will dial again is left with the first connection under new terms.
        let mut leave: Vec<ConnectionId> = self
            .held
            .iter()
            .filter(|(_, held)| held.generation < generation && (same(held) || !is_named(held)))
            .map(|(id, _)| *id)
            .collect();
        leave.sort_unstable();
        self.held.retain(|id, _| !leave.contains(id));
        let held = Held { instance, generation, target: target.replica.clone(), since: now, told: None };
        let missed = target.replica.is_some() && held.instance != target.replica;
        self.held.insert(id, held);
        if missed {
            // Somebody else answers at this replica's address.
            self.rest(target, SPARE, now);
        } else if let Some(attempts) = self.attempts_of(target.replica.as_deref()) {
            attempts.is_dialling = false;
            // The shared address may have more to give at once.
            attempts.next = now;
        }
        Verdict::Keep { leave }
    }

    /// A dial failed. `soon` where the gateway itself asked for another attempt. Tells the pause before the next.
    pub(crate) fn failed(&mut self, target: &Target, soon: bool, now: Instant) -> Duration {
        let longest = match (soon, self.held.is_empty()) {
            (true, _) => SOON,
            (false, true) => LONELY,
            (false, false) => SPARE,
        };
        self.rest(target, longest, now)
    }

    fn rest(&mut self, target: &Target, longest: Duration, now: Instant) -> Duration {
        let Some(attempts) = self.attempts_of(target.replica.as_deref()) else { return Duration::ZERO };
        let delay = attempts.backoff.delay_within(longest);
        attempts.again_after(now, delay);
        delay
    }

    /// A connection is over; one that was left already is no longer known here.
    pub(crate) fn ended(&mut self, id: ConnectionId, now: Instant) {
        let Some(held) = self.held.remove(&id) else { return };
        let was_success = now.duration_since(held.since) >= SETTLED;
        let known = held.target.filter(|instance| self.replicas.contains_key(instance));
        self.recount(now);
        let longest = if self.held.is_empty() { LONELY } else { SPARE };
        let again = |attempts: &mut Attempts| {
            if was_success {
                attempts.backoff.reset();
            }
            let delay = attempts.backoff.delay_within(longest);
            attempts.next = if attempts.is_dialling { attempts.next } else { now + delay };
        };
        if let Some(attempts) = self.attempts_of(known.as_deref()) {
            again(attempts);
        }
        if self.held.is_empty() && known.is_some() {
            // It was the last one: the shared address is asked as well, and soon.
            self.attempts.backoff.reset();
            again(&mut self.attempts);
        }
    }

    /// A gateway told its replica set. Names a connection to be closed, where it turns out to be a second one to its replica.
    pub(crate) fn told(&mut self, id: ConnectionId, set: ReplicaSet, now: Instant) -> Option<ConnectionId> {
        let held = self.held.get(&id)?;
        let (instance, generation) = (set.instance.clone(), held.generation);
        let twin = self.held.iter().any(|(other, held)| {
            *other != id
                && held.instance.as_ref() == Some(&instance)
                && (held.generation, *other) > (generation, id)
        });
        if let Some(held) = self.held.get_mut(&id) {
            held.instance = Some(instance);
            held.told = Some(set);
        }
        if twin {
            self.held.remove(&id);
        }
        self.recount(now);
        twin.then_some(id)
    }

    /// New terms: each replica is dialled anew.
    pub(crate) fn renew(&mut self, generation: Generation, now: Instant) {
        self.generation = generation;
        let replicas = self.replicas.values_mut().map(|replica| &mut replica.attempts);
        for attempts in replicas.chain([&mut self.attempts]) {
            attempts.backoff.reset();
            attempts.next = now;
        }
    }

    /// Takes a connection off the books that is to be left for another reason than a successor.
    pub(crate) fn forget(&mut self, id: ConnectionId, now: Instant) {
        self.held.remove(&id);
        self.recount(now);
    }

    /// Connections under older terms than `generation`.
    pub(crate) fn stale(&self) -> Vec<ConnectionId> {
        self.held.iter().filter(|(_, held)| held.generation < self.generation).map(|(id, _)| *id).collect()
    }

    pub(crate) fn n_replicas(&self) -> usize {
        self.replicas.len()
    }

    /// The union of what the held connections' gateways said last.
    fn recount(&mut self, now: Instant) {
        let mut named: BTreeMap<&str, Option<GatewayUrl>> = BTreeMap::new();
        for replica in self.held.values().filter_map(|held| held.told.as_ref()).flat_map(|set| &set.replicas)
        {
            let address = replica.address.as_deref().and_then(|address| address.parse().ok());
            let known = named.entry(&replica.instance).or_default();
            *known = known.take().or(address);
        }
        let is_other = named.len() != self.replicas.len()
            || !named.keys().all(|instance| self.replicas.contains_key(*instance));
        let mut replicas = BTreeMap::new();
        for (instance, address) in named {
            let replica = match self.replicas.remove(instance) {
                Some(known) => Replica { address, attempts: known.attempts },
                None => Replica { address, attempts: Attempts::new(self.backoff.fork(), now, SPREAD) },
            };
            replicas.insert(instance.to_owned(), replica);
        }
        self.replicas = replicas;
        if is_other {
            self.attempts.backoff.reset();
            let spread = self.attempts.backoff.jitter(SPREAD);
            self.attempts.next = self.attempts.next.min(now + spread);
        }
    }

    /// Replicas that are held under the terms of today and mean to stay.
    fn fresh(&self) -> BTreeSet<String> {
        let held = self.held.values().filter(|held| self.is_fresh(held));
        held.filter_map(|held| held.instance.clone()).collect()
    }

    fn is_fresh(&self, held: &Held) -> bool {
        held.generation == self.generation && !held.is_leaving()
    }

    fn wants_shared(&self) -> bool {
        if !self.held.values().any(|held| self.is_fresh(held)) {
            return true;
        }
        let fresh = self.fresh();
        self.replicas.iter().any(|(instance, replica)| replica.address.is_none() && !fresh.contains(instance))
    }

    fn attempts_of(&mut self, replica: Option<&str>) -> Option<&mut Attempts> {
        match replica {
            None => Some(&mut self.attempts),
            Some(instance) => self.replicas.get_mut(instance).map(|replica| &mut replica.attempts),
        }
    }
}

#[cfg(test)]
mod tests;
