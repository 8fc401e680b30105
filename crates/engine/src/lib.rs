//! The embedded workflow engine: a pure core and its driver over the Kubernetes API.
