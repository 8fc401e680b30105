//! Running programs as an ordinary user, with subordinate ids, also when the tests run as root.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::eventually::eventually_ok;
use crate::process::finish;

static NEXT: AtomicU32 = AtomicU32::new(0);
const PATIENCE: Duration = Duration::from_secs(30);
/// Exit codes of userdel after which there is nothing left to do.
const NO_SUCH_USER: i32 = 6;
const KEPT_HOME: i32 = 12;

/// An ordinary user. Under root it is made for the test and removed when dropped; else it is who runs the test.
#[derive(Debug)]
pub struct OrdinaryUser {
    name: String,
    uid: u32,
    gid: u32,
    home: PathBuf,
    temporary: bool,
}

impl OrdinaryUser {
    /// Makes or finds the user.
    #[track_caller]
    pub fn new() -> Self {
        if id("-u") != 0 {
            let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
            return Self { name: id_name(), uid: id("-u"), gid: id("-g"), home, temporary: false };
        }
        let name = format!("bptest{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        // Tests beside this one make users, too, and the user database is locked meanwhile.
        eventually_ok("a user can be made", PATIENCE, || {
            let mut command = Command::new("useradd");
            command.args(["--create-home", "--user-group", "--shell", "/bin/sh", &name]);
            let made = finish(command, "", PATIENCE);
            if made.success() { Ok(()) } else { Err(made.stderr) }
        });
        let entry = passwd(&name);
        let user = Self { uid: entry.0, gid: entry.1, home: entry.2, name, temporary: true };
        assert!(
            user.has_subordinate_ids(),
            "useradd gave {} no subordinate ids; see /etc/login.defs",
            user.name
        );
        user
    }

    /// The login name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The user id.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The home directory.
    pub fn home(&self) -> &Path {
        &self.home
    }

    fn has_subordinate_ids(&self) -> bool {
        ["/etc/subuid", "/etc/subgid"].iter().all(|file| {
            let text = fs::read_to_string(file).unwrap_or_default();
            text.lines().any(|line| line.split(':').next() == Some(&self.name))
        })
    }

    /// A program as this user, with an environment of its own.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        if self.temporary {
            command.uid(self.uid).gid(self.gid).current_dir(&self.home);
        }
        command.env_clear().env("HOME", &self.home).env("USER", &self.name).env("LOGNAME", &self.name);
        command
            .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into()));
        command
    }

    /// Makes a directory and what is in it this user's.
    #[track_caller]
    pub fn give(&self, path: &Path) {
        if self.temporary {
            let mut command = Command::new("chown");
            command.arg("-R").arg(format!("{}:{}", self.uid, self.gid)).arg(path);
            finish(command, "", PATIENCE).ok();
        }
    }
}

impl Default for OrdinaryUser {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for OrdinaryUser {
    fn drop(&mut self) {
        if self.temporary {
            for _ in 0..100 {
                let mut command = Command::new("userdel");
                command.args(["--force", "--remove", &self.name]);
                // A leftover user is worth a look, not a second panic; a busy machine is worth another try.
                let removed = command
                    .output()
                    .is_ok_and(|output| matches!(output.status.code(), Some(0 | NO_SUCH_USER | KEPT_HOME)));
                if removed {
                    break;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

#[track_caller]
fn id(option: &str) -> u32 {
    let mut command = Command::new("id");
    command.arg(option);
    let text = finish(command, "", PATIENCE).ok();
    text.trim().parse().unwrap_or_else(|error| panic!("id {option} printed {text:?}: {error}"))
}

#[track_caller]
fn id_name() -> String {
    let mut command = Command::new("id");
    command.arg("-un");
    finish(command, "", PATIENCE).ok().trim().to_owned()
}

#[track_caller]
fn passwd(name: &str) -> (u32, u32, PathBuf) {
    let mut command = Command::new("getent");
    command.args(["passwd", name]);
    let line = finish(command, "", PATIENCE).ok();
    let fields: Vec<&str> = line.trim().split(':').collect();
    match fields.as_slice() {
        [_, _, uid, gid, _, home, ..] => match (uid.parse(), gid.parse()) {
            (Ok(uid), Ok(gid)) => (uid, gid, PathBuf::from(home)),
            _ => panic!("strange entry in passwd: {line}"),
        },
        _ => panic!("strange entry in passwd: {line}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_user_runs_programs_as_itself() {
        let user = OrdinaryUser::new();
        let finished = finish(
            {
                let mut command = user.command("/bin/sh");
                command.args(["-c", "id -u; id -G | wc -w; echo $HOME; pwd"]);
                command
            },
            "",
            PATIENCE,
        );
        let text = finished.ok();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], user.uid().to_string());
        assert_ne!(user.uid(), 0);
        if user.temporary {
            assert_eq!(
                lines[1..],
                ["1", &user.home().display().to_string(), &user.home().display().to_string()]
            );
        }
        let name = user.name().to_owned();
        let temporary = user.temporary;
        drop(user);
        let exists = Command::new("id").arg(&name).output().is_ok_and(|output| output.status.success());
        assert_eq!(exists, !temporary);
    }
}
