//! The container registry: CNCF distribution's `docker-registry` as a child process.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::credentials::Login;
use crate::layout::write_private;
use crate::{Error, Layout};

/// bcrypt's work factor. The password is 32 random bytes, so guessing is hopeless at any factor,
/// and each push pays for it several times.
const BCRYPT_COST: u32 = 4;
/// How long the registry may take to listen.
const START: Duration = Duration::from_secs(10);

/// A running registry; it ends with this value, and with our process however that ends.
#[derive(Debug)]
pub(crate) struct Registry {
    child: Child,
}

/// The files of the registry's own certificate, PEM.
pub(crate) struct Certificate<'a> {
    pub(crate) chain: &'a str,
    pub(crate) key: &'a str,
}

impl Registry {
    /// Starts the registry on the reserved port and waits until it listens.
    pub(crate) async fn start(
        layout: &Layout,
        reserved: TcpListener,
        address: SocketAddr,
        certificate: Certificate<'_>,
        login: &Login,
    ) -> Result<Self, Error> {
        let program = find_program()?;
        let directory = layout.registry();
        let config = write_config(&directory, address, &certificate, login)?;
        let log = std::fs::File::create(directory.join("registry.log"))
            .map_err(|source| Error::path("create", directory.join("registry.log"), source))?;
        drop(reserved);
        // setpriv ties the child's life to ours even when we are killed with no chance to clean up.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--no-new-privs", "--"])
            .arg(&program)
            .arg("serve")
            .arg(&config)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| Error::Spawn { program: "docker-registry", source })?;
        let mut registry = Self { child };
        registry.listening(address, &directory).await?;
        Ok(registry)
    }

    async fn listening(&mut self, address: SocketAddr, directory: &Path) -> Result<(), Error> {
        let connected = async {
            loop {
                if tokio::net::TcpStream::connect(address).await.is_ok() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let log = || last_line(&directory.join("registry.log"));
        tokio::select! {
            () = connected => Ok(()),
            ended = self.child.wait() => {
                let status = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                Err(Error::PartEnded { part: "the registry", reason: format!("{status}: {}", log()) })
            }
            () = tokio::time::sleep(START) => {
                Err(Error::NotReady { part: "the registry", seconds: START.as_secs(), last: log() })
            }
        }
    }

    /// Waits until the registry ends.
    pub(crate) async fn ended(&mut self) -> std::io::Result<std::convert::Infallible> {
        let status = self.child.wait().await?;
        Err(std::io::Error::other(format!("docker-registry: {status}")))
    }
}

/// On PATH, or where `scripts/setup` and `make install` put it: `../libexec/buildplane` of our binary.
fn find_program() -> Result<PathBuf, Error> {
    const NAME: &str = "docker-registry";
    let beside = std::env::current_exe().ok().and_then(|exe| {
        let prefix = exe.parent()?.parent()?;
        Some(prefix.join("libexec/buildplane").join(NAME))
    });
    let path = std::env::var_os("PATH").unwrap_or_default();
    beside
        .into_iter()
        .chain(std::env::split_paths(&path).map(|directory| directory.join(NAME)))
        .find(|candidate| candidate.is_file())
        .ok_or(Error::ProgramMissing { program: NAME })
}

fn write_config(
    directory: &Path,
    address: SocketAddr,
    certificate: &Certificate<'_>,
    login: &Login,
) -> Result<PathBuf, Error> {
    let path = |name: &str| directory.join(name);
    let hash = bcrypt::hash(&login.password, BCRYPT_COST)
        .map_err(|source| Error::Pki { what: "the registry's login", source: Box::new(source) })?;
    write_private(&path("htpasswd"), format!("{}:{hash}\n", login.username).as_bytes())?;
    write_private(&path("tls.crt"), certificate.chain.as_bytes())?;
    write_private(&path("tls.key"), certificate.key.as_bytes())?;
    let config = serde_json::json!({
        "version": "0.1",
        "log": { "level": "warn", "accesslog": { "disabled": true } },
        "storage": {
            "filesystem": { "rootdirectory": path("data") },
            "delete": { "enabled": true },
            "cache": { "blobdescriptor": "inmemory" },
        },
        "http": {
            "addr": address.to_string(),
            // Answers carry relative addresses, so that a proxy in front changes nothing.
            "relativeurls": true,
            "tls": { "certificate": path("tls.crt"), "key": path("tls.key"), "minimumtls": "tls1.2" },
        },
        "auth": { "htpasswd": { "realm": "buildplane", "path": path("htpasswd") } },
    });
    // JSON is YAML, which is what the registry reads.
    write_private(&path("config.yml"), config.to_string().as_bytes())?;
    Ok(path("config.yml"))
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().last().unwrap_or("it logged nothing").to_owned()
}
