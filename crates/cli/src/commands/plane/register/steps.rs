//! What a registration says that it did, and on which side.

use std::fmt;

use crate::failure::Result;
use crate::output::line;
use crate::output::sanitize::sanitize;

pub(super) const BUILD_PLANE: &str = "build plane";
pub(super) const CONTROL_PLANE: &str = "control plane";

/// Says one step.
pub(super) fn step(side: &str, context: &str, what: fmt::Arguments<'_>) -> Result<()> {
    let text = format!("{side} ({context}): {what}");
    Ok(line(sanitize(text.as_bytes()))?)
}
