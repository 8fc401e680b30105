//! The `openchoreo.dev/v1alpha1` kinds, their validated names, conditions and labels.
//!
//! This crate is the one source of the API: the CRDs under `charts/` are generated from it ([`crds`]). It holds no
//! client and does no I/O. Start reading at [`plane`] for the planes and at [`workflow`] for what runs on them.

pub mod names;

pub use names::{CiNamespace, CrRef, NameError, PlaneId, PlaneKind, PlaneType};
