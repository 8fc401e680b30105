//! The buildplane binary.
fn main() {}
