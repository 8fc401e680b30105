//! planes
