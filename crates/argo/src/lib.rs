//! The Argo Workflow manifests and node status that BuildPlane reads and writes.
