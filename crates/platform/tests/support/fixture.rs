//! Platforms in this process and in a child, on a temporary data directory.

use std::future::Future;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use buildplane_platform::{Error, Layout, Options, Platform, Ports, Progress, state};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rustix::process::{Pid, Signal, kill_process};

const PATIENCE: Duration = Duration::from_mins(1);
/// The variable that makes [`Child::main`] a platform.
const CHILD: &str = "BUILDPLANE_TEST_PLATFORM";

/// A data directory that goes with the test.
pub(crate) struct Home(tempfile::TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        buildplane_tls::install_crypto();
        Self(tempfile::Builder::new().prefix("bp-faults-").tempdir().unwrap())
    }

    pub(crate) fn layout(&self) -> Layout {
        Layout::new(self.0.path().join("data"))
    }
}

/// One life of a platform, in this process.
pub(crate) struct Life {
    platform: Platform,
    kubeconfig: std::path::PathBuf,
}

impl Life {
    pub(crate) async fn start(home: &Home) -> Self {
        Self::try_start(home).await.unwrap()
    }

    pub(crate) async fn try_start(home: &Home) -> Result<Self, Error> {
        Self::try_start_telling(home, |_| {}).await
    }

    pub(crate) async fn try_start_telling(home: &Home, progress: impl Fn(Progress)) -> Result<Self, Error> {
        let options = Options { data_dir: home.layout().root().to_owned(), ports: Ports::Auto };
        let platform = Platform::start(options, progress).await?;
        let kubeconfig = platform.kubeconfig_path();
        Ok(Self { platform, kubeconfig })
    }

    pub(crate) fn platform(&self) -> &Platform {
        &self.platform
    }

    pub(crate) async fn stop(self) {
        self.platform.run_until(async {}).await.unwrap();
    }
}

/// Who has a kubeconfig.
pub(crate) trait Reachable {
    fn kubeconfig(&self) -> std::path::PathBuf;
}

impl Reachable for Life {
    fn kubeconfig(&self) -> std::path::PathBuf {
        self.kubeconfig.clone()
    }
}

impl Reachable for Home {
    fn kubeconfig(&self) -> std::path::PathBuf {
        self.layout().kubeconfig()
    }
}

pub(crate) async fn client(platform: &impl Reachable, context: &str) -> Client {
    let kubeconfig = Kubeconfig::read_from(platform.kubeconfig()).unwrap();
    let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    "default".clone_into(&mut config.default_namespace);
    Client::try_from(config).unwrap()
}

/// Looks until it is so.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The process of this data directory's registry.
pub(crate) fn registry_process(home: &Home) -> Option<Pid> {
    let config = home.layout().root().join("registry/config.yml");
    std::fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        runs(&entry.path(), &config).then(|| Pid::from_raw(pid))?
    })
}

fn runs(process: &Path, config: &Path) -> bool {
    let arguments = std::fs::read(process.join("cmdline")).unwrap_or_default();
    arguments.split(|byte| *byte == 0).any(|argument| argument == config.as_os_str().as_encoded_bytes())
}

pub(crate) fn kill(process: Pid) {
    kill_process(process, Signal::KILL).unwrap();
}

/// A platform in a process of its own, which is this test binary once more.
pub(crate) struct Child(tokio::process::Child);

impl Child {
    pub(crate) async fn start(home: &Home) -> Self {
        let mut child = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child"])
            .env(CHILD, home.layout().root())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let pid = child.id();
        let deadline = Instant::now() + PATIENCE;
        while state::read(&home.layout()).map(|running| running.pid) != pid {
            assert!(child.try_wait().unwrap().is_none(), "the child ended");
            assert!(Instant::now() < deadline, "the child was not ready in time");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Self(child)
    }

    pub(crate) async fn kill(mut self) {
        self.0.kill().await.unwrap();
    }

    /// What the child does: a platform until the end.
    pub(crate) async fn main() {
        let Some(data_dir) = std::env::var_os(CHILD) else { return };
        buildplane_tls::install_crypto();
        let options = Options { data_dir: data_dir.into(), ports: Ports::Auto };
        let platform = Platform::start(options, |_| {}).await.unwrap();
        platform.run_until(std::future::pending()).await.unwrap();
    }
}
