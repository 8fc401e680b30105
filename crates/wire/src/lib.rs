//! What crosses the tunnel and how it is read. Pure: text in, a reading or a refusal out.
//!
//! Both ends use the same reading. The gateway sends what this crate made canonical; the agent judges what this crate
//! reads and replays exactly that, so that nothing is judged in one form and carried out in another.

mod allowed;
mod attributes;
mod headers;
mod hello;
mod path;
mod query;
mod replicas;
mod upgrade;

pub use allowed::{AllowedPlanes, InvalidPattern, MAX_PATTERNS, PlanePattern};
pub use attributes::{Attributes, Resource, UnreadableRequest, Verb};
pub use headers::{
    CR, GATEWAY_INSTANCE, REQUEST_ID, TARGET, USER, forward_request, forward_response, forward_trailers,
};
pub use hello::{AgentHello, HelloError, is_claim};
pub use path::{CanonicalPath, PathError};
pub use query::{CanonicalQuery, Endless, QueryError};
pub use replicas::{REPLICAS_PATH, Replica, ReplicaSet, TARGET_AGENT, TARGET_KUBERNETES};
pub use upgrade::{
    PROTOCOL_SPDY, PROTOCOL_WEBSOCKET, SPDY_NOT_CARRIED, STREAMS_PATH, SubprotocolError, Subprotocols,
    opens_stream,
};

/// The value of a hexadecimal digit.
fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Reads the two digits after a percent sign.
fn escape(rest: &[u8]) -> Option<u8> {
    match rest {
        [high, low, ..] => Some((hex(*high)? << 4) | hex(*low)?),
        _ => None,
    }
}
