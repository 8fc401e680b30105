//! Why a run cannot go on yet, in words for the one who waits for it.

use buildplane_api::conditions::run::reason;

use crate::error::chain;

/// Why a run cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) remedy: Remedy,
}

/// What can bring the run further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Somebody changes an object that is watched: the run, its Workflow, its plane.
    Change,
    /// Time: what failed may work when tried again.
    Retry,
    /// Nothing: the run is over.
    None,
}

impl Problem {
    /// Waits for somebody to change something.
    pub(super) fn change(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), remedy: Remedy::Change }
    }

    /// Is tried again.
    pub(super) fn retry(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), remedy: Remedy::Retry }
    }

    /// Ends the run.
    pub(super) fn fatal(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), remedy: Remedy::None }
    }

    /// What the answer of a build plane means for a run.
    pub(super) fn from_plane(plane: &str, what: &str, error: &kube::Error) -> Self {
        match error {
            // The gateway and the agent answer for themselves in these codes; the plane's API has no other use for them.
            kube::Error::Api(status) if matches!(status.code, 502..=504 | 429) => Self::retry(
                reason::BUILD_PLANE_UNREACHABLE,
                format!("{plane} does not answer: {}; check that its agent is connected", status.message),
            ),
            kube::Error::Api(status) => Self::retry(
                reason::BUILD_PLANE_REFUSED,
                format!("{plane} refused to create {what}: {}", status.message),
            ),
            other => Self::retry(
                reason::BUILD_PLANE_UNREACHABLE,
                format!("{plane} cannot be reached through the gateway: {}", chain(other)),
            ),
        }
    }
}
