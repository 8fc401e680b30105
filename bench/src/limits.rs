//! Limits of this process, which its children inherit.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// As many open files as the system lets this process have; how many that is.
pub(crate) fn raise_open_files() -> usize {
    const ENOUGH: u64 = 65_536;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // Root may raise the hard limit as well.
    for wanted in [maximum.map_or(ENOUGH, |maximum| maximum.max(ENOUGH)), maximum.unwrap_or(ENOUGH)] {
        let limit = Rlimit { current: Some(wanted), maximum: Some(wanted) };
        if setrlimit(Resource::Nofile, limit).is_ok() {
            return usize::try_from(wanted).unwrap_or(usize::MAX);
        }
    }
    current.and_then(|current| usize::try_from(current).ok()).unwrap_or(1024)
}
