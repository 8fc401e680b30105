//! The Argo Workflow manifests and the node status that BuildPlane reads and writes.
//!
//! Objects ([`Workflow`], [`WorkflowTemplate`], [`ClusterWorkflowTemplate`]) keep `spec` and `status` as they came from
//! the API, so that nothing a newer Argo wrote is lost and one malformed object cannot break a list or a watch. They are
//! read into typed form on demand: [`Workflow::spec`], [`Workflow::status`]. The typed structs keep what they do not
//! model in `other`, which is also how the engine finds what it must refuse by name.
//!
//! This crate has no behaviour: it runs nothing, decides nothing and talks to nobody.
//! Start reading at [`object`], then [`status`].

pub mod crds;
pub mod labels;
pub mod names;
pub mod object;
pub mod phase;
pub mod read;
pub mod spec;
pub mod status;
pub mod template;
pub mod text;

pub use crds::crds;
pub use object::{ClusterWorkflowTemplate, Workflow, WorkflowTemplate};
pub use phase::{NodePhase, NodeType, WorkflowPhase};
pub use read::{ReadError, read};
pub use spec::WorkflowSpec;
pub use status::{NodeStatus, WorkflowStatus};
pub use template::Template;
pub use text::AnyString;
