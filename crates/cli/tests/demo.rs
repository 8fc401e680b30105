//! `demo`, as root and as an ordinary user: it works, and leaves nothing behind, however it ends.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use buildplane_testing::{OrdinaryUser, Running, eventually};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_buildplane");
const PATIENCE: Duration = Duration::from_mins(3);

/// A directory that stands for the machine's temporary directory, with the binary and its registry beside it.
struct Stage {
    directory: TempDir,
}

impl Stage {
    fn new(user: Option<&OrdinaryUser>) -> Self {
        let directory =
            tempfile::Builder::new().prefix("bp-demo-test-").tempdir().expect("a temporary directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
        let stage = Self { directory };
        for name in ["tmp", "bin", "libexec/buildplane"] {
            fs::create_dir_all(stage.path(name)).expect("a directory");
        }
        fs::copy(BINARY, stage.path("bin/buildplane")).expect("the binary");
        let registry = Path::new(BINARY)
            .ancestors()
            .nth(2)
            .expect("a target directory")
            .join("libexec/buildplane/docker-registry");
        if registry.is_file() {
            fs::copy(&registry, stage.path("libexec/buildplane/docker-registry")).expect("the registry");
        }
        if let Some(user) = user {
            user.give(&stage.path("tmp"));
        }
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn demo(&self, user: Option<&OrdinaryUser>) -> Running {
        let binary = self.path("bin/buildplane");
        let mut command = match user {
            Some(user) => user.command(&binary),
            None => Command::new(&binary),
        };
        command.arg("demo").env("TMPDIR", self.path("tmp")).env_remove("KUBECONFIG");
        Running::start(command)
    }

    /// Nothing is left: no file, no process that was started from here, no mount.
    #[track_caller]
    fn assert_clean(&self, homes: &BTreeSet<PathBuf>, home: &Path) {
        let left: Vec<_> =
            fs::read_dir(self.path("tmp")).expect("readable").flatten().map(|entry| entry.path()).collect();
        assert!(left.is_empty(), "files are left: {left:?}");
        let own = self.directory.path().display().to_string();
        let mounts = fs::read_to_string("/proc/self/mounts").expect("readable");
        assert!(!mounts.contains(&own), "mounts are left: {mounts}");
        eventually("no process is left", Duration::from_secs(5), || processes(&own).is_empty());
        assert_eq!(&entries(home), homes, "something new in the home directory");
    }
}

fn entries(home: &Path) -> BTreeSet<PathBuf> {
    fs::read_dir(home).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Processes whose binary or arguments lie in a directory.
fn processes(directory: &str) -> Vec<String> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(directory))
        .collect()
}

fn succeeds(user: Option<&OrdinaryUser>, home: &Path) {
    let stage = Stage::new(user);
    let before = entries(home);
    let ended = stage.demo(user).wait(PATIENCE);
    assert!(ended.success(), "{ended}");
    for text in [
        "its agent is connected",
        "✔ publish-image",
        "@sha256:",
        "> ",
        "kind: Workload",
        "componentName: greeter",
        "all of it",
    ] {
        assert!(ended.stdout.contains(text), "{text}: {ended}");
    }
    stage.assert_clean(&before, home);
}

fn ends_on_ctrl_c(user: Option<&OrdinaryUser>, home: &Path) {
    let stage = Stage::new(user);
    let before = entries(home);
    let demo = stage.demo(user);
    eventually("the build runs", PATIENCE, || demo.stdout().contains("▶ build-image"));
    demo.signal("INT");
    let ended = demo.wait(Duration::from_secs(30));
    assert_eq!(ended.code, Some(130), "{ended}");
    stage.assert_clean(&before, home);
}

fn own_home() -> PathBuf {
    std::env::var_os("HOME").map(PathBuf::from).expect("a home directory")
}

#[test]
fn the_demo_builds_publishes_and_runs_an_image() {
    succeeds(None, &own_home());
}

#[test]
fn the_demo_works_as_an_ordinary_user() {
    let user = OrdinaryUser::new();
    let home = user.home().to_owned();
    succeeds(Some(&user), &home);
}

#[test]
fn the_demo_cleans_up_after_ctrl_c() {
    ends_on_ctrl_c(None, &own_home());
}

#[test]
fn the_demo_cleans_up_after_ctrl_c_as_an_ordinary_user() {
    let user = OrdinaryUser::new();
    let home = user.home().to_owned();
    ends_on_ctrl_c(Some(&user), &home);
}
