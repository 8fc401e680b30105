//! Waiting for what other processes do.

use std::fmt::Debug;
use std::thread::sleep;
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(50);

/// Tries until `attempt` succeeds, and returns what it found. After the deadline it panics with the last reason.
pub fn eventually_ok<T, E: Debug>(
    what: &str,
    patience: Duration,
    mut attempt: impl FnMut() -> Result<T, E>,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        match attempt() {
            Ok(found) => return found,
            Err(reason) if Instant::now() >= deadline => {
                panic!("{what}: not within {patience:?}; last: {reason:?}")
            }
            Err(_) => sleep(INTERVAL),
        }
    }
}

/// Tries until `holds` says so.
pub fn eventually(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    eventually_ok(what, patience, || if holds() { Ok(()) } else { Err("it does not hold yet") });
}
