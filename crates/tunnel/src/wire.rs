//! What a request looks like inside the tunnel: its headers, its canonical path and query.
//!
//! Both ends use the same reading. The gateway sends what this module made canonical; the agent judges what this module
//! reads and replays exactly that, so that nothing is judged in one form and carried out in another.

mod headers;
mod path;
mod query;

pub use headers::{
    AGENT_INSTANCE, AGENT_VERSION, CR, REQUEST_ID, TARGET, forward_request, forward_response,
    forward_trailers,
};
pub use path::{CanonicalPath, PathError};
pub use query::{CanonicalQuery, Endless, QueryError};

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
