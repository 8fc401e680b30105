//! Our facade over the CEL library.
