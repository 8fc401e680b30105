use std::fmt;

use super::{MAX_LABEL_LENGTH, NameError, excerpt, label};

/// What the namespaces of builds on a build plane start with.
pub const CI_NAMESPACE_PREFIX: &str = "openchoreo-ci-";

/// The longest control-plane namespace whose CI namespace is still a namespace name.
pub const MAX_NAMESPACE_LENGTH: usize = MAX_LABEL_LENGTH - CI_NAMESPACE_PREFIX.len();

/// The namespace on the build plane for the builds of one control-plane namespace: `openchoreo-ci-<namespace>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CiNamespace(String);

impl CiNamespace {
    /// Derives the CI namespace of a control-plane namespace.
    pub fn for_namespace(namespace: &str) -> Result<Self, NameError> {
        if namespace.len() > MAX_NAMESPACE_LENGTH {
            let length = namespace.len();
            return Err(NameError::NamespaceTooLong { namespace: excerpt(namespace), length });
        }
        label("namespace", namespace)?;
        Ok(Self(format!("{CI_NAMESPACE_PREFIX}{namespace}")))
    }

    /// Reads a namespace of the build plane; none if it is not one for builds.
    pub fn parse(text: &str) -> Option<Self> {
        Self::for_namespace(text.strip_prefix(CI_NAMESPACE_PREFIX)?).ok()
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The control-plane namespace it belongs to.
    pub fn control_plane_namespace(&self) -> &str {
        self.0.strip_prefix(CI_NAMESPACE_PREFIX).unwrap_or_default()
    }
}

impl AsRef<str> for CiNamespace {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CiNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
