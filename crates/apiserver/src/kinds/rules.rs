//! What the built-in kinds have beyond their schemas: defaults that users see and rules between fields.

mod defaults;
mod immutable;
mod validate;

pub(crate) use defaults::default;
pub(crate) use immutable::immutable;
pub(crate) use validate::{creation, validate};
