//! Phases and node types.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! names {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        pub enum $name {
            $($(#[$vmeta])* $variant,)+
            /// A name this version does not know.
            Other(String),
        }

        impl $name {
            /// The name as it stands in the API.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => stringify!($variant),)+
                    Self::Other(name) => name,
                }
            }
        }

        impl From<String> for $name {
            fn from(name: String) -> Self {
                match name.as_str() {
                    $(stringify!($variant) => Self::$variant,)+
                    _ => Self::Other(name),
                }
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.as_str().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

names! {
    /// Where a workflow stands. A workflow nobody has looked at yet has none.
    WorkflowPhase {
        /// Accepted, nothing started.
        Pending,
        /// Some node is under way.
        Running,
        /// Finished as wished.
        Succeeded,
        /// A step failed, the deadline passed or somebody stopped it.
        Failed,
        /// It could not be run: the manifest or the engine is at fault, not a step.
        Error,
    }
}

names! {
    /// Where a node stands.
    NodePhase {
        /// Its pod has not started yet.
        Pending,
        /// Under way.
        Running,
        /// Finished as wished.
        Succeeded,
        /// Its `when` was false.
        Skipped,
        /// Its step failed.
        Failed,
        /// It could not be run.
        Error,
        /// What it depends on did not turn out as it asked.
        Omitted,
    }
}

names! {
    /// What a node is.
    NodeType {
        /// One step that runs in a pod.
        Pod,
        /// One container of a container set.
        Container,
        /// A template of step groups.
        Steps,
        /// The members of one group.
        StepGroup,
        /// A template of tasks with dependencies.
        DAG,
        /// The expanded members of a task with a loop.
        TaskGroup,
        /// The attempts of a step with a retry strategy.
        Retry,
        /// A step that was not run because of its `when`.
        Skipped,
        /// A step that waits.
        Suspend,
        /// An HTTP request.
        HTTP,
        /// A plugin's step.
        Plugin,
    }
}

impl WorkflowPhase {
    /// Whether a workflow in this phase is over.
    pub fn is_completed(&self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Error)
    }
}

impl NodePhase {
    /// Whether a node in this phase is over, well or not.
    pub fn is_fulfilled(&self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Error | Self::Skipped | Self::Omitted)
    }

    /// Whether a node in this phase went wrong.
    pub fn is_failed_or_error(&self) -> bool {
        matches!(self, Self::Failed | Self::Error)
    }
}
