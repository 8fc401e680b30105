//! The one door to rustls: identities, verification against one tenant's CA, reload.
//!
//! No socket is opened here. [`Authority`] issues, [`TrustAnchors`] is one tenant's (or one listener's) set of trusted
//! certificates, [`verify_client`] judges a peer against exactly one such set, [`ServerIdentity`] and [`ClientIdentity`]
//! give rustls configurations whose certificate can be replaced while connections are open.
//!
//! Trust is decided after the handshake: the agents' listener accepts any certificate for which the peer proves possession of
//! the key, and each custom resource's CA is then tried alone. Tenants' CAs are never merged into one pool.

mod anchors;
mod authority;
mod certified;
mod client;
mod connect;
mod crypto;
mod peer;
mod pem;
mod server;
mod verify;

pub use anchors::{AnchorError, AnchorStore, Fingerprint, TrustAnchors};
pub use authority::{Authority, IssueError, LeafRequest, Usage};
pub use certified::{CertifiedKey, KeyError};
pub use client::{ClientConfigError, ClientIdentity, NotBelieved, ServerCertificates};
pub use connect::{ConnectError, connect};
pub use crypto::{Alpn, install_crypto};
pub use peer::{MalformedPlaneSan, PeerCertificates, PlaneSan};
pub use rustls::{ClientConfig, ServerConfig};
pub use server::{ClientAuth, ServerConfigError, ServerIdentity};
pub use verify::{VerifiedPeer, VerifyError, verify_client};
