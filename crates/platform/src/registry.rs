//! The container registry: CNCF distribution's `docker-registry` as a child process, and the [`front`] that decides who may
//! pull and push what.

pub(crate) mod front;
mod request;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::credentials::Login;
use crate::layout::write_private;
use crate::{Error, Layout};

/// bcrypt's work factor. The password is 32 random bytes, so guessing is hopeless at any factor,
/// and each push pays for it several times.
const BCRYPT_COST: u32 = 4;
const CONFIG: &str = "config.yml";
const LOG: &str = "registry.log";
/// How long the registry may take to listen.
const START: Duration = Duration::from_secs(10);

/// A registry that ended sooner than this after its start will not do better the next time.
const LIVELY: Duration = Duration::from_secs(2);
/// How often in a row that may happen.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(100);

/// A running registry; it ends with this value, and with our process however that ends.
#[derive(Debug)]
pub(crate) struct Registry {
    program: PathBuf,
    directory: PathBuf,
    address: SocketAddr,
    child: Child,
}

/// The files of the registry's own certificate, PEM.
pub(crate) struct Certificate<'a> {
    pub(crate) chain: &'a str,
    pub(crate) key: &'a str,
}

impl Registry {
    /// Starts the registry on the reserved port and waits until it listens. `login` is the only one that it takes.
    pub(crate) async fn start(
        layout: &Layout,
        (reserved, address): (TcpListener, SocketAddr),
        certificate: Certificate<'_>,
        login: &Login,
    ) -> Result<Self, Error> {
        let program = find_program()?;
        let directory = layout.registry();
        write_config(&directory, address, &certificate, login)?;
        let log = directory.join(LOG);
        std::fs::File::create(&log).map_err(|source| Error::path("create", &log, source))?;
        drop(reserved);
        let child = spawn(&program, &directory)?;
        let mut registry = Self { program, directory, address, child };
        registry.listening().await?;
        Ok(registry)
    }

    /// Runs it until `shutdown`. When it ends before (somebody killed it, the machine ran out of memory), it is started
    /// again: it keeps nothing that is not on disk, and its clients try again.
    pub(crate) async fn keep(mut self, shutdown: CancellationToken) -> Result<(), Error> {
        let mut short_lives = 0;
        loop {
            let began = Instant::now();
            let ended = tokio::select! {
                ended = self.child.wait() => ended.map_or_else(|error| error.to_string(), |status| status.to_string()),
                () = shutdown.cancelled() => return Ok(()),
            };
            short_lives = if began.elapsed() < LIVELY { short_lives + 1 } else { 1 };
            if short_lives > ATTEMPTS {
                let reason = format!("{ended}: {}", last_line(&self.directory));
                return Err(Error::PartEnded { part: "docker-registry", reason });
            }
            tracing::warn!(ended, "docker-registry ended; starting it again");
            tokio::select! {
                () = tokio::time::sleep(PAUSE * short_lives) => {}
                () = shutdown.cancelled() => return Ok(()),
            }
            self.child = spawn(&self.program, &self.directory)?;
            // If it does not listen it has ended or will be seen to; the next turn says so.
            if let Err(error) = self.listening().await {
                tracing::warn!(%error, "docker-registry is not back yet");
            }
        }
    }

    async fn listening(&mut self) -> Result<(), Error> {
        let address = self.address;
        let connected = async {
            loop {
                if tokio::net::TcpStream::connect(address).await.is_ok() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let log = || last_line(&self.directory);
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
}

/// A free port of loopback for the registry itself. Nobody is told it but the front.
pub(crate) fn reserve() -> Result<(TcpListener, SocketAddr), Error> {
    let reserved = || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    reserved().map_err(|source| Error::Spawn { program: "docker-registry", source })
}

fn spawn(program: &Path, directory: &Path) -> Result<Child, Error> {
    let path = directory.join(LOG);
    let log = std::fs::OpenOptions::new().append(true).create(true).open(&path);
    let log = log.map_err(|source| Error::path("open", &path, source))?;
    // setpriv ties the child's life to ours even when we are killed with no chance to clean up.
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--no-new-privs", "--"])
        .arg(program)
        .arg("serve")
        .arg(directory.join(CONFIG))
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| Error::Spawn { program: "docker-registry", source })
}

/// On PATH, or where `scripts/setup` and `make install` put it: `../libexec/buildplane` of our binary (a test's lies one
/// directory deeper).
fn find_program() -> Result<PathBuf, Error> {
    const NAME: &str = "docker-registry";
    let exe = std::env::current_exe().unwrap_or_default();
    let beside = exe.ancestors().skip(2).take(2).map(|prefix| prefix.join("libexec/buildplane").join(NAME));
    let path = std::env::var_os("PATH").unwrap_or_default();
    beside
        .chain(std::env::split_paths(&path).map(|directory| directory.join(NAME)))
        .find(|candidate| candidate.is_file())
        .ok_or(Error::ProgramMissing { program: NAME })
}

fn write_config(
    directory: &Path,
    address: SocketAddr,
    certificate: &Certificate<'_>,
    login: &Login,
) -> Result<(), Error> {
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
            // Signs what an upload has come to, which its client carries from request to request.
            "secret": Login::generate("uploads")?.password,
            "tls": { "certificate": path("tls.crt"), "key": path("tls.key"), "minimumtls": "tls1.2" },
        },
        "auth": { "htpasswd": { "realm": "buildplane", "path": path("htpasswd") } },
    });
    // JSON is YAML, which is what the registry reads.
    write_private(&path(CONFIG), config.to_string().as_bytes())
}

fn last_line(directory: &Path) -> String {
    let text = std::fs::read_to_string(directory.join(LOG)).unwrap_or_default();
    text.lines().last().unwrap_or("it logged nothing").to_owned()
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod lifetime {
    use super::*;

    fn registry(directory: &Path, script: &str) -> Registry {
        // Stands for docker-registry: `serve <config>` are its arguments.
        let program = directory.join("docker-registry");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&program, mode).unwrap();
        let child = spawn(&program, directory).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Registry { program, directory: directory.to_owned(), address, child }
    }

    #[tokio::test]
    async fn one_that_ends_at_once_each_time_is_given_up_with_its_last_words() {
        let home = tempfile::tempdir().unwrap();
        let registry = registry(home.path(), "echo no luck >&2; exit 3");
        let error = registry.keep(CancellationToken::new()).await.unwrap_err();
        assert_eq!(error.to_string(), "docker-registry ended unexpectedly: exit status: 3: no luck");
        let log = std::fs::read_to_string(home.path().join(LOG)).unwrap();
        assert_eq!(log.lines().count(), usize::try_from(ATTEMPTS).unwrap() + 1);
    }
}
