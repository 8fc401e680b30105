//! The one door to rustls: identities, verification against one tenant's CA, reload.
