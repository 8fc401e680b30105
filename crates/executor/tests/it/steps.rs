//! Steps from start to end, through the public face, in real sandboxes.

use std::time::{Duration, Instant};

use crate::support::{Sandbox, build_capabilities, volume};
use buildplane_executor::{End, Executor as _, FileContent, Mount, Output, Variable};

#[tokio::test(flavor = "multi_thread")]
async fn output_and_status_are_the_programs() {
    let sandbox = Sandbox::new();
    for (script, end, log) in [
        ("echo out; echo err >&2; exit 3", End::Exited(3), "out\nerr\n"),
        ("printf unfinished", End::Exited(0), "unfinished"),
        ("kill -9 $$", End::Exited(137), ""),
        ("exec /no/such/program", End::Exited(127), "sh: 1: exec: /no/such/program: not found\n"),
        ("cat", End::Exited(0), ""),
    ] {
        let ended = sandbox.run(script).await;
        assert_eq!((ended.outcome.end, ended.log.as_str()), (end, log), "{script}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_has_what_it_was_given_and_nothing_else() {
    let sandbox = Sandbox::new();
    let ended = sandbox
        .run_with("env | sort; pwd; id -u; hostname; ls -l /proc/$$/fd >/run/fds; sed -n 's/.*-> //p' /run/fds | sed 's/:.*//' | grep -v -e /dev/null -e /run/fds; cat /cfg/a/b; stat -c '%a %u' /cfg/a/b", |step| {
            step.environment = vec![
                Variable { name: "TOKEN".to_owned(), value: "a b\nc".to_owned() },
                Variable { name: "HOME".to_owned(), value: "/tmp".to_owned() },
            ];
            step.working_directory = Some("/tmp/new/place".to_owned());
            step.mounts = vec![Mount::Files {
                target: "/cfg".to_owned(),
                files: vec![FileContent { path: "a/b".to_owned(), bytes: b"secret\n".to_vec(), mode: 0o400 }],
            }];
        })
        .await;
    assert_eq!(ended.outcome.end, End::Exited(0), "{}", ended.log);
    // Standard output and standard error; everything else the test was started with is gone.
    let expected = "HOME=/tmp\nPATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin\n\
        PWD=/tmp/new/place\nTOKEN=a b\nc\n/tmp/new/place\n0\nstep-0\npipe\npipe\nsecret\n400 0\n";
    assert_eq!(ended.log, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_come_back_however_the_step_ends() {
    let sandbox = Sandbox::new();
    let ended = sandbox
        .run_with("printf a >/tmp/a; head -c 300000 /dev/zero >/tmp/big; mkfifo /tmp/pipe; exit 4", |step| {
            step.outputs = ["a", "big", "pipe", "absent"]
                .map(|name| Output { name: name.to_owned(), path: format!("/tmp/{name}") })
                .to_vec();
        })
        .await;
    assert_eq!(ended.outcome.end, End::Exited(4), "{}", ended.log);
    let lengths: Vec<_> =
        ended.outcome.outputs.iter().map(|(name, bytes)| (name.as_str(), bytes.len())).collect();
    assert_eq!(lengths, [("a", 1), ("big", Output::LIMIT)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_carry_files_from_step_to_step_and_can_always_be_removed() {
    let sandbox = Sandbox::new();
    sandbox.make_volume("shared").await;
    let share = |step: &mut buildplane_executor::StepSpec| {
        step.mounts = vec![volume("shared", "/workspace")];
        build_capabilities(step);
    };
    let made = sandbox
        .run_with(
            "cd /workspace && echo hi >f && mkdir -p deep/er && chown -R 1234:1234 deep && chmod 0 deep && ln -s / root",
            share,
        )
        .await;
    assert_eq!(made.outcome.end, End::Exited(0), "{}", made.log);
    let read =
        sandbox.run_with("cat /workspace/f", |step| step.mounts = vec![volume("shared", "/workspace")]).await;
    assert_eq!(read.log, "hi\n");
    assert_eq!(sandbox.executor.volumes().unwrap(), ["shared".parse().unwrap()]);
    sandbox.executor.remove_volume(&"shared".parse().unwrap()).await.unwrap();
    assert_eq!(sandbox.executor.volumes().unwrap(), []);
    sandbox.executor.remove_volume(&"shared".parse().unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_step_leaves_no_process() {
    let sandbox = Sandbox::new();
    // A process group of its own, a detached one, one that ignores what it can.
    let script =
        "trap '' TERM HUP INT; setsid sleep 7321 & (sleep 7321 &) ; echo ready; sleep 7321; sleep 7321";
    for by in ["request", "deadline", "drop"] {
        let (mut spec, log) = sandbox.script(script);
        if by == "deadline" {
            spec.limits.duration = Duration::from_millis(300);
        }
        let mut handle = sandbox.start(spec).await;
        let deadline = Instant::now() + Duration::from_secs(20);
        while by != "deadline" && !crate::support::text(&log).contains("ready") {
            assert!(Instant::now() < deadline, "the step never became ready");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        match by {
            "request" => {
                handle.killer().kill();
                assert_eq!(handle.wait().await.end, End::Killed);
            }
            "deadline" => assert_eq!(handle.wait().await.end, End::TimedOut),
            _ => {
                drop(handle);
                while sleeping() > 0 {
                    assert!(Instant::now() < deadline, "a process outlives its step");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
        assert_eq!(sleeping(), 0, "{by}");
    }
}

/// How many processes of the test above there are on the host.
fn sleeping() -> usize {
    processes("sleep\x007321\0")
}

fn processes(command_line: &str) -> usize {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok())
        .filter(|found| found.as_slice() == command_line.as_bytes())
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_left_in_the_background_end_with_the_step() {
    let sandbox = Sandbox::new();
    let ended = sandbox.run("setsid sleep 7322 >/dev/null 2>&1 & sleep 7322 & exit 0").await;
    assert_eq!(ended.outcome.end, End::Exited(0));
    assert_eq!(processes("sleep\x007322\0"), 0);
}

/// The child half of the test below: a platform with a step, waiting to be killed.
#[tokio::test(flavor = "multi_thread")]
async fn platform_that_will_be_killed() {
    let Ok(sleep) = std::env::var("BUILDPLANE_TEST_KILLED") else { return };
    let sandbox = Sandbox::new();
    let (mut spec, _) = sandbox.script(&format!("setsid {sleep} & {sleep}"));
    build_capabilities(&mut spec);
    sandbox.start(spec).await.wait().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_die_with_a_platform_that_is_killed() {
    let temporary = tempfile::tempdir().unwrap();
    let mut platform = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "steps::platform_that_will_be_killed"])
        .env("BUILDPLANE_TEST_KILLED", "sleep 7323")
        .env("TMPDIR", temporary.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let eventually = async |wanted: usize| {
        while processes("sleep\x007323\0") != wanted {
            assert!(Instant::now() < deadline, "there are not {wanted} processes");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    eventually(2).await;
    platform.kill().unwrap();
    platform.wait().unwrap();
    eventually(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_killed_at_any_moment_leaves_no_sandbox() {
    let temporary = tempfile::tempdir().unwrap();
    for milliseconds in (0..90).step_by(5) {
        let mut platform = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "steps::platform_that_will_be_killed"])
            .env("BUILDPLANE_TEST_KILLED", "sleep 7324")
            .env("TMPDIR", temporary.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // The moment is the point of the test.
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        platform.kill().unwrap();
        platform.wait().unwrap();
    }
    // Bubblewrap and the shell in the sandbox have the script among their arguments.
    let left = || {
        std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
            let command = std::fs::read(entry.path().join("cmdline")).ok()?;
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            command.contains("sleep 7324").then_some(command)
        })
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Some(command) = left().next() {
        assert!(Instant::now() < deadline, "left behind: {command}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_cannot_be_set_up_says_why() {
    let sandbox = Sandbox::new();
    let ended = sandbox.run_with("true", |step| step.mounts = vec![volume("absent", "/workspace")]).await;
    assert!(
        matches!(&ended.outcome.end, End::Failed(message) if message.contains("/sys/v/absent")),
        "{:?}",
        ended.outcome.end
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_a_step_and_says_so() {
    let sandbox = Sandbox::new();
    let ended = sandbox.run_with("sleep 60", |step| step.limits.min_free = u64::MAX).await;
    assert_eq!(ended.outcome.end, End::DiskFull);
    assert_eq!(ended.log, "[killed: the disk is full]\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_steps_at_once_do_not_meet() {
    let sandbox = Sandbox::new();
    let mut handles = Vec::new();
    for number in 0..12 {
        let (spec, log) =
            sandbox.script(&format!("echo {number} >/tmp/mine; sleep 0.2; cat /tmp/mine; ls /tmp"));
        handles.push((number, sandbox.start(spec).await, log));
    }
    for (number, mut handle, log) in handles {
        assert_eq!(handle.wait().await.end, End::Exited(0));
        assert_eq!(crate::support::text(&log), format!("{number}\nmine\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_limited_where_control_groups_can_be_made() {
    let sandbox = Sandbox::new();
    let ended = sandbox
        .run_with(
            "head -c 256M /dev/zero >/tmp/fill; head -c 200M /dev/zero | tail -c 190M >/dev/null",
            |step| {
                step.limits.memory = Some(64 << 20);
                build_capabilities(step);
            },
        )
        .await;
    if rustix::process::geteuid().is_root() {
        assert_eq!(ended.outcome.end, End::OutOfMemory, "{}", ended.log);
    } else {
        // What an ordinary user has instead: each memory file system is limited.
        assert_eq!(ended.outcome.end, End::Exited(0), "{}", ended.log);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_costs_little() {
    let sandbox = Sandbox::new();
    sandbox.run("true").await;
    let (mut steps, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        // The next namespace is made meanwhile, as between two steps of a workflow.
        tokio::time::sleep(Duration::from_millis(60)).await;
        let (spec, _) = sandbox.script("true");
        let started = Instant::now();
        assert_eq!(sandbox.start(spec).await.wait().await.end, End::Exited(0));
        steps.push(started.elapsed());
        let started = Instant::now();
        bare_bubblewrap();
        bare.push(started.elapsed());
    }
    steps.sort();
    bare.sort();
    println!(
        "a step takes {:?} (median), {:?} at least; bubblewrap alone {:?}, {:?}",
        steps[10], steps[0], bare[10], bare[0]
    );
    // On a machine that does other things too, both take longer.
    assert!(steps[0] < Duration::from_millis(25).max(bare[10] * 4), "{steps:?} beside {bare:?}");
}

/// The least a sandbox can cost.
fn bare_bubblewrap() {
    let mut bare = std::process::Command::new("bwrap");
    bare.args(["--unshare-all", "--share-net", "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin"]);
    bare.args([
        "--symlink",
        "usr/lib",
        "/lib",
        "--symlink",
        "usr/lib64",
        "/lib64",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
    ]);
    bare.args(["sh", "-c", "true"]);
    assert!(bare.status().unwrap().success());
}
