//! The two embedded Kubernetes APIs.
