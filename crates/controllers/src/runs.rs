//! WorkflowRuns: from a Workflow's templates to what runs on a build plane, and back.
//!
//! A run that has not started goes through `start`: dereference, validate, build, apply. What it starts is followed by a
//! watch through the gateway (`watches`), and told by `observe`. The plane and the names are written down before
//! anything is created, so that neither a crash nor a change of the Workflow can make two runs out of one.

mod apply;
mod build;
mod cancel;
mod dereference;
mod finalize;
mod kind;
mod observe;
mod plane;
mod problem;
mod remote;
mod start;
mod status;
mod tasks;
#[cfg(test)]
mod testing;
mod validate;
mod watches;
mod workload;

pub(crate) use kind::Runs;
pub(crate) use validate::compile;
