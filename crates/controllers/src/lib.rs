//! One module a kind: dereference, validate, build, apply, status.
