//! The controllers against real API servers in process, and a small gateway between them.

#![expect(clippy::panic, reason = "a test fails by panicking")]

mod cluster;
mod gateway;
mod planes;
mod runs;
mod whole;
mod world;
