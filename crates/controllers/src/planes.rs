//! The plane kinds: one pipeline for all six.

mod access;
mod agents;
mod apply;
mod binding;
mod build;
mod certificates;
mod dereference;
mod finalize;
mod kind;
mod notices;
mod status;
mod stores;
mod sweep;
#[cfg(test)]
mod testing;
mod validate;
mod written;

pub(crate) use access::PlaneApi;
pub(crate) use binding::Bindings;
pub(crate) use kind::{Context, Kind, PlaneListener};
pub(crate) use notices::Notices;
pub(crate) use stores::Stores;
pub(crate) use sweep::{Existence, Sweeper};
pub(crate) use written::Written;
