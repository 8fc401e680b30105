//! The `openchoreo.dev/v1alpha1` kinds, their validated names, conditions and labels.
//!
//! This crate is the one source of the API: the CRDs under `charts/` are generated from it ([`crds()`]). It holds no
//! client and does no I/O. Start reading at [`plane`] for the planes and at [`run`] for what runs on them.

#![expect(
    unreachable_pub,
    reason = "KubeSchema repeats each struct inside a function, where pub reaches nobody"
)]

pub mod application;
pub mod conditions;
pub mod crds;
pub mod meta;
pub mod names;
pub mod plane;
pub mod run;
pub mod schema;
pub mod secret_reference;
pub mod workflow;
pub mod workload;

pub use application::{Component, Project};
pub use crds::crds;
pub use names::{CiNamespace, CrRef, NameError, PlaneId, PlaneKind, PlaneType};
pub use plane::{
    BuildPlane, ClusterBuildPlane, ClusterDataPlane, ClusterObservabilityPlane, DataPlane, ObservabilityPlane,
};
pub use run::WorkflowRun;
pub use secret_reference::SecretReference;
pub use workflow::Workflow;
pub use workload::Workload;
