//! What one tenant, and one caller, may take of what all share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::StatusCode;

use buildplane_api::names::CrRef;

use crate::authorize::Grant;
use crate::status::Failure;

/// Tenants whose use is remembered; those without a request in flight are forgotten beyond it.
const MAX_TENANTS: usize = 16 * 1024;

/// A tenant is a custom resource: what goes through it is one team's.
#[derive(Debug, Clone)]
pub struct Fairness {
    /// Requests in flight for one custom resource.
    pub streams_per_resource: usize,
    /// Requests in flight of one caller. Parts of the control plane, which work for everybody, are not counted.
    pub streams_per_caller: usize,
    /// Requests of callers, parts of the control plane aside, for one custom resource in a second; none for no limit.
    pub requests_per_second: Option<u32>,
    /// How many of a second's requests may come at once.
    pub burst: u32,
}

impl Default for Fairness {
    fn default() -> Self {
        Self {
            streams_per_resource: 256,
            streams_per_caller: 128,
            requests_per_second: Some(1_000),
            burst: 2_000,
        }
    }
}

/// Requests in flight by user.
type Callers = Mutex<HashMap<String, usize>>;

/// Who takes how much now.
#[derive(Debug)]
pub(crate) struct Shares {
    fairness: Fairness,
    begun: Instant,
    tenants: Mutex<HashMap<CrRef, Arc<Tenant>>>,
    callers: Arc<Callers>,
}

#[derive(Debug, Default)]
struct Tenant {
    n_streams: AtomicUsize,
    /// When, in nanoseconds from the beginning, the next request would be on time at an even rate.
    due: AtomicU64,
}

/// A request in flight; its share is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    tenant: Arc<Tenant>,
    caller: Option<(Arc<Callers>, String)>,
}

impl Shares {
    pub(crate) fn new(fairness: Fairness) -> Self {
        Self { fairness, begun: Instant::now(), tenants: Mutex::default(), callers: Arc::default() }
    }

    /// Takes a share for one request, or says when to come again.
    pub(crate) fn take(&self, cr: &CrRef, caller: &str, grant: Grant) -> Result<Share, Failure> {
        let Fairness { streams_per_resource, streams_per_caller, .. } = self.fairness;
        let tenant = self.tenant(cr);
        let refuse = |message: String| Err(Failure::new(StatusCode::TOO_MANY_REQUESTS, message));
        if grant == Grant::Person
            && let Err(wait) = self.on_time(&tenant, self.begun.elapsed())
        {
            let failure = Failure::new(
                StatusCode::TOO_MANY_REQUESTS,
                format!("too many requests in a short time for {cr}"),
            );
            return Err(failure.after(wait));
        }
        // Given back by the share's drop, also where the request is refused below.
        let n_streams = tenant.n_streams.fetch_add(1, Ordering::Relaxed);
        let mut share = Share { tenant, caller: None };
        if n_streams >= streams_per_resource {
            return refuse(format!("{n_streams} requests for {cr} are in flight, as many as may be"));
        }
        if grant == Grant::Person {
            let mut callers = lock(&self.callers);
            let n_streams = callers.get(caller).copied().unwrap_or_default();
            if n_streams >= streams_per_caller {
                return refuse(format!(
                    "{n_streams} requests of {caller:?} are in flight, as many as may be"
                ));
            }
            callers.insert(caller.to_owned(), n_streams + 1);
            share.caller = Some((Arc::clone(&self.callers), caller.to_owned()));
        }
        Ok(share)
    }

    fn tenant(&self, cr: &CrRef) -> Arc<Tenant> {
        let mut tenants = lock(&self.tenants);
        if let Some(known) = tenants.get(cr) {
            return Arc::clone(known);
        }
        if tenants.len() >= MAX_TENANTS {
            tenants.retain(|_, tenant| Arc::strong_count(tenant) > 1);
        }
        Arc::clone(tenants.entry(cr.clone()).or_default())
    }

    /// The generic cell rate algorithm: one number a tenant, and no lock.
    fn on_time(&self, tenant: &Tenant, now: Duration) -> Result<(), Duration> {
        let Some(rate) = self.fairness.requests_per_second else { return Ok(()) };
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let interval = nanos(Duration::from_secs(1)) / u64::from(rate.max(1));
        let tolerance = interval.saturating_mul(u64::from(self.fairness.burst.saturating_sub(1)));
        let now = nanos(now);
        let due = tenant.due.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due| {
            (due <= now.saturating_add(tolerance)).then(|| due.max(now).saturating_add(interval))
        });
        match due {
            Ok(_) => Ok(()),
            Err(due) => Err(Duration::from_nanos(due.saturating_sub(now).saturating_sub(tolerance))),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.tenant.n_streams.fetch_sub(1, Ordering::Relaxed);
        if let Some((callers, caller)) = self.caller.take() {
            let mut callers = lock(&callers);
            match callers.get_mut(&caller) {
                Some(n_streams) if *n_streams > 1 => *n_streams -= 1,
                _ => {
                    callers.remove(&caller);
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cr(name: &str) -> CrRef {
        format!("buildplane/team/{name}").parse().unwrap()
    }

    #[test]
    fn a_caller_and_a_tenant_hold_no_more_than_their_share() {
        let fairness =
            Fairness { streams_per_resource: 3, streams_per_caller: 2, requests_per_second: None, burst: 1 };
        let shares = Shares::new(fairness);
        let (a, b) = (cr("a"), cr("b"));
        let one = shares.take(&a, "alice", Grant::Person).unwrap();
        let _two = shares.take(&b, "alice", Grant::Person).unwrap();
        let refused = shares.take(&a, "alice", Grant::Person).unwrap_err();
        assert_eq!(refused.code, StatusCode::TOO_MANY_REQUESTS);
        let _bobs = shares.take(&a, "bob", Grant::Person).unwrap();
        let _part = shares.take(&a, "manager", Grant::Part).unwrap();
        assert!(shares.take(&a, "manager", Grant::Part).is_err(), "the tenant has all it may have");
        drop(one);
        let _again = shares.take(&a, "alice", Grant::Person).unwrap();
        assert_eq!(lock(&shares.callers).len(), 2);
    }

    #[test]
    fn shares_that_are_given_back_leave_nothing() {
        let shares = Shares::new(Fairness::default());
        for _ in 0..1000 {
            drop(shares.take(&cr("a"), "alice", Grant::Person).unwrap());
        }
        assert!(lock(&shares.callers).is_empty());
        assert_eq!(shares.tenant(&cr("a")).n_streams.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_rate_allows_a_burst_and_then_an_even_flow() {
        let fairness = Fairness { requests_per_second: Some(10), burst: 3, ..Fairness::default() };
        let shares = Shares::new(fairness);
        let tenant = Tenant::default();
        let at = Duration::from_millis;
        for _ in 0..3 {
            assert_eq!(shares.on_time(&tenant, at(1000)), Ok(()));
        }
        assert_eq!(shares.on_time(&tenant, at(1000)), Err(at(100)));
        assert_eq!(shares.on_time(&tenant, at(1050)), Err(at(50)));
        assert_eq!(shares.on_time(&tenant, at(1100)), Ok(()));
        assert_eq!(shares.on_time(&tenant, at(1100)), Err(at(100)));
        for _ in 0..3 {
            assert_eq!(shares.on_time(&tenant, at(9000)), Ok(()));
        }
        assert!(shares.on_time(&tenant, at(9000)).is_err());
    }
}
