//! The gateways, seen from the controllers: who may connect for a plane, who is connected, and the way to a plane's API.
//!
//! There may be several replicas. Each is told of every plane object and followed; what they say is merged. So they need
//! no store of their own and no word between them about registrations.

mod client;
mod feed;
mod registry;
mod wire;

pub(crate) use client::{GatewayClient, GatewayError};
pub(crate) use feed::{Connection, Feed, GatewayState, Siblings, Subscriber};
pub(crate) use registry::{Registered, Registration, Registrations};
#[cfg(test)]
pub(crate) use wire::Unadmitted;
pub(crate) use wire::{Agent, Refusal};
