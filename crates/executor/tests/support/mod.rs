//! Steps for tests: a shell command, and what came of it.

#![allow(dead_code, reason = "every test file uses its own part")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use buildplane_executor::{
    Access, Bubblewrap, Capability, Config, Executor as _, Limits, LogWriter, Mount, Outcome, StepHandle,
    StepSpec,
};

/// A directory nobody else can enter, with an executor in it.
pub struct Sandbox {
    pub directory: tempfile::TempDir,
    pub executor: Bubblewrap,
    next: std::cell::Cell<u32>,
}

pub struct Ended {
    pub outcome: Outcome,
    pub log: String,
}

impl Sandbox {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::new(directory.path().join("volumes"));
        change(&mut config);
        let executor = Bubblewrap::new(config).unwrap();
        Self { directory, executor, next: std::cell::Cell::new(0) }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn volume(&self, name: &str) -> PathBuf {
        self.path().join("volumes").join(name)
    }

    /// A step that runs this shell script.
    pub fn script(&self, script: &str) -> (StepSpec, PathBuf) {
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
            limits: Limits { duration: Duration::from_secs(60), min_free: 0, ..Limits::default() },
            hosts: Vec::new(),
            outputs: Vec::new(),
            log,
        };
        (spec, path)
    }

    pub async fn start(&self, spec: StepSpec) -> StepHandle {
        match self.executor.start(spec).await {
            Ok(handle) => handle,
            Err(error) => panic!("a step does not start: {}", chain(&error)),
        }
    }

    /// Runs a script with changes to its step.
    pub async fn run_with(&self, script: &str, change: impl FnOnce(&mut StepSpec)) -> Ended {
        let (mut spec, path) = self.script(script);
        change(&mut spec);
        let outcome = self.start(spec).await.wait().await;
        Ended { outcome, log: text(&path) }
    }

    pub async fn run(&self, script: &str) -> Ended {
        self.run_with(script, |_| {}).await
    }

    pub async fn make_volume(&self, name: &str) {
        self.executor.create_volume(&name.parse().unwrap()).await.unwrap();
    }
}

pub fn volume(name: &str, target: &str) -> Mount {
    Mount::Volume { id: name.parse().unwrap(), target: target.to_owned(), access: Access::ReadWrite }
}

pub fn build_capabilities(spec: &mut StepSpec) {
    spec.capabilities = Capability::ALL.to_vec();
}

/// A log without times and marks.
pub fn text(path: &Path) -> String {
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

pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
