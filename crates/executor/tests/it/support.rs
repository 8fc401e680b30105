//! Steps for tests: a shell command, and what came of it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use buildplane_executor::{
    Access, Bubblewrap, Capability, Config, Executor as _, Limits, LogWriter, Mount, Outcome, StepHandle,
    StepSpec,
};

/// A directory nobody else can enter, with an executor in it.
pub(crate) struct Sandbox {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) executor: Bubblewrap,
    next: std::cell::Cell<u32>,
}

pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    pub(crate) log: String,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let private = std::fs::Permissions::from_mode(0o700);
        let directory = tempfile::Builder::new().permissions(private).tempdir().unwrap();
        let mut config = Config::new(directory.path().join("volumes"));
        change(&mut config);
        let executor = Bubblewrap::new(config).unwrap();
        Self { directory, executor, next: std::cell::Cell::new(0) }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A step that runs this shell script.
    pub(crate) fn script(&self, script: &str) -> (StepSpec, PathBuf) {
        let number = self.next.replace(self.next.get() + 1);
        let path = self.path().join(format!("log-{number}"));
        let (log, _) = LogWriter::create(&path, 1 << 20).unwrap();
        let spec = StepSpec {
            name: format!("step-{number}"),
            command: ["sh", "-c", script].map(str::to_owned).to_vec(),
            environment: Vec::new(),
            working_directory: None,
            mounts: Vec::new(),
            capabilities: Vec::new(),
            limits: Limits { duration: Duration::from_mins(1), min_free: 0, ..Limits::default() },
            hosts: Vec::new(),
            outputs: Vec::new(),
            log,
        };
        (spec, path)
    }

    pub(crate) async fn start(&self, spec: StepSpec) -> StepHandle {
        match self.executor.start(spec).await {
            Ok(handle) => handle,
            Err(error) => panic!("a step does not start: {}", chain(&error)),
        }
    }

    /// Runs a script with changes to its step.
    pub(crate) async fn run_with(&self, script: &str, change: impl FnOnce(&mut StepSpec)) -> Ended {
        let (mut spec, path) = self.script(script);
        change(&mut spec);
        let outcome = self.start(spec).await.wait().await;
        Ended { outcome, log: text(&path) }
    }

    pub(crate) async fn run(&self, script: &str) -> Ended {
        self.run_with(script, |_| {}).await
    }

    pub(crate) async fn make_volume(&self, name: &str) {
        self.executor.create_volume(&name.parse().unwrap()).await.unwrap();
    }
}

pub(crate) fn volume(name: &str, target: &str) -> Mount {
    Mount::Volume { id: name.parse().unwrap(), target: target.to_owned(), access: Access::ReadWrite }
}

pub(crate) fn build_capabilities(spec: &mut StepSpec) {
    spec.capabilities = Capability::ALL.to_vec();
}

/// A log without times and marks.
pub(crate) fn text(path: &Path) -> String {
    let raw = std::fs::read(path).unwrap();
    let mut text = String::new();
    for record in raw.split_inclusive(|byte| *byte == b'\n') {
        let body = String::from_utf8_lossy(&record[33..record.len() - 1]);
        text.push_str(&body);
        if record[31] == b'F' {
            text.push('\n');
        }
    }
    text
}

pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
