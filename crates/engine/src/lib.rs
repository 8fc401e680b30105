//! The embedded workflow engine: runs Argo Workflow manifests without Argo.
//!
//! [`core`] decides, and is pure. The [`Engine`] around it watches workflows and pods through the Kubernetes API, asks
//! the core, does what it answers and writes the status. Steps run in pods; who runs the pods is not the engine's
//! concern, and the engine touches neither processes nor files.
//!
//! # Where it differs from Argo Workflows
//!
//! | subject | here | Argo |
//! |---|---|---|
//! | `{{…}}` | expanded once; what is put in is never expanded again | expanded in several passes |
//! | `when` | parsed before variables are put in, so that no value changes its meaning | parsed afterwards |
//! | `{{…}}` that is no variable, such as `{{.Id}}` | stays, unless its first word is that of a variable | stays or fails |
//! | values of the workflow's own parameters | data, never expanded | expanded |
//! | what cannot be done (artifacts, sidecars, hooks, `depends`, `withSequence`, `outputs.result`, expressions …) | refused by name before anything runs | done |
//! | a template that does not exist | Error at once | the same |
//! | an interrupted step | Error, not retried by the default policy | may be retried |
//! | a step that is stopped | its pod is removed | its container is signalled |
//! | placement, metrics, archiving, tolerations, `imagePullSecrets` | no meaning on one machine, ignored | honoured |
//!
//! Start reading at [`core::step`], then [`Engine::run`].

pub mod config;
pub mod core;
mod driver;

pub use config::Config;
pub use driver::{Engine, Error};
