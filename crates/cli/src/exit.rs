//! The exit codes of `buildplane`, which scripts rely on.

use std::process::ExitCode;

/// Why the process ended, as its exit code says it.
///
/// The codes are a contract: they are listed in `buildplane --help` and never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ExitStatus {
    /// The command did what it was asked to do; a build or run succeeded.
    Success = 0,
    /// The build or run came to its end and did not succeed.
    RunFailed = 1,
    /// The command line was not understood (also clap's own code).
    Usage = 2,
    /// The command could not do its work.
    Error = 3,
    /// What was named does not exist.
    NotFound = 4,
    /// The platform or the API server does not answer.
    Unreachable = 5,
    /// Refused: forbidden, invalid, in conflict, or already running.
    Refused = 6,
    /// A deadline passed first.
    TimedOut = 7,
    /// Ended by Ctrl-C or SIGTERM.
    Interrupted = 130,
}

/// The table of `buildplane --help`.
pub(crate) const HELP: &str = "\
Exit codes:
  0    success; a build or run succeeded
  1    the build or run ended without success
  2    the command line was not understood
  3    the command could not do its work
  4    what was named does not exist
  5    the platform or API server does not answer
  6    refused: forbidden, invalid, in conflict or already running
  7    a deadline passed
  130  interrupted";

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status as u8)
    }
}
