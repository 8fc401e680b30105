//! `up`, `down` and `status`, and what a platform survives.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use buildplane_testing::{Finished, LocalPlatform, Manifest, OrdinaryUser, Tools, eventually, finish};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_buildplane");
const PATIENCE: Duration = Duration::from_mins(1);

/// A command on a data directory, with nothing of the tester's environment that could matter.
fn buildplane(data_dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(arguments).arg("--data-dir").arg(data_dir).env_remove("KUBECONFIG");
    command
}

#[track_caller]
fn run(data_dir: &Path, arguments: &[&str]) -> Finished {
    finish(buildplane(data_dir, arguments), "", PATIENCE)
}

#[test]
fn a_detached_platform_is_ready_when_up_returns() {
    let scratch = TempDir::new().expect("a temporary directory");
    let data_dir = scratch.path().join("data");
    let status = run(&data_dir, &["status"]);
    assert_eq!((status.code, status.stdout.contains("no platform runs on")), (Some(5), true), "{status}");

    let up = run(&data_dir, &["up", "--detach", "--ports", "auto"]);
    // Whatever fails from here on must not leave it running.
    let _guard = Down(&data_dir);
    let said = up.clone().ok();
    assert!(said.contains("The platform is ready after") && said.contains("buildplane build"), "{said}");
    let status = run(&data_dir, &["status"]).ok();
    assert!(status.contains("Own plane:     ready"), "{status}");
    let kubectl =
        buildplane_testing::Kubectl::new(&Tools::newest(), &data_dir.join("kubeconfig"), "control-plane");
    for context in ["control-plane", "build-plane", "via-gateway"] {
        assert_eq!(kubectl.with_context(context).ok("get --raw /readyz"), "ok", "{context}");
    }
    let mode =
        |path: &str| fs::metadata(data_dir.join(path)).expect("it exists").permissions().mode() & 0o777;
    assert_eq!((mode("."), mode("kubeconfig"), mode("git-credentials.json")), (0o700, 0o600, 0o600));

    let second = run(&data_dir, &["up", "--ports", "auto"]);
    assert_eq!(second.code, Some(6), "{second}");
    assert!(second.stderr.contains("is in use by process") && second.stderr.contains("hint:"), "{second}");
    let second = run(&data_dir, &["up", "--detach", "--ports", "auto"]);
    assert_eq!(second.code, Some(6), "{second}");
    assert!(second.stderr.contains("is in use by process"), "{second}");

    let down = run(&data_dir, &["down"]).ok();
    assert!(down.contains("is stopped"), "{down}");
    assert_eq!(run(&data_dir, &["status"]).code, Some(5));
    assert!(run(&data_dir, &["down", "--purge"]).success());
    assert!(!data_dir.exists());
    // Once more is no error.
    assert!(run(&data_dir, &["down", "--purge"]).success());
}

/// Stops a detached platform however its test ends.
struct Down<'a>(&'a Path);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        let _ = buildplane(self.0, &["down"]).output();
    }
}

#[test]
fn objects_survive_a_restart_and_a_crash() {
    let scratch = TempDir::new().expect("a temporary directory");
    let data_dir = scratch.path().join("data");
    let start = || LocalPlatform::builder(BINARY).data_dir(&data_dir).start();
    let tools = Tools::newest();

    let platform = start();
    platform.kubectl(&tools, "control-plane").ok("create namespace kept");
    assert!(platform.stop().success());

    let platform = start();
    let kubectl = platform.kubectl(&tools, "control-plane");
    kubectl.ok("get namespace kept");
    let uid = kubectl.value("namespace kept", ".metadata.uid");
    // Acknowledged, then killed at once.
    kubectl.apply(&Manifest::build_plane("kept", "acknowledged").to_string());
    let registry = children(platform.pid());
    platform.kill();
    eventually("the registry ends with the platform", PATIENCE, || {
        registry.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists())
    });

    let platform = start();
    let kubectl = platform.kubectl(&tools, "control-plane");
    assert_eq!(kubectl.value("namespace kept", ".metadata.uid"), uid);
    kubectl.ok("get buildplane acknowledged -n kept");
    kubectl.ok("wait --for=condition=Ready clusterbuildplane/default --timeout=20s");
    assert!(platform.stop().success());
}

fn children(pid: u32) -> Vec<String> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let all = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of_threads = all.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    let text: String = of_threads.chain([fs::read_to_string(path).unwrap_or_default()]).collect();
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn a_taken_port_is_named() {
    let scratch = TempDir::new().expect("a temporary directory");
    let holder = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = holder.local_addr().expect("an address").port();
    let free = "control-plane=0,build-plane=0,agents=0,gateway=0,health=0,git=0";
    for mode in [&["up"][..], &["up", "--detach"]] {
        let ports = format!("{free},registry={port}");
        let arguments = [mode, &["--ports", &ports]].concat();
        let refused = run(&scratch.path().join("data"), &arguments);
        assert_eq!(refused.code, Some(6), "{refused}");
        assert!(
            refused.stderr.contains(&format!("port {port} (registry) on 127.0.0.1 is taken"))
                && refused.stderr.contains("--ports auto"),
            "{refused}"
        );
    }
}

#[test]
fn a_data_directory_that_cannot_be_written_is_explained() {
    let user = OrdinaryUser::new();
    let scratch = TempDir::new().expect("a temporary directory");
    // Open to pass through, closed to write, and not the user's.
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o555)).expect("permissions");
    let binary = shared_binary();
    for mode in [&["up"][..], &["up", "--detach"]] {
        let mut command = user.command(binary.path().join("buildplane"));
        command.args(mode).args(["--ports", "auto", "--data-dir"]).arg(scratch.path().join("data"));
        let refused = finish(command, "", PATIENCE);
        assert_eq!(refused.code, Some(3), "{refused}");
        assert!(
            refused.stderr.contains("Permission denied") && refused.stderr.contains("--data-dir"),
            "{refused}"
        );
    }
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
    let file = scratch.path().join("file");
    fs::write(&file, "").expect("a file");
    let refused = run(&file.join("data"), &["up", "--ports", "auto"]);
    assert!(refused.clone().failed().contains("Not a directory"), "{refused}");
}

/// The binary where every user can run it; a checkout below /root is closed to others.
fn shared_binary() -> TempDir {
    let directory = TempDir::new().expect("a temporary directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
    fs::copy(BINARY, directory.path().join("buildplane")).expect("a copy of the binary");
    directory
}

#[test]
fn purge_removes_only_what_is_ours() {
    let scratch = TempDir::new().expect("a temporary directory");
    fs::write(scratch.path().join("precious"), "1").expect("a file");
    let refused = run(scratch.path(), &["down", "--purge"]);
    assert_eq!(refused.code, Some(6), "{refused}");
    assert!(refused.stderr.contains("holds precious, which is not buildplane's"), "{refused}");
    // Nor does a platform settle there, and it leaves nothing behind.
    for mode in [&["up", "--ports", "auto"][..], &["up", "--detach", "--ports", "auto"]] {
        let refused = run(scratch.path(), mode);
        assert_eq!(refused.code, Some(6), "{refused}");
        assert!(refused.stderr.contains("holds precious"), "{refused}");
    }
    let left: Vec<_> = fs::read_dir(scratch.path()).expect("a directory").flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}
