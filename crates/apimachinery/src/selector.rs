//! Label selectors and field selectors.

mod field;
mod label;

pub use field::{FieldRequirement, FieldSelector};
pub use label::{LabelSelector, Operator, Requirement};

/// Why a selector does not parse; each text is what Kubernetes answers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// The text is not a label selector.
    #[error("unable to parse requirement: {0}")]
    Label(String),
    /// The text is not a field selector.
    #[error("invalid field selector: {0}")]
    Field(String),
    /// The object form is malformed.
    #[error("{0}")]
    Object(String),
    /// The text is longer, or has more requirements, than is sensible.
    #[error("selector is too large")]
    TooLarge,
}

/// Longest selector text; kubectl's URLs are far shorter.
const MAX_BYTES: usize = 64 * 1024;
/// Most requirements in one selector.
const MAX_REQUIREMENTS: usize = 1000;
