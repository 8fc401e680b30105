//! What a machine that cannot run steps says.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use buildplane_executor::{Bubblewrap, Config, Executor as _, StartError, probe};

use crate::support::Sandbox;

#[tokio::test(flavor = "multi_thread")]
async fn an_able_machine_lacks_nothing() {
    assert_eq!(probe(), []);
    assert_eq!(Sandbox::new().executor.missing().await, []);
}

/// The half of the test below that runs as somebody without subordinate ids.
#[tokio::test(flavor = "multi_thread")]
async fn somebody_without_subordinate_ids() {
    if std::env::var_os("BUILDPLANE_TEST_NOBODY").is_none() {
        return;
    }
    let sandbox = Sandbox::new();
    let (spec, _) = sandbox.script("echo it ran");
    match sandbox.executor.start(spec).await {
        Err(StartError::Unable(missing)) => println!("{missing:?}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it ran"),
    }
}

#[test]
fn without_subordinate_ids_no_step_runs_and_the_remedy_is_named() {
    if !rustix::process::geteuid().is_root() {
        println!("only root can be somebody else; this runs where the tests run as root");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let program = directory.path().join("program");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let output = Command::new(program)
        .args(["--exact", "able::somebody_without_subordinate_ids", "--nocapture"])
        .env("BUILDPLANE_TEST_NOBODY", "1")
        .env("TMPDIR", directory.path())
        .uid(65534)
        .gid(65534)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("user \\\"nobody\\\" has no range of 65536 subordinate user and group ids"),
        "{said}"
    );
    assert!(said.contains("as root: usermod --add-subuids ") && said.contains(" nobody"), "{said}");
}

#[test]
fn volumes_that_others_could_enter_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let error = Bubblewrap::new(Config::new(directory.path().join("volumes"))).unwrap_err();
    assert!(error.to_string().contains("its mode must be 0700"), "{error}");
}
