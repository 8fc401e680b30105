//! Steps in real sandboxes, through the public face.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod able;
mod build;
mod escape;
mod steps;
mod support;
