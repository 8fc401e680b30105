//! The gateway, seen from the controllers: who may connect for a plane, who is connected, and the way to a plane's API.

mod client;
mod feed;
mod registry;
mod wire;

pub(crate) use client::{GatewayClient, GatewayError};
pub(crate) use feed::{Connection, Feed, GatewayState, Refusal, Subscriber, is_heartbeat_due};
pub(crate) use registry::{Registration, Registrations};
