//! The process's own log, on standard error.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::environment;

/// Starts logging; `default` counts when `BUILDPLANE_LOG` is unset. Called once, by the commands that run parts.
pub(crate) fn start(default: &str) {
    let filter = environment::log_filter().unwrap_or_else(|| default.to_owned());
    let filter = EnvFilter::try_new(&filter).unwrap_or_else(|error| {
        crate::output::note(format_args!("ignoring {}={filter}: {error}", environment::names::LOG));
        EnvFilter::new(default)
    });
    let terminal = io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // A second start is a mistake of ours; the first one's log goes on.
    let _ = if terminal {
        builder.with_ansi(environment::color_allowed()).try_init()
    } else {
        builder.json().try_init()
    };
}
