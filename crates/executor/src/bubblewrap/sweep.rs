//! Ending sandboxes that nobody watches any more.
//!
//! A sandbox dies with its platform, but for an instant in its making: bubblewrap's child waits for a word from
//! bubblewrap, and a platform that is killed right then takes bubblewrap along before it could say it. Such a child has
//! no program and never will; it is an orphan, runs as the first of our subordinate ids, and is called `bwrap`.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};
use tracing::info;

/// Ends the sandboxes that an earlier life left behind.
pub(super) fn sweep(first_uid: u32) {
    if std::process::id() == 1 {
        // Everything of ours looks like an orphan.
        return;
    }
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        if let Some(pid) = pid.filter(|_| is_left_behind(&status, first_uid)) {
            info!(pid = pid.as_raw_nonzero().get(), "ending a sandbox that was left behind");
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn is_left_behind(status: &str, first_uid: u32) -> bool {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next())
    };
    field("Name:") == Some("bwrap")
        && field("PPid:") == Some("1")
        && field("Uid:") == Some(&first_uid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_orphans_of_ours_are_ended() {
        let status = |name: &str, parent: u32, uid: u32| {
            format!(
                "Name:\t{name}\nState:\tS (sleeping)\nPid:\t7\nPPid:\t{parent}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n"
            )
        };
        for (status, expected) in [
            (status("bwrap", 1, 100_000), true),
            (status("bwrap", 2, 100_000), false),
            (status("bwrap", 1, 1000), false),
            (status("sh", 1, 100_000), false),
            (String::new(), false),
        ] {
            assert_eq!(is_left_behind(&status, 100_000), expected, "{status}");
        }
    }
}
