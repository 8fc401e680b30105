//! The controllers against real API servers in process, and a small gateway between them.

mod gateway;
mod planes;
mod runs;
mod world;
