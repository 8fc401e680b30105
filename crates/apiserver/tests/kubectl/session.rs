//! A server with TLS, and a kubectl of one version with a home of its own.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use buildplane_apiserver::{Config, LogOptions, PodLogError, PodLogRef, PodLogs, Server};
use buildplane_store::Store;
use buildplane_tls::{AnchorStore, Authority, LeafRequest, ServerIdentity, install_crypto};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdout, Command};
use tokio_util::sync::CancellationToken;

const VERSIONS: [&str; 2] = ["v1.32", "v1.36"];
/// Longest any command may take; the machine may be busy.
const PATIENCE: Duration = Duration::from_mins(1);

/// Runs a check with each kubectl, each against a server of its own.
pub(crate) async fn each_version(check: impl AsyncFn(&Session)) {
    for version in VERSIONS {
        let session = Session::open(version).await;
        check(&session).await;
        session.close().await;
    }
}

pub(crate) struct Session {
    version: &'static str,
    binary: PathBuf,
    home: TempDir,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

/// What a command printed, both streams together, and how it ended.
#[derive(Debug)]
pub(crate) struct Printed {
    command: String,
    ok: bool,
    pub(crate) out: String,
    all: String,
}

/// A command that goes on.
pub(crate) struct Running {
    command: String,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

fn tools() -> PathBuf {
    std::env::var_os("BUILDPLANE_KUBECTL_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/kubectl"),
        PathBuf::from,
    )
}

impl Session {
    async fn open(version: &'static str) -> Self {
        let binary = tools().join(version).join("kubectl");
        assert!(
            binary.is_file(),
            "there is no kubectl at {}: run `make tools`, or set BUILDPLANE_KUBECTL_DIR to a directory with v1.32/kubectl and v1.36/kubectl",
            binary.display()
        );
        install_crypto();
        let home = tempfile::tempdir().unwrap();
        let day = Duration::from_hours(24);
        let authority = Authority::generate("test", day).unwrap();
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let certified = authority.issue(LeafRequest::server(&["localhost"], &[loopback], day)).unwrap();
        let identity = ServerIdentity::new(&certified);
        let store = Store::open(home.path().join("data"), buildplane_store::Config::default()).unwrap();
        let config = Config {
            client_anchors: Some(AnchorStore::new(authority.anchors().unwrap())),
            pod_logs: Some(Arc::new(ThreeLines)),
            ..Config::default()
        };
        let server = Server::new(store, config).await.unwrap();
        let listener = TcpListener::bind((loopback, 0)).await.unwrap();
        let kubeconfig = kubeconfig(&authority, listener.local_addr().unwrap().port());
        std::fs::write(home.path().join("kubeconfig"), kubeconfig).unwrap();
        let stop = CancellationToken::new();
        let until = stop.clone();
        let serving = tokio::spawn(async move { server.run(listener, &identity, until).await.unwrap() });
        Self { version, binary, home, stop, serving }
    }

    async fn close(self) {
        self.stop.cancel();
        self.serving.await.unwrap();
    }

    /// Writes a file that commands can name by [`Session::path`].
    pub(crate) fn file(&self, name: &str, text: &str) {
        let path = self.home.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.home.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Printed {
        self.output(&self.binary, arguments, "").await
    }

    /// Runs a command that reads `-f -`.
    pub(crate) async fn feed(&self, input: &str, arguments: &[&str]) -> Printed {
        self.output(&self.binary, arguments, input).await
    }

    /// helm, which comes with kubectl.
    pub(crate) async fn helm(&self, arguments: &[&str]) -> Printed {
        let helm = self.binary.with_file_name("helm");
        assert!(helm.is_file(), "there is no helm at {}: run `make tools`", helm.display());
        self.output(&helm, arguments, "").await
    }

    /// Starts a command and does not wait for its end.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let mut child = self.command(&self.binary, arguments).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Running { command: self.shown(arguments), child, lines }
    }

    async fn output(&self, program: &Path, arguments: &[&str], input: &str) -> Printed {
        let mut child = self.command(program, arguments).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        let feeding = async move {
            // A command that fails early does not read its input.
            let _unread = stdin.write_all(input.as_bytes()).await;
        };
        let ended = async { tokio::join!(feeding, child.wait_with_output()).1.unwrap() };
        let output = tokio::time::timeout(PATIENCE, ended).await;
        let output = output.unwrap_or_else(|_| panic!("{} does not end", self.shown(arguments)));
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let (out, err) = (text(output.stdout), text(output.stderr));
        let all = format!("{out}{err}");
        Printed { command: self.shown(arguments), ok: output.status.success(), out, all }
    }

    fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .env("KUBECONFIG", self.home.path().join("kubeconfig"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    fn shown(&self, arguments: &[&str]) -> String {
        format!("{} {}", self.version, arguments.join(" "))
    }
}

impl Printed {
    #[track_caller]
    pub(crate) fn says(&self, part: &str) -> &Self {
        assert!(self.all.contains(part), "{}: expected {part:?} in:\n{}", self.command, self.all);
        self
    }

    #[track_caller]
    pub(crate) fn fails(&self) -> &Self {
        assert!(!self.ok, "{} succeeded:\n{}", self.command, self.all);
        self
    }

    #[track_caller]
    pub(crate) fn succeeds(&self) -> &Self {
        assert!(self.ok, "{} failed:\n{}", self.command, self.all);
        self
    }
}

impl Running {
    /// Reads on to a line with this text.
    pub(crate) async fn line(&mut self, part: &str) -> String {
        let reading = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                if line.contains(part) {
                    return line;
                }
            }
            panic!("{} ended without {part:?}", self.command);
        };
        tokio::time::timeout(PATIENCE, reading)
            .await
            .unwrap_or_else(|_| panic!("{} does not say {part:?}", self.command))
    }

    /// Waits until the command has ended by itself.
    pub(crate) async fn end(mut self) -> Printed {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let ok = status.unwrap_or_else(|_| panic!("{} does not end", self.command)).unwrap().success();
        Printed { command: self.command, ok, out: String::new(), all: String::new() }
    }

    pub(crate) async fn stop(mut self) {
        self.child.kill().await.unwrap();
    }
}

fn kubeconfig(authority: &Authority, port: u16) -> String {
    let mut request = LeafRequest::client("admin", Duration::from_hours(24));
    request.organizations = vec!["system:masters".to_owned()];
    let (certificate, key) = authority.issue(request).unwrap().to_pem();
    let [ca, certificate, key] = [authority.cert_pem(), &certificate, &key].map(|text| STANDARD.encode(text));
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         clusters: [{{name: c, cluster: {{server: 'https://localhost:{port}', certificate-authority-data: {ca}}}}}]\n\
         users: [{{name: u, user: {{client-certificate-data: {certificate}, client-key-data: {key}}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n"
    )
}

struct ThreeLines;

impl PodLogs for ThreeLines {
    fn open(
        &self,
        _pod: PodLogRef,
        options: LogOptions,
    ) -> BoxFuture<'_, Result<BoxStream<'static, io::Result<Bytes>>, PodLogError>> {
        let (tail, follow, times) = (options.tail_lines, options.follow, options.timestamps);
        let asked = format!("tail {tail:?} follow {follow} timestamps {times}\n");
        let lines = ["line 1\n".to_owned(), "line 2\n".to_owned(), "line 3\n".to_owned(), asked];
        async move { Ok(stream::iter(lines.map(|line| Ok(Bytes::from(line)))).boxed()) }.boxed()
    }
}
