//! Gateway and agent over real sockets and real TLS, before a real HTTPS server that stands for the cluster's API.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod admission;
mod backend;
mod callers;
mod clusters;
mod feed;
mod fleet;
mod forged_gateway;
mod frames;
mod framing;
mod hostile_agent;
mod lifecycle;
mod people;
mod pods;
mod replica_sets;
mod replicas;
mod requests;
mod resets;
mod rig;
mod speakers;
mod streams;
mod tenants;
mod terms;
mod traces;
mod upgrades;
mod ways;
