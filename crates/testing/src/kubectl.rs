//! The pinned kubectl and helm binaries.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::{Finished, Running, finish};

/// Where the binaries are, if not below the workspace's target directory.
const DIRECTORY: &str = "BUILDPLANE_KUBECTL_DIR";
const PATIENCE: Duration = Duration::from_mins(1);

/// One pinned version of the tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tools {
    /// Such as `v1.36`.
    pub version: &'static str,
    /// The kubectl binary.
    pub kubectl: PathBuf,
    /// The helm binary.
    pub helm: PathBuf,
}

impl Tools {
    /// The oldest and the newest version that are supported. Panics where they are missing: `scripts/setup --test`
    /// fetches them.
    #[track_caller]
    pub fn all() -> [Self; 2] {
        ["v1.32", "v1.36"].map(Self::version)
    }

    /// The newest version.
    #[track_caller]
    pub fn newest() -> Self {
        Self::version("v1.36")
    }

    #[track_caller]
    fn version(version: &'static str) -> Self {
        let directory = directory().join(version);
        let tools = Self { version, kubectl: directory.join("kubectl"), helm: directory.join("helm") };
        for binary in [&tools.kubectl, &tools.helm] {
            assert!(
                binary.is_file(),
                "{} is missing: run `scripts/setup --test`, or set {DIRECTORY}",
                binary.display()
            );
        }
        tools
    }
}

fn directory() -> PathBuf {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return PathBuf::from(directory);
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    target.join("tools/kubectl")
}

/// kubectl of one version, on one context of one kubeconfig.
#[derive(Debug, Clone)]
pub struct Kubectl {
    tools: Tools,
    kubeconfig: PathBuf,
    context: String,
    /// kubectl's discovery cache: one per kubeconfig, never the user's.
    home: PathBuf,
}

impl Kubectl {
    /// kubectl for a context. Its cache lies beside the kubeconfig's directory.
    pub fn new(tools: &Tools, kubeconfig: &Path, context: &str) -> Self {
        // Beside the platform's data directory, which holds nothing but what is the platform's.
        let beside = kubeconfig.parent().unwrap_or(kubeconfig);
        let home = beside.with_file_name(format!("kubectl-{}-home", tools.version));
        Self { tools: tools.clone(), kubeconfig: kubeconfig.to_owned(), context: context.to_owned(), home }
    }

    /// The same for another context.
    #[must_use]
    pub fn with_context(&self, context: &str) -> Self {
        Self { context: context.to_owned(), ..self.clone() }
    }

    /// The version, such as `v1.36`.
    pub fn version(&self) -> &'static str {
        self.tools.version
    }

    /// A kubectl command that has not been started.
    pub fn command<S: AsRef<str>>(&self, arguments: &[S]) -> Command {
        let mut command = self.prepare(&self.tools.kubectl);
        command.arg("--context").arg(&self.context);
        command.args(arguments.iter().map(AsRef::as_ref));
        command
    }

    /// A helm command that has not been started.
    pub fn helm_command<S: AsRef<str>>(&self, arguments: &[S]) -> Command {
        let mut command = self.prepare(&self.tools.helm);
        command.arg("--kube-context").arg(&self.context);
        command.args(arguments.iter().map(AsRef::as_ref));
        command
    }

    fn prepare(&self, binary: &Path) -> Command {
        let mut command = Command::new(binary);
        command
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", &self.home)
            .env("KUBECACHEDIR", self.home.join("cache"));
        for proxy in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"] {
            command.env_remove(proxy);
        }
        command
    }

    /// Runs kubectl to its end.
    #[track_caller]
    pub fn run<S: AsRef<str>>(&self, arguments: &[S]) -> Finished {
        finish(self.command(arguments), "", PATIENCE)
    }

    /// Runs kubectl with something on its standard input.
    #[track_caller]
    pub fn run_with<S: AsRef<str>>(&self, arguments: &[S], input: &str) -> Finished {
        finish(self.command(arguments), input, PATIENCE)
    }

    /// The output of a command that has to succeed, given as one line.
    #[track_caller]
    pub fn ok(&self, arguments: &str) -> String {
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        self.run(&arguments).ok()
    }

    /// Applies a manifest.
    #[track_caller]
    pub fn apply(&self, manifest: &str) -> String {
        self.run_with(&["apply", "-f", "-"], manifest).ok()
    }

    /// Starts a command that goes on, such as `get -w` or `logs -f`.
    #[track_caller]
    pub fn start<S: AsRef<str>>(&self, arguments: &[S]) -> Running {
        Running::start(self.command(arguments))
    }

    /// One value of an object, by JSONPath without the braces; the empty string where there is none.
    #[track_caller]
    pub fn value(&self, object: &str, path: &str) -> String {
        let mut arguments: Vec<&str> = object.split_whitespace().collect();
        let output = format!("jsonpath={{{path}}}");
        arguments.insert(0, "get");
        arguments.extend(["-o", &output]);
        self.run(&arguments).ok()
    }

    /// `status/reason` of a condition, the empty string where there is none.
    #[track_caller]
    pub fn condition(&self, object: &str, type_: &str) -> String {
        let path = |field: &str| format!(r#".status.conditions[?(@.type=="{type_}")].{field}"#);
        let status = self.value(object, &path("status"));
        if status.is_empty() { status } else { format!("{status}/{}", self.value(object, &path("reason"))) }
    }
}
