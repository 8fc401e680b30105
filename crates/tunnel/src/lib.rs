//! HTTP/2 over a WebSocket byte stream, both ends.
//!
//! The agent dials, and the roles inside are reversed: the *gateway* is the HTTP/2 client.
//!
//! ```text
//!  gateway                                             agent
//!  Upgrade (101) ◀────────── WebSocket handshake ───── dial
//!  GatewayEnd ── Handle::send ──▶ HTTP/2 stream ─────▶ serve(service)
//! ```
//!
//! Both ends are generic over the byte stream below the WebSocket and know neither TLS nor Kubernetes. Flow control is a
//! correctness rule here: the connection's window holds every stream's window, so that bodies nobody reads stall nobody
//! else (see [`Settings`]). Start reading at [`GatewayEnd`] and [`serve`]. Beside it stands upstream's protocol, [`json`],
//! for agents that speak no other.

mod activity;
mod agent;
mod byte_stream;
mod dial;
mod error;
mod executor;
mod gateway;
pub mod json;
mod settings;
mod splice;
mod upgrade;

pub use activity::Activity;
pub use agent::serve;
pub use byte_stream::ByteStream;
pub use dial::{Opened, dial, open};
pub use error::{Error, Rejected};
pub use gateway::{Driver, GatewayEnd, Handle, RequestBody, StreamBody};
pub use settings::Settings;
pub use splice::{Carried, Patience, SpliceError, Spliced, splice};
pub use upgrade::{Accepted, AgentDriver, Protocol, Upgrade, UpgradeError, websocket_accept, websocket_key};

/// The WebSocket subprotocol: binary messages carry one HTTP/2 connection whose client is the gateway.
pub const SUBPROTOCOL: &str = "h2.tunnel.openchoreo.dev";

/// An error of a body or a service.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
