//! The process's own log, on standard error.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::environment;

/// Starts logging, and traces where the environment names a collector. `default` counts when `BUILDPLANE_LOG` is unset,
/// `name` is what the process is called in traces. Called once, by the commands that run parts, in the runtime.
pub(crate) fn start(default: &str, name: &str) {
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
        // Whatever a span says stands in the list of spans, and need not stand there twice.
        builder.json().with_current_span(false).try_init()
    };
    if let Some(endpoint) = environment::traces_endpoint() {
        let service = environment::traces_service();
        if let Err(error) = buildplane_traces::start(&endpoint, service.as_deref().unwrap_or(name)) {
            tracing::warn!(error = &error as &dyn std::error::Error, "there are no traces");
        }
    }
}
