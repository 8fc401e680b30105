//! The Common Expression Language, as templates and validation rules use it.
//!
//! Parsing is the `cel` crate's; everything after the syntax tree is ours, because three things had to hold that its
//! interpreter does not give: every evaluation has a cost limit that does not depend on a clock, results never
//! depend on the random order of a hash map, and JSON is read in place instead of being copied for each evaluation.
//! Functions without any of these concerns (timestamps, durations, `format`, bit operations) are the crate's own.
//!
//! An [`Environment`] compiles a source text into a [`Program`]: names are resolved, unknown variables and functions
//! are refused, regular expressions that are literals are compiled. A program is immutable, cheap to clone, `Send` and
//! `Sync`, and is meant to be evaluated many times:
//!
//! ```
//! use buildplane_expr::{Environment, Limits};
//! use serde_json::json;
//!
//! let program = Environment::standard().compile("self.replicas <= self.max", &["self"])?;
//! let object = json!({"replicas": 2, "max": 3});
//! assert!(program.evaluate_bool(&[("self", &object)], &Limits::default())?);
//! # Ok::<(), buildplane_expr::Error>(())
//! ```
//!
//! Start reading at [`environment`](Environment), then `lower` (syntax tree to resolved tree) and `eval`.

mod budget;
mod environment;
mod error;
mod eval;
mod foreign;
mod library;
mod limits;
mod lower;
mod node;
mod operators;
mod output;
mod parse;
mod program;
mod value;

pub use environment::{Arity, Environment};
pub use error::{Error, LimitExceeded};
pub use limits::Limits;
pub use program::{Outcome, Program};
