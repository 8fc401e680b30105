//! Upstream's protocol, in which agents of OpenChoreo v0.16 and v0.17 speak: a text message is one JSON object, a request
//! from the gateway or an agent's answer to it, with the whole body in base64.
//!
//! It carries no streams and knows no cancellation: an agent goes on with what nobody waits for any more. What it lacks
//! in safety is added at our end: ids are made here and prove the connection they belong to, messages and waiting requests are bounded,
//! every request has a deadline, and an agent that breaks the protocol is hung up on.

mod agent;
mod frame;
mod gateway;
mod settings;

pub use agent::{dial, serve};
pub(crate) use gateway::JsonHandle;
pub use gateway::{Driver, GatewayEnd};
pub use settings::Settings;
