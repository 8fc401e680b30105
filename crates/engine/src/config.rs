//! Settings of the engine.

use std::time::Duration;

use crate::core::limits::Limits;

/// Settings of the engine.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many workflows are worked on at the same time. Work on one is a few requests to the API, no waiting.
    pub workers: usize,
    /// How many workflows may be under way at a time; the others wait with phase Pending and a message. Nothing means
    /// any number.
    pub active_workflows: Option<usize>,
    /// How many requests one workflow may have under way at a time.
    pub requests: usize,
    /// How long one request may take.
    pub request_timeout: Duration,
    /// How often every workflow under way is looked at even if nothing happens.
    pub resync: Duration,
    /// How long work under way may still take at shutdown.
    pub grace: Duration,
    /// Bounds on one workflow.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            workers: 16,
            active_workflows: None,
            requests: 8,
            request_timeout: Duration::from_secs(30),
            resync: Duration::from_mins(5),
            grace: Duration::from_secs(5),
            limits: Limits::default(),
        }
    }
}
