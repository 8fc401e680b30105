//! Pure Kubernetes semantics on [`serde_json::Value`]: what an API server does to an object between reading a
//! request and writing to its store.
//!
//! Nothing here performs I/O, reads a clock or knows a kind by heart (the merge keys of the built-in kinds are a
//! data table, [`schema`] applies it by definition name). Time is always passed in.
//!
//! Reading order:
//!
//! * [`names`]: what a name, a label key or a label value may look like, and the text Kubernetes prints if not.
//! * [`field`]: errors about one field of an object, and how a list of them becomes one message.
//! * [`decode`]: JSON into values with limits, reporting duplicate keys for strict field validation.
//! * [`schema`]: structural schemas: prune, default, validate, rules.
//! * [`managed`]: server-side apply and the tracking of field ownership.
//! * [`patch`]: JSON patch, JSON merge patch, strategic merge patch.
//! * [`selector`]: label and field selectors.
//! * [`rbac`]: do these rules allow this request?
//! * [`jsonpath`] and [`table`]: printer columns and `meta.k8s.io/v1` tables.

pub mod decode;
pub mod field;
pub mod jsonpath;
pub mod managed;
pub mod names;
pub mod patch;
pub mod rbac;
pub mod schema;
pub mod selector;
pub mod table;
