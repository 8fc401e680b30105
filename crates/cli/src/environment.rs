//! The environment variables that `buildplane` reads, all of them, in one place.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Names of the variables, for `--help` and for the tests that set them.
pub(crate) mod names {
    /// The kubeconfig, as for kubectl (a list of files is merged).
    pub(crate) const KUBECONFIG: &str = "KUBECONFIG";
    /// The local platform's data directory, when `--data-dir` is not given.
    pub(crate) const DATA_DIR: &str = "BUILDPLANE_DATA_DIR";
    /// Filter of the process's own log, for example `debug` or `buildplane_gateway=trace`.
    pub(crate) const LOG: &str = "BUILDPLANE_LOG";
    /// Base URL of a collector that takes OTLP over HTTP; unset, there are no traces. What else OpenTelemetry's libraries
    /// read (`OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*`, …) they read themselves.
    pub(crate) const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    /// As what the process appears in traces.
    pub(crate) const TRACES_SERVICE: &str = "OTEL_SERVICE_NAME";
    /// Set to anything but the empty string: no color.
    pub(crate) const NO_COLOR: &str = "NO_COLOR";
    /// `dumb` means that nothing may be redrawn.
    pub(crate) const TERM: &str = "TERM";
    /// Where the data directory lies by default.
    pub(crate) const XDG_DATA_HOME: &str = "XDG_DATA_HOME";
    /// The proxies that the agent goes through, and what it reaches without one; lower case comes first.
    pub(crate) const PROXIES: [&str; 6] =
        ["https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"];
    /// Falls in for `XDG_DATA_HOME`, and holds `.kube/config`.
    pub(crate) const HOME: &str = "HOME";
}

fn non_empty(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// The data directory of a local platform when no option names one: `$XDG_DATA_HOME/buildplane`, else
/// `~/.local/share/buildplane`.
pub(crate) fn default_data_dir() -> Option<PathBuf> {
    let absolute = |value: OsString| Some(PathBuf::from(value)).filter(|path| path.is_absolute());
    non_empty(names::XDG_DATA_HOME)
        .and_then(absolute)
        .or_else(|| non_empty(names::HOME).map(|home| Path::new(&home).join(".local/share")))
        .map(|base| base.join("buildplane"))
}

/// The files that `KUBECONFIG` lists.
pub(crate) fn kubeconfig_files() -> Vec<PathBuf> {
    non_empty(names::KUBECONFIG)
        .map(|list| env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect())
        .unwrap_or_default()
}

/// kubectl's default file, if there is one.
pub(crate) fn home_kubeconfig() -> Option<PathBuf> {
    non_empty(names::HOME).map(|home| Path::new(&home).join(".kube/config")).filter(|path| path.is_file())
}

pub(crate) fn color_allowed() -> bool {
    non_empty(names::NO_COLOR).is_none() && !is_dumb_terminal()
}

pub(crate) fn is_dumb_terminal() -> bool {
    env::var_os(names::TERM).is_some_and(|term| term == "dumb")
}

/// A variable that names a proxy, set to nothing included, which means something there.
pub(crate) fn proxy(name: &str) -> Option<String> {
    let known = names::PROXIES.into_iter().find(|known| *known == name)?;
    env::var(known).ok()
}

/// The log filter, `None` for each command's own default.
pub(crate) fn log_filter() -> Option<String> {
    non_empty(names::LOG).and_then(|filter| filter.into_string().ok())
}

/// Where spans are exported to, if anywhere.
pub(crate) fn traces_endpoint() -> Option<String> {
    non_empty(names::TRACES_ENDPOINT).and_then(|endpoint| endpoint.into_string().ok())
}

/// The name under which they are, where it is not the process's own.
pub(crate) fn traces_service() -> Option<String> {
    non_empty(names::TRACES_SERVICE).and_then(|name| name.into_string().ok())
}
