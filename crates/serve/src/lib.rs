//! The one accept loop: TLS with a deadline, HTTP/1 and HTTP/2, peer certificates, limits, graceful shutdown.
//!
//! It knows nothing of what is served. Who the peer is stands in the request's extensions: [`PeerAddr`] always,
//! `Arc<buildplane_tls::PeerCertificates>` when the client presented a certificate. Start reading at [`serve`].

mod accept;
mod connection;
mod host;
mod limits;
mod listener;

pub use accept::{serve, serve_plain};
pub use connection::{BoxError, PeerAddr};
pub use host::is_addressed_here;
pub use limits::Limits;
pub use listener::Listener;
