//! A node on a real API server, with real sandboxes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;
mod lifecycle;
mod logs;
mod refusals;
