//! What a machine must have before a step may run on it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::subordinate::{Subordinate, Tables};

/// Something this machine lacks, and how to get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What is missing, as a fragment: `bubblewrap is not installed`.
    pub what: String,
    /// What to do about it, a command where there is one.
    pub remedy: String,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.what, self.remedy)
    }
}

/// The tools a sandbox is made with, and the Debian packages that have them.
const TOOLS: [(&str, &str); 8] = [
    ("bwrap", "bubblewrap"),
    ("newuidmap", "uidmap"),
    ("newgidmap", "uidmap"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
    ("prlimit", "util-linux"),
    ("mount", "mount"),
];

/// What this machine lacks for running steps as the user this process runs as; empty when nothing.
///
/// Looks at files and starts one short-lived process. Whether a whole sandbox comes up, the executor finds out by
/// making one.
pub fn probe() -> Vec<Missing> {
    let mut missing = tools();
    if let Err(lack) = subordinate_ids() {
        missing.push(lack);
    }
    if missing.is_empty() {
        missing.extend(user_namespaces());
    }
    missing
}

/// The ids sandboxes of this user run as.
pub(crate) fn subordinate_ids() -> Result<Subordinate, Missing> {
    let tables = Tables::read().map_err(|error| Missing {
        what: format!("the tables of subordinate ids cannot be read: {error}"),
        remedy: "make /etc/passwd, /etc/group, /etc/subuid and /etc/subgid readable".to_owned(),
    })?;
    tables.choose()
}

fn tools() -> Vec<Missing> {
    let mut missing: Vec<Missing> = Vec::new();
    for (tool, package) in TOOLS {
        match find(tool) {
            None => missing.push(Missing {
                what: format!("{tool} is not installed"),
                remedy: format!("as root: apt-get install {package}"),
            }),
            Some(path) if tool.starts_with("new") && !is_privileged(&path) => missing.push(Missing {
                what: format!("{} has neither the set-user-id bit nor a file capability", path.display()),
                remedy: format!("as root: apt-get install --reinstall {package}"),
            }),
            Some(_) => {}
        }
    }
    missing
}

fn find(tool: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .map(|directory| Path::new(directory).join(tool))
        .find(|path| path.is_file())
}

/// Some distributions give the tool file capabilities instead of the bit; those are its own business, so any attribute
/// of that name counts.
fn is_privileged(path: &Path) -> bool {
    let root = rustix::process::geteuid().is_root();
    let set_user_id = fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o4000 != 0);
    let mut value = [0_u8; 64];
    root || set_user_id || rustix::fs::getxattr(path, "security.capability", &mut value).is_ok()
}

/// Whether this user may make user namespaces; where not, the switch that forbids it.
fn user_namespaces() -> Option<Missing> {
    let made = Command::new("unshare")
        .args(["--user", "--mount", "true"])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .output();
    let said = match made {
        Ok(output) if output.status.success() => return None,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    // Each with the value that forbids, and the one that allows.
    let switches = [
        ("user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"),
        ("kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
        (
            "kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    ];
    let forbidding = switches.iter().find(|(file, forbids, _)| {
        fs::read_to_string(Path::new("/proc/sys").join(file)).is_ok_and(|value| value.trim() == *forbids)
    });
    Some(match forbidding {
        Some((file, forbids, remedy)) => Missing {
            what: format!("user namespaces are forbidden: {} is {forbids}", file.replace('/', ".")),
            remedy: format!("as root: {remedy}"),
        },
        None => Missing {
            what: format!("no user namespace can be made: {said}"),
            remedy: "run on the host itself or in a container that allows unshare and mount (a virtual machine always does)"
                .to_owned(),
        },
    })
}
