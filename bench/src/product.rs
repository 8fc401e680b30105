//! The product: the `buildplane` binary's own gateway and agent, as they run in production.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use http::Method;
use serde_json::{Value, json};

use crate::client::Client;
use crate::pki::{Pki, SERVER};
use crate::process::{Running, free_address};

/// What precedes a path of the plane's API at the gateway.
pub(crate) const PREFIX: &str = "/api/proxy/buildplane/default/team/default/k8s";
/// Registrations under way at once.
const REGISTRATIONS: usize = 64;

/// A gateway that runs.
pub(crate) struct Gateway {
    binary: PathBuf,
    pub(crate) agents: SocketAddr,
    pub(crate) internal: SocketAddr,
    health: SocketAddr,
    pub(crate) process: Running,
}

impl Gateway {
    pub(crate) async fn start(binary: &Path, name: &str, pki: &Pki) -> anyhow::Result<Self> {
        let (agents, internal, health) = (free_address()?, free_address()?, free_address()?);
        let command = command(binary, pki, (agents, internal, health));
        let process = Running::start(name, command, pki.dir())?;
        let mut gateway = Self { binary: binary.to_owned(), agents, internal, health, process };
        gateway.until_up(pki).await?;
        Ok(gateway)
    }

    /// Kills the process and starts another in its place.
    pub(crate) async fn restart(self, name: &str, pki: &Pki) -> anyhow::Result<Self> {
        let Self { binary, agents, internal, health, process } = self;
        // The one before has to leave its ports first.
        drop(process);
        let process = Running::start(name, command(&binary, pki, (agents, internal, health)), pki.dir())?;
        let mut gateway = Self { binary, agents, internal, health, process };
        gateway.until_up(pki).await?;
        Ok(gateway)
    }

    async fn until_up(&mut self, pki: &Pki) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            self.process.check()?;
            if Client::connect(pki, self.internal).await.is_ok() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("the gateway does not answer");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// An agent of this gateway for plane `default`, once it is connected.
    pub(crate) async fn agent(&self, pki: &Pki, backend: SocketAddr) -> anyhow::Result<Running> {
        let kubeconfig = pki.dir().join("kubeconfig");
        std::fs::write(&kubeconfig, self::kubeconfig(pki, backend).to_string())?;
        let mut command = Command::new(&self.binary);
        command.arg("agent");
        command.arg("--gateway").arg(format!("wss://{}/ws", self.agents));
        command.arg("--server-ca").arg(pki.certificate("ca"));
        command.args(["--server-name", SERVER, "--plane-id", "default"]);
        command.arg("--kubeconfig").arg(kubeconfig);
        let agent = Running::start("agent", command, pki.dir())?;
        self.register(pki, &[("default".to_owned(), "default".to_owned())]).await?;
        self.until_connected(pki, 1, Duration::from_secs(20)).await?;
        Ok(agent)
    }

    /// Registers custom resources of namespace `team`, as (plane id, name).
    pub(crate) async fn register(&self, pki: &Pki, planes: &[(String, String)]) -> anyhow::Result<()> {
        let client = Client::connect(pki, self.internal).await?;
        let body = Bytes::from(json!({ "clientCA": pki.ca_pem() }).to_string());
        futures::stream::iter(planes)
            .map(|(plane_id, name)| {
                let (client, body) = (client.clone(), body.clone());
                async move {
                    let path = format!("/api/v1/planes/buildplane/{plane_id}/team/{name}");
                    client.send(Method::PUT, &path, body).await
                }
            })
            .buffer_unordered(REGISTRATIONS)
            .try_for_each(|_answer| async { Ok(()) })
            .await
    }

    /// Waits until `n` planes have their agents.
    pub(crate) async fn until_connected(
        &self,
        pki: &Pki,
        n: usize,
        patience: Duration,
    ) -> anyhow::Result<()> {
        let client = Client::connect(pki, self.internal).await?;
        let deadline = Instant::now() + patience;
        loop {
            let text = client.text("/api/v1/planes/status").await?;
            let statuses: Value = serde_json::from_slice(&text)?;
            let planes = statuses["planes"].as_array().context("a list of planes")?;
            let n_connected = planes.iter().filter(|plane| plane["connected"] == true).count();
            if n_connected >= n {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{n_connected} of {n} planes are connected after {patience:?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn command(
    binary: &Path,
    pki: &Pki,
    (agents, internal, health): (SocketAddr, SocketAddr, SocketAddr),
) -> Command {
    let mut command = Command::new(binary);
    command.arg("gateway");
    command.arg("--agents-listen").arg(agents.to_string());
    command.arg("--internal-listen").arg(internal.to_string());
    command.arg("--health-listen").arg(health.to_string());
    command.arg("--tls-cert").arg(pki.certificate("server")).arg("--tls-key").arg(pki.key("server"));
    command.arg("--client-ca").arg(pki.certificate("ca")).args(["--host", SERVER]);
    command
}

fn kubeconfig(pki: &Pki, backend: SocketAddr) -> Value {
    json!({
        "kind": "Config",
        "apiVersion": "v1",
        "clusters": [{ "name": "bench", "cluster": {
            "server": format!("https://{backend}"),
            "certificate-authority": pki.certificate("ca"),
        } }],
        "users": [{ "name": "bench", "user": {
            "client-certificate": pki.certificate("controller"),
            "client-key": pki.key("controller"),
        } }],
        "contexts": [{ "name": "bench", "context": { "cluster": "bench", "user": "bench" } }],
        "current-context": "bench",
    })
}
