//! Everything that is printed goes through here: plain lines, tables, and harmless text on terminals.

pub(crate) mod document;
pub(crate) mod sanitize;
pub(crate) mod table;
pub(crate) mod terminal;

use std::fmt;
use std::io::{self, Write as _};

/// Prints one line to standard output. A reader that went away is an error here, and a quiet end in `main`.
pub(crate) fn line(text: impl fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Prints one line to standard error. Nobody can be told when that fails.
pub(crate) fn note(text: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
