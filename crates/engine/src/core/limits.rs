//! Bounds on what one workflow may ask of the engine. A workflow that exceeds one ends in an Error that names it.

/// Bounds on one workflow.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Nodes of one workflow.
    pub nodes: usize,
    /// How deep templates may call templates.
    pub depth: usize,
    /// Templates that can be reached from the entrypoint.
    pub templates: usize,
    /// Members of one loop.
    pub items: usize,
    /// Bytes of one parameter's value.
    pub parameter_bytes: usize,
    /// Bytes that `{{…}}` may grow one template or one step to.
    pub expansion_bytes: usize,
    /// Bytes of the whole status.
    pub status_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            nodes: 2_000,
            depth: 32,
            templates: 500,
            items: 1_000,
            parameter_bytes: 256 * 1024,
            expansion_bytes: 1024 * 1024,
            // A Kubernetes API server takes objects of about 1.5 MiB.
            status_bytes: 1024 * 1024,
        }
    }
}
