//! The embedded workflow engine: runs Argo Workflow manifests without Argo.
//!
//! [`core`] decides, and is pure. The [`Engine`] around it watches workflows and pods through the Kubernetes API, asks
//! the core, does what it answers and writes the status. Steps run in pods; who runs the pods is not the engine's
//! concern, and the engine touches neither processes nor files.
//!
//! Start reading at [`core::step`], then [`Engine::run`].

pub mod config;
pub mod core;
mod driver;

pub use config::Config;
pub use driver::{Engine, Error};
