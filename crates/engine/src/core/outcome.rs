//! What the core answers.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::core::observed::Reference;

/// The answer to one observation.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Nothing can be said before these are known: find them out, note what is absent, and ask again.
    Look(Vec<Reference>),
    /// What to do.
    Act(Box<Actions>),
}

/// What to do, in this order: `before`, then the status, then `after`.
///
/// Whatever of it is lost in a crash is asked for again by the next step, and nothing of it happens twice: objects are
/// created under fixed names and only if absent, and are removed only when the written status no longer needs them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Actions {
    /// To be done before the status is written.
    pub before: Vec<Effect>,
    /// The new status, if it differs from that of the workflow.
    pub status: Option<Value>,
    /// Labels the workflow shall have beside those it has.
    pub labels: BTreeMap<String, String>,
    /// Annotations the workflow shall have beside those it has.
    pub annotations: BTreeMap<String, String>,
    /// To be done once the status is written.
    pub after: Vec<Effect>,
    /// When to ask again even if nothing changes.
    pub wake_at: Option<Timestamp>,
}

impl Actions {
    /// Whether there is nothing to do but wait.
    pub fn is_idle(&self) -> bool {
        self.before.is_empty()
            && self.status.is_none()
            && self.labels.is_empty()
            && self.annotations.is_empty()
            && self.after.is_empty()
    }
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Create this claim unless it exists.
    CreateClaim(Value),
    /// Create this pod unless it exists.
    CreatePod(Value),
    /// Remove this pod, which also stops it.
    DeletePod(String),
    /// Remove this claim.
    DeleteClaim(String),
    /// Remove the workflow itself.
    DeleteWorkflow,
}
