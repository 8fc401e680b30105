//! `build`: the main job, on a running platform, with real sandboxes, a real registry and a real git server.

use std::fs;
use std::path::Path;
use std::time::Duration;

use buildplane_testing::{Finished, LocalPlatform, Running, Tools, eventually};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_buildplane");
const PATIENCE: Duration = Duration::from_mins(2);

struct Workshop {
    platform: LocalPlatform,
    source: TempDir,
}

impl Workshop {
    /// A platform with the base image, and a directory with a Dockerfile.
    fn open(dockerfile: &str) -> Self {
        let platform = LocalPlatform::builder(BINARY).start();
        platform.run(&["base-image"]).ok();
        let source = tempfile::Builder::new().prefix("app-").tempdir().expect("a temporary directory");
        fs::create_dir(source.path().join("greeter")).expect("a directory");
        let workshop = Self { platform, source };
        workshop.write("Dockerfile", dockerfile);
        workshop
    }

    fn path(&self) -> String {
        self.source.path().join("greeter").display().to_string()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(Path::new(&self.path()).join(name), text).expect("a file");
    }

    fn build(&self, arguments: &[&str]) -> Finished {
        let path = self.path();
        let arguments = [&["build", &path], arguments].concat();
        self.platform.run(&arguments)
    }
}

const GOOD: &str = "\
FROM registry.buildplane.local/library/busybox:latest
COPY hello.txt /hello.txt
RUN busybox sh -c 'echo built-by-run > /built.txt; echo a-line-of-the-build'
";

#[test]
fn a_directory_becomes_an_image() {
    let workshop = Workshop::open(GOOD);
    workshop.write("hello.txt", "hello");
    let built = workshop.build(&[]);
    let said = built.clone().ok();
    let image = said
        .lines()
        .find_map(|line| line.strip_prefix("image "))
        .unwrap_or_else(|| panic!("no image: {said}"));
    let (name, digest) = image.split_once('@').expect("a digest");
    assert!(name.contains("default.default.greeter:v1-"), "{image}");
    assert!(digest.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64), "{image}");
    for task in ["checkout-source", "build-image", "publish-image", "generate-workload-cr"] {
        assert!(said.contains(&format!("✔ {task}")), "{task}: {said}");
    }
    assert!(said.contains("build-image | a-line-of-the-build"), "logs are shown: {said}");
    assert!(!said.contains('\u{1b}'), "no escapes in a pipe: {said:?}");
    let announced = said.find("✔ build-image").expect("announced");
    assert!(
        said.find("a-line-of-the-build").is_some_and(|line| line < announced),
        "logs come before the end"
    );

    // The run can be looked at afterwards.
    let run = said.lines().find_map(|line| line.strip_prefix("run ")).and_then(|rest| rest.split(' ').next());
    let run = run.expect("the run's name");
    let logs = workshop.platform.run(&["logs", run, "--task", "build-image"]).ok();
    assert!(logs.lines().any(|line| line == "a-line-of-the-build"), "{logs}");
    let described = workshop.platform.run(&["describe", run]).ok();
    assert!(described.contains("Phase:       Succeeded") && described.contains(image), "{described}");
    let listed = workshop.platform.run(&["get"]).ok();
    assert!(listed.starts_with("NAME ") && listed.contains(run) && listed.contains("Succeeded"), "{listed}");
    let names = workshop.platform.run(&["get", "wfr", "-o", "name"]).ok();
    assert_eq!(names.trim(), format!("workflowrun.openchoreo.dev/{run}"));

    // kubectl sees the same, and the Workload that came out of it.
    let kubectl = workshop.platform.kubectl(&Tools::newest(), "control-plane");
    assert_eq!(kubectl.value(&format!("workflowrun {run}"), ".status.phase"), "Succeeded");
    assert_eq!(kubectl.value("workload greeter-workload", ".spec.container.image"), image);

    // The same tree again is the same snapshot, hence the same tag.
    let again = workshop.build(&[]).ok();
    assert!(again.contains(&format!("image {name}@")), "{again}");
    // No credential anywhere in what the run is made of.
    let credentials =
        fs::read_to_string(workshop.platform.data_dir().join("git-credentials.json")).expect("readable");
    let credentials: serde_json::Value = serde_json::from_str(&credentials).expect("JSON");
    let password = credentials["password"].as_str().expect("a password");
    let stored = kubectl.ok(&format!("get workflowrun {run} -o yaml"))
        + &kubectl.with_context("build-plane").ok("get workflows.argoproj.io,pods -A -o yaml");
    assert!(!stored.contains(password) && !said.contains(password));
    assert!(workshop.platform.stop().success());
}

/// The registry knows builds by their namespace: what is another's is neither read nor overwritten, shared images are read.
#[test]
fn a_build_reaches_no_image_of_another_namespace() {
    let workshop = Workshop::open(GOOD);
    workshop.write("hello.txt", "hello");
    let built = workshop.build(&[]).ok();
    let image = built.lines().find_map(|line| line.strip_prefix("image ")).expect("an image");
    let image = image.split_once('@').expect("a digest").0.to_owned();

    let kubectl = workshop.platform.kubectl(&Tools::newest(), "control-plane");
    kubectl.ok("create namespace mallory");
    let mut workflow: serde_json::Value =
        serde_json::from_str(&kubectl.ok("get workflows.openchoreo.dev docker -n default -o json"))
            .expect("JSON");
    workflow["metadata"] = serde_json::json!({"name": "docker", "namespace": "mallory"});
    kubectl.apply(&workflow.to_string());
    // One whose author says that the image is another namespace's.
    workflow["metadata"]["name"] = serde_json::json!("forged");
    let honest = workflow.to_string();
    let forged = honest.replace(r#"metadata.namespaceName + \".\""#, r#"\"default\" + \".\""#);
    assert_ne!(honest, forged);
    kubectl.apply(&forged);

    workshop.build(&["-n", "mallory"]).ok();
    let overwriting = workshop.build(&["-n", "mallory", "--workflow", "forged"]);
    assert_eq!(overwriting.code, Some(1), "{overwriting}");
    assert!(overwriting.stdout.contains("could not be pushed"), "{overwriting}");
    workshop.write("Dockerfile", &format!("FROM {image}\nRUN busybox cat /hello.txt\n"));
    let reading = workshop.build(&["-n", "mallory"]);
    assert_eq!(reading.code, Some(1), "{reading}");
    assert!(!reading.stdout.contains("build-image | hello"), "{reading}");
    // Its owner builds on.
    let own = workshop.build(&[]).ok();
    assert!(own.contains("build-image | hello"), "{own}");
    assert!(workshop.platform.stop().success());
}

#[test]
fn a_failing_dockerfile_says_why() {
    let workshop = Workshop::open(
        "FROM registry.buildplane.local/library/busybox:latest\nRUN busybox sh -c 'echo the-cause >&2; exit 42'\n",
    );
    let built = workshop.build(&[]);
    assert_eq!(built.code, Some(1), "{built}");
    assert!(built.stdout.contains("build-image | ") && built.stdout.contains("the-cause"), "{built}");
    assert!(built.stdout.contains("✘ build-image"), "{built}");
    let last = built.stdout.lines().last().unwrap_or_default();
    assert!(last.contains("failed: build-image: Error: building at STEP"), "one line says why: {last}");
    assert!(!built.stdout.contains("\nimage "), "{built}");
    assert!(workshop.platform.stop().success());
}

#[test]
fn what_cannot_be_built_is_refused_before_anything_starts() {
    let workshop = Workshop::open(GOOD);
    let path = workshop.path();
    let hostile = "https://user:secret@example.com/x";
    for (arguments, code, text) in [
        (vec!["build", path.as_str(), "-f", "Dockerfile.missing"], 4, "there is no Dockerfile.missing in"),
        (vec!["build", path.as_str(), "-f", "../Dockerfile"], 2, "outside of what is built"),
        (
            vec!["build", path.as_str(), "--workflow", "nonesuch"],
            4,
            "there is no workflow nonesuch in namespace default",
        ),
        (
            vec!["build", path.as_str(), "-n", "nowhere"],
            4,
            "there is no workflow docker in namespace nowhere",
        ),
        (vec!["build", path.as_str(), "-p", "docker.fielPath=x"], 2, "has no parameter docker.fielPath"),
        (vec!["build", "/does/not/exist"], 4, "neither a directory nor a git URL"),
        (vec!["build", "https://"], 2, "it names no host"),
        (vec!["build", hostile], 2, "contains a credential"),
        (vec!["build", path.as_str(), "--branch", "x"], 2, "go with a git URL"),
        (vec!["run", "docker", "-p", "repository.url"], 2, "expected NAME=VALUE"),
        (vec!["run", "docker"], 2, "repository"),
        (vec!["run", "docker", "-p", "repository.url=x", "-p", "repository.revision.commit=zz"], 2, "commit"),
        (vec!["logs", "nonesuch"], 4, "there is no run nonesuch"),
    ] {
        let refused = workshop.platform.run(&arguments);
        assert_eq!(refused.code, Some(code), "{refused}");
        assert!(refused.stderr.contains(text), "{text}: {refused}");
        assert!(!refused.stderr.contains("secret@"), "{refused}");
    }
    assert_eq!(workshop.platform.run(&["get", "-o", "name"]).ok(), "");
    assert!(workshop.platform.stop().success());
}

#[test]
fn a_repository_that_does_not_answer_fails_promptly() {
    let workshop = Workshop::open(GOOD);
    let built = workshop.platform.run(&["build", "https://127.0.0.1:1/nothing/here.git"]);
    assert_eq!(built.code, Some(1), "{built}");
    let failed = built.stdout.lines().find(|line| line.starts_with("✘ checkout-source")).unwrap_or_default();
    assert!(failed.contains("127.0.0.1"), "{built}");
    // The last line names the task; it does not say the same again.
    let last = built.stdout.lines().last().unwrap_or_default();
    assert!(last.contains("failed: checkout-source") && last.matches("exit code").count() == 0, "{built}");
    assert!(workshop.platform.stop().success());
}

#[test]
fn ctrl_c_cancels_the_run() {
    let workshop = Workshop::open(
        "FROM registry.buildplane.local/library/busybox:latest\nRUN busybox sh -c 'echo has-begun; busybox sleep 600'\n",
    );
    let path = workshop.path();
    let build = Running::start(workshop.platform.command(&["build", &path]));
    eventually("the build runs", PATIENCE, || build.stdout().contains("build-image | has-begun"));
    build.signal("INT");
    let ended = build.wait(PATIENCE);
    assert_eq!(ended.code, Some(130), "{ended}");
    let listed = workshop.platform.run(&["get"]).ok();
    assert!(listed.contains("Canceled"), "{listed}");
    assert!(workshop.platform.stop().success());
}

#[test]
fn a_second_ctrl_c_ends_a_build_whose_control_plane_is_stuck() {
    let workshop = Workshop::open(
        "FROM registry.buildplane.local/library/busybox:latest\nRUN busybox sh -c 'echo has-begun; busybox sleep 600'\n",
    );
    let path = workshop.path();
    let build = Running::start(workshop.platform.command(&["build", &path]));
    eventually("the build runs", PATIENCE, || build.stdout().contains("build-image | has-begun"));
    let platform = workshop.platform.pid().to_string();
    let send = |signal: &str| {
        let sent = std::process::Command::new("kill").args([signal, &platform]).status();
        assert!(sent.is_ok_and(|status| status.success()), "cannot send {signal}");
    };
    send("-STOP");
    build.signal("INT");
    eventually("it is canceling", PATIENCE, || build.stdout().contains("canceling the run"));
    build.signal("TERM");
    let ended = build.wait(Duration::from_secs(10));
    send("-CONT");
    assert_eq!(ended.code, Some(130), "{ended}");
    assert!(workshop.platform.stop().success());
}

#[test]
fn a_run_that_cannot_start_is_given_up_with_its_reason() {
    let platform = LocalPlatform::builder(BINARY).start();
    let kubectl = platform.kubectl(&Tools::newest(), "control-plane");
    let run = buildplane_testing::Manifest::run("default", "stuck", "nonesuch", &serde_json::json!({}));
    kubectl.apply(&run.to_string());
    let given_up = platform.run(&["logs", "-f", "stuck", "--blocked-timeout", "1"]);
    assert_eq!(given_up.code, Some(7), "{given_up}");
    assert!(given_up.stderr.contains("nonesuch") && given_up.stderr.contains("hint:"), "{given_up}");
    assert!(platform.stop().success());
}

/// Twelve builds of one tree push the same branch at the same moment; all of them start.
#[test]
fn one_tree_is_built_many_times_at_once() {
    let workshop = Workshop::open("FROM scratch\n");
    let path = workshop.path();
    let builds: Vec<Running> =
        (0..12).map(|_| Running::start(workshop.platform.command(&["build", &path, "--detach"]))).collect();
    for build in builds {
        build.wait(PATIENCE).ok();
    }
    let names = workshop.platform.run(&["get", "-o", "name"]).ok();
    assert_eq!(names.lines().count(), 12, "{names}");
    for name in names.lines() {
        workshop.platform.run(&["cancel", name]).ok();
    }
    assert!(workshop.platform.stop().success());
}

#[test]
fn logs_can_be_followed_and_runs_retried() {
    let workshop = Workshop::open(
        "FROM registry.buildplane.local/library/busybox:latest\n\
         RUN busybox sh -c 'for i in 1 2 3 4 5; do echo line-$i; busybox sleep 0.2; done'\n",
    );
    let path = workshop.path();
    let started = workshop.platform.run(&["build", &path, "--detach"]).ok();
    let run =
        started.lines().find_map(|line| line.strip_prefix("run ")).and_then(|rest| rest.split(' ').next());
    let run = run.expect("the run's name").to_owned();
    let followed = workshop.platform.run(&["logs", "-f", &run, "--task", "build-image"]).ok();
    let lines: Vec<&str> = followed.lines().filter(|line| line.starts_with("line-")).collect();
    assert_eq!(lines, ["line-1", "line-2", "line-3", "line-4", "line-5"], "{followed}");
    let retried = workshop.platform.run(&["retry", &run, "-f"]);
    assert!(retried.success() && retried.stdout.contains(&format!("in place of {run}")), "{retried}");
    assert_eq!(workshop.platform.run(&["get", "-o", "name"]).ok().lines().count(), 2);
    let canceled = workshop.platform.run(&["cancel", &run]).ok();
    assert!(canceled.contains("has already ended: Succeeded"), "{canceled}");
    assert!(workshop.platform.stop().success());
}

#[test]
fn a_step_interrupted_by_a_crash_is_never_run_again() {
    let workshop = Workshop::open(
        "FROM registry.buildplane.local/library/busybox:latest\nRUN busybox sh -c 'echo has-begun; busybox sleep 600'\n",
    );
    let kept = TempDir::new().expect("a temporary directory");
    let data_dir = kept.path().join("data");
    let Workshop { platform, source } = workshop;
    assert!(platform.stop().success());
    let start = || LocalPlatform::builder(BINARY).data_dir(&data_dir).start();
    let platform = start();
    platform.run(&["base-image"]).ok();
    let path = source.path().join("greeter").display().to_string();
    let build = Running::start(platform.command(&["build", &path]));
    eventually("the build runs", PATIENCE, || build.stdout().contains("build-image | has-begun"));
    platform.kill();
    drop(build);

    let platform = start();
    let kubectl = platform.kubectl(&Tools::newest(), "control-plane");
    kubectl.ok("wait --for=jsonpath={.status.phase}=Failed workflowruns --all --timeout=60s");
    let listed = platform.run(&["get", "-o", "name"]).ok();
    let run = listed.trim().rsplit('/').next().expect("a run").to_owned();
    let described = platform.run(&["describe", &run]).ok();
    assert!(described.contains("build-image") && described.to_lowercase().contains("restart"), "{described}");
    let pods = kubectl.with_context("build-plane").ok("get pods -n openchoreo-ci-default -o name");
    assert_eq!(pods.lines().filter(|pod| pod.contains("build-image")).count(), 1, "never run again: {pods}");
    assert!(platform.stop().success());
}

#[test]
fn changes_are_watched_as_they_happen() {
    let platform = LocalPlatform::builder(BINARY).start();
    let watch = Running::start(platform.command(&["get", "wfr", "-w"]));
    let kubectl = platform.kubectl(&Tools::newest(), "control-plane");
    let run = buildplane_testing::Manifest::run("default", "watched", "nonesuch", &serde_json::json!({}));
    kubectl.apply(&run.to_string());
    eventually("the watch shows the run", PATIENCE, || watch.stdout().contains("watched"));
    assert!(watch.stdout().starts_with("NAME "), "{}", watch.stdout());
    // A workflow that does not exist is said to be missing, and the run is not lost.
    eventually("the run says what it waits for", PATIENCE, || {
        platform.run(&["describe", "watched"]).ok().contains("WorkflowNotFound")
    });
    watch.signal("INT");
    platform.run(&["cancel", "watched"]).ok();
    eventually("the run is canceled", PATIENCE, || platform.run(&["get"]).ok().contains("Canceled"));
    assert!(platform.stop().success());
}

/// Build logs are hostile output: on a terminal nothing of them acts, in a pipe they are what they are.
#[test]
fn hostile_logs_are_harmless_on_a_terminal() {
    let workshop = Workshop::open(
        "FROM registry.buildplane.local/library/busybox:latest\n\
         RUN busybox printf 'be\\033]0;OWNED\\007fore\\033[2J after\\n'\n",
    );
    let path = workshop.path();
    let binary = workshop.platform.command::<&str>(&[]).get_program().to_string_lossy().into_owned();
    let mut command = std::process::Command::new("script");
    command.args(["--quiet", "--return", "--command", &format!("{binary} build {path}"), "/dev/null"]);
    command
        .env("BUILDPLANE_DATA_DIR", workshop.platform.data_dir())
        .env_remove("KUBECONFIG")
        .env("TERM", "xterm");
    let built = buildplane_testing::finish(command, "", PATIENCE);
    assert!(built.success(), "{built}");
    assert!(built.stdout.contains("before after"), "{built}");
    for sequence in ["\u{1b}]0;", "\u{1b}[2J after", "\u{7}"] {
        assert!(!built.stdout.contains(sequence), "{sequence:?} acts: {:?}", built.stdout);
    }
    assert!(workshop.platform.stop().success());
}
