//! What the API answers, asked in process.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/fixture.rs"]
mod support;

#[path = "api/access.rs"]
mod access;
#[path = "api/custom.rs"]
mod custom;
#[path = "api/hostile.rs"]
mod hostile;
#[path = "api/kube.rs"]
mod kube;
#[path = "api/lifecycle.rs"]
mod lifecycle;
#[path = "api/lists.rs"]
mod lists;
#[path = "api/tokens.rs"]
mod tokens;
#[path = "api/watches.rs"]
mod watches;
#[path = "api/writes.rs"]
mod writes;
