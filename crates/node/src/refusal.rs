//! Why a Pod is not run.

/// Why a Pod is not run: what `status.reason` and `status.message` say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{field} is not supported here")]
    Field { field: String },
    #[error("{field}: {problem}")]
    Value { field: String, problem: String },
    #[error(
        "image {image:?} cannot be run here: steps run over this machine's own tools, and only {} means those",
        .allowed.join(", ")
    )]
    Image { image: String, allowed: Vec<String> },
    #[error("the step is not acceptable: {problem}")]
    Step { problem: String },
    #[error("{problem}")]
    Reference { problem: String },
    #[error("{problem}")]
    Sandbox { problem: String },
    #[error("the platform was stopped or restarted while this step ran; it is not run again by itself")]
    Interrupted,
}

impl Refusal {
    pub(crate) fn value(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Value { field: field.into(), problem: problem.into() }
    }

    /// The word in `status.reason`.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Field { .. } | Self::Value { .. } | Self::Step { .. } => "Unsupported",
            Self::Image { .. } => "ImageRefused",
            Self::Reference { .. } => "CreateContainerConfigError",
            Self::Sandbox { .. } => "SandboxUnavailable",
            Self::Interrupted => "Interrupted",
        }
    }
}
