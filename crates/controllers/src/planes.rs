//! The plane kinds: one pipeline for all six.

mod access;
mod apply;
mod build;
mod certificates;
mod dereference;
mod finalize;
mod kind;
mod status;
#[cfg(test)]
mod testing;
mod validate;

pub(crate) use access::PlaneApi;
pub(crate) use kind::{Context, Kind, PlaneListener};
