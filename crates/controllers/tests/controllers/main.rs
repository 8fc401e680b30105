//! The controllers against real API servers in process, and a small gateway between them.

#![expect(clippy::panic, reason = "a test fails by panicking")]

mod cluster;
mod gateway;
mod idempotency;
mod leader;
mod planes;
mod references;
mod replicas;
mod runs;
mod scale;
mod secret_references;
mod shared_planes;
mod whole;
mod world;
