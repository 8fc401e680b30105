//! The embedded Kubernetes HTTP API over a store.
