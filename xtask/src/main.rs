//! Repository chores: generate and check.
fn main() {}
