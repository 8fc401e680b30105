//! Templates over a document, and the schema shorthand that describes their parameters.
//!
//! A [`WorkflowTemplate`] is what a Workflow holds: a run template, further resources and references to secrets, with
//! `${…}` expressions in any string. Compiling it checks everything that can be checked without data; rendering it
//! for a [`RunContext`] gives the objects to apply. A [`ParameterSchema`] is the Workflow's parameter schema: it adds
//! defaults, validates, and converts to OpenAPI.
//!
//! Everything here is pure: no I/O, no clock, no random order; and bounded: documents, expressions, their cost and
//! what they make all have limits.
//!
//! Start reading at [`workflow`](WorkflowTemplate); below it `document` (walking), `scan` (finding `${…}`), `text`
//! (values inside strings) and `functions` (the `oc_…` functions).

mod context;
mod document;
mod error;
mod functions;
mod hyphen;
mod names;
mod path;
mod scan;
mod schema;
mod text;
mod workflow;

pub use context::RunContext;
pub use error::{Error, Problem};
pub use functions::environment;
pub use names::{dns_label, generate_name, short_hash};
pub use path::DocumentPath;
pub use schema::{ParameterError, ParameterSchema, SchemaError};
pub use text::to_text;
pub use workflow::{
    ExternalReference, RenderedResource, RenderedWorkflow, ResourceTemplate, WorkflowTemplate,
};
