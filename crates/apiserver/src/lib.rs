//! The embedded Kubernetes HTTP API over a store.
//!
//! Serves what kubectl, helm and kube clients use: discovery, OpenAPI, create, get, list, watch, update, the four
//! patches, delete, reviews, pod logs, custom resources without a restart; with RBAC, finalizers, garbage collection
//! and namespace life cycle. It knows the built-in kinds in its table (`kinds`) and no kind of its users: those
//! come as CustomResourceDefinitions.
//!
//! ```text
//!  request ─▶ front (host, identity, limits) ─▶ call (target, kind, authorization) ─▶ verbs ─▶ store
//!                                          └─▶ discovery, openapi, version, health
//!  control (background): garbage collection, namespaces, definitions, events
//! ```
//!
//! Objects are stored as the text that is sent out, with the `resourceVersion` in place, so that get, list and watch
//! neither parse nor print. Start reading at [`Server`], then `front`, `call` and `verbs`.

mod auth;
mod call;
mod config;
mod control;
mod discovery;
mod error;
mod front;
mod http;
mod identity;
mod kinds;
mod object;
mod openapi;
mod podlogs;
mod protobuf;
mod server;
mod tokens;
mod verbs;

pub use config::{Config, Limits};
pub use identity::{Identity, MASTERS};
pub use podlogs::{LogOptions, PodLogError, PodLogRef, PodLogs};
pub use server::{Error, Server};
pub use tokens::{TokenKey, TokenKeyError};
