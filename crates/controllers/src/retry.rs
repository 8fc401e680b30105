//! Waiting after failures: per object, growing, jittered.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hash};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::config::Timings;

/// How often each object failed in a row.
pub(crate) struct Retries<Key> {
    failures: Mutex<HashMap<Key, u32>>,
    min: Duration,
    max: Duration,
}

impl<Key: Eq + Hash> Retries<Key> {
    pub(crate) fn new(timings: &Timings) -> Self {
        Self { failures: Mutex::default(), min: timings.retry_min, max: timings.retry_max }
    }

    /// Notes a failure and says how long to wait.
    pub(crate) fn failed(&self, key: Key) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(key).or_default();
        let wait = self.min.saturating_mul(1 << (*count).min(16)).min(self.max);
        *count = count.saturating_add(1);
        jittered(wait)
    }

    /// Notes that all is well, or that the object is gone.
    pub(crate) fn forget(&self, key: &Key) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// Since when each object waits.
pub(crate) struct Since<Key>(Mutex<HashMap<Key, Instant>>);

impl<Key> Default for Since<Key> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<Key: Eq + Hash> Since<Key> {
    /// How long an object has waited; its wait begins when this is asked first.
    pub(crate) fn waited(&self, key: Key) -> Duration {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.entry(key).or_insert_with(Instant::now).elapsed()
    }

    /// The wait is over.
    pub(crate) fn forget(&self, key: &Key) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// Between half and all of `wait`, so that many who wait do not come back together.
pub(crate) fn jittered(wait: Duration) -> Duration {
    // A fresh RandomState is keyed at random; no better randomness is needed here.
    let random = RandomState::new().hash_one(wait);
    let share = u32::try_from(random % 1024).unwrap_or_default();
    wait / 2 + wait / 2 * share / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_start_anew_after_success() {
        let timings = Timings {
            retry_min: Duration::from_millis(100),
            retry_max: Duration::from_secs(1),
            ..Timings::default()
        };
        let retries = Retries::new(&timings);
        for limit in [100, 200, 400, 800, 1000, 1000] {
            let wait = retries.failed("a");
            assert!(
                wait >= Duration::from_millis(limit / 2) && wait <= Duration::from_millis(limit),
                "{wait:?}"
            );
        }
        assert!(retries.failed("b") <= Duration::from_millis(100));
        retries.forget(&"a");
        assert!(retries.failed("a") <= Duration::from_millis(100));
    }
}
