//! What a detached platform tells the process that started it: one JSON document a line, on standard output.

use serde::{Deserialize, Serialize};

use crate::exit::ExitStatus;
use crate::failure::Failure;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Announcement {
    /// A line for the user.
    Progress(String),
    /// Everything answers.
    Ready { instructions: Vec<String> },
    /// It could not start.
    Failed { chain: Vec<String>, hint: Option<String>, exit: u8 },
}

impl Announcement {
    pub(super) fn failed(failure: &Failure) -> Self {
        let (chain, hint, exit) = failure.to_parts();
        Self::Failed { chain, hint, exit: exit as u8 }
    }

    /// The failure as the parent prints it.
    pub(super) fn failure(chain: Vec<String>, hint: Option<String>, exit: u8) -> Failure {
        let failure = Failure::from_parts(chain, hint);
        let known =
            [ExitStatus::Refused, ExitStatus::TimedOut, ExitStatus::NotFound, ExitStatus::Unreachable];
        match known.into_iter().find(|status| *status as u8 == exit) {
            Some(status) => failure.exit(status),
            None => failure,
        }
    }
}

/// Sends one. The parent may be gone; the platform runs on.
pub(super) fn send(announcement: &Announcement) {
    if let Ok(text) = serde_json::to_string(announcement) {
        drop(crate::output::line(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_arrives_as_it_was() {
        let failure = Failure::new("port 6443 is taken")
            .context("cannot start")
            .hint("--ports auto")
            .exit(ExitStatus::Refused);
        let text = serde_json::to_string(&Announcement::failed(&failure)).expect("JSON");
        let Ok(Announcement::Failed { chain, hint, exit }) = serde_json::from_str(&text) else {
            panic!("{text}")
        };
        let arrived = Announcement::failure(chain, hint, exit);
        assert_eq!((arrived.to_string(), arrived.exit_status()), (failure.to_string(), ExitStatus::Refused));
    }
}
