//! The pure core: what a workflow's status should be, and what has to be done, given what is observed and the time.
//!
//! [`step`] is a function. It talks to nobody, reads no clock and draws no random number, so that a whole run can be
//! replayed as text. It may be called at any moment and any number of times: what it asks for twice is the same thing by
//! the same name.
//!
//! ```text
//!   workflow ─┐                      ┌─ Look(references): find these out and call again
//!   pods ─────┼─▶ step(…, now) ──────┤
//!   templates ┘                      └─ Act: effects before ─▶ status ─▶ effects after, wake at
//! ```
//!
//! Reading order: [`observed`] and [`outcome`] are its interface, `run` the life of a workflow, `execute` that of a
//! node, `steps`, `dag` and `retry` the kinds of nodes, `pod` what a step becomes.

pub mod limits;
pub mod observed;
pub mod outcome;

mod arguments;
mod condition;
mod dag;
mod execute;
mod finish;
mod housekeeping;
mod items;
mod nodes;
mod observe;
mod pod;
mod resolve;
mod retry;
mod run;
mod scope;
mod spec;
mod steps;
mod substitute;
mod validate;
mod volumes;

pub use run::{postpone, step};

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
