//! The order in which a platform comes up.
//!
//! ```text
//!  lock ▶ listeners ▶ identities ▶ APIs ▶ kinds and objects ▶ gateway, services ▶ agent, node, engine, controllers
//!                                                                 ▶ own plane registered ▶ its status Ready ▶ up
//! ```

use std::ffi::OsString;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use buildplane_tls::{Alpn, ClientAuth};
use jiff::Timestamp;

use crate::agent_policy::AgentPolicy;
use crate::apis::{Api, NodeLogs};
use crate::credentials::{Credentials, GitCredentials, Login};
use crate::kubeconfig::{self, User};
use crate::lock::Lock;
use crate::pki::Pki;
use crate::ports::Listeners;
use crate::registry::{self, Certificate, Registry};
use crate::seed::{self, Target};
use crate::tasks::Tasks;
use crate::{Endpoints, Error, Layout, Ports, git, parts, ready, secret_sync, state, step_files};

/// What can be done about a plane that does not become ready.
const MEND: &str = "if the agent's Secrets are damaged: `kubectl --context build-plane delete secret cluster-agent-ca \
                    cluster-agent-tls -n openchoreo-build-plane`, then start again";

/// What a platform is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Where everything listens.
    pub ports: Ports,
}

/// How far a start has come, for people who wait.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// The data directory holds what the platform has not put there; it stays, and no purge will remove it.
    ForeignFiles {
        /// What it is.
        names: Vec<OsString>,
    },
    /// Both Kubernetes APIs answer.
    ApisReady,
    /// Gateway, registry and git server answer.
    ServicesReady,
    /// The machine lacks something that steps need, or the platform's own plane does not become ready; the platform
    /// runs, but no step will.
    StepsImpossible {
        /// What is missing and how to get it, a line each.
        missing: Vec<String>,
    },
    /// The platform's own plane is registered; its agent is awaited.
    PlaneRegistered,
}

/// A running platform.
pub struct Platform {
    layout: Layout,
    endpoints: Endpoints,
    ready_after: Duration,
    tasks: Tasks,
    _lock: Lock,
}

impl Platform {
    /// Starts every part and returns when all of them are ready: both APIs, gateway, registry, git, node and engine
    /// answer, and the platform's own plane is connected and Ready. When all but the plane are, `progress` tells
    /// [`Progress::StepsImpossible`] after a while, and the platform is up, so that it can be mended.
    ///
    /// # Errors
    /// Names the part that failed and why; what had been started by then is stopped.
    pub async fn start(options: Options, progress: impl Fn(Progress)) -> Result<Self, Error> {
        let began = Instant::now();
        let layout = Layout::new(options.data_dir);
        let strangers = layout.create()?;
        let lock = Lock::take(&layout)?;
        if !strangers.is_empty() {
            progress(Progress::ForeignFiles { names: strangers });
        }
        state::clear(&layout);
        let mut tasks = Tasks::new();
        let up =
            Box::pin(bring_up(&layout, &options.ports, &mut tasks, &progress)).await.and_then(|endpoints| {
                let ready_after = began.elapsed();
                let running = state::Running {
                    pid: std::process::id(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    started_at: Timestamp::now(),
                    ready_after_ms: u64::try_from(ready_after.as_millis()).unwrap_or(u64::MAX),
                    endpoints: endpoints.clone(),
                };
                state::write(&layout, &running)?;
                Ok((endpoints, ready_after))
            });
        match up {
            Ok((endpoints, ready_after)) => Ok(Self { layout, endpoints, ready_after, tasks, _lock: lock }),
            Err(error) => {
                tasks.stop().await;
                Err(error)
            }
        }
    }

    /// Where the parts answer.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Where things lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The kubeconfig with the contexts `control-plane`, `build-plane` and `via-gateway`.
    pub fn kubeconfig_path(&self) -> PathBuf {
        self.layout.kubeconfig()
    }

    /// How long the start took.
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// Runs until told to stop, or until a part fails; then stops every part.
    pub async fn run_until(mut self, stop: impl Future<Output = ()>) -> Result<(), Error> {
        let ended = tokio::select! {
            () = stop => Ok(()),
            error = self.tasks.failed() => Err(error),
        };
        self.tasks.stop().await;
        state::clear(&self.layout);
        ended
    }
}

async fn bring_up(
    layout: &Layout,
    ports: &Ports,
    tasks: &mut Tasks,
    progress: &impl Fn(Progress),
) -> Result<Endpoints, Error> {
    let listeners = Listeners::bind(ports, layout)?;
    let endpoints = listeners.endpoints.clone();
    let pki = Pki::ensure(layout)?;
    let credentials = Credentials::ensure(layout)?;
    let control_plane = Api::new("control plane API", &pki.control_plane, endpoints.control_plane);
    let build_plane = Api::new("build plane API", &pki.build_plane, endpoints.build_plane);

    let registry_certificate = pki.services.server(&[step_files::REGISTRY_NAME])?;
    let certificate =
        Certificate { chain: registry_certificate.cert_pem(), key: registry_certificate.key_pem() };
    let (reserved, address) = registry::reserve()?;
    let between = Login::generate("front")?;
    let registry = Registry::start(layout, (reserved, address), certificate, &between);

    let shared = step_files::write(layout, &pki.services.ca(), endpoints.registry)?;
    let node = parts::node(layout, build_plane.client("buildplane:node", &[])?, shared)?;
    control_plane.serve(&layout.control_plane(), listeners.control_plane, None, tasks).await?;
    let logs = Arc::new(NodeLogs(node.logs()));
    build_plane.serve(&layout.build_plane(), listeners.build_plane, Some(logs), tasks).await?;
    write_client_files(layout, &endpoints, &pki, &credentials)?;

    let on_control_plane =
        Target { api: "control plane", client: control_plane.client("buildplane:up", &["system:masters"])? };
    let on_build_plane =
        Target { api: "build plane", client: build_plane.client("buildplane:up", &["system:masters"])? };
    let gateway_ca = pki.gateway.ca();
    let (registry, missing, ..) = tokio::try_join!(
        registry,
        async { Ok(node.missing().await) },
        seed::control_plane(&on_control_plane, &gateway_ca),
        async {
            seed::build_plane(&on_build_plane, &gateway_ca).await?;
            seed::stored_secrets(&on_build_plane, &endpoints, &credentials.registry, &credentials.git_reader)
                .await
        },
    )?;
    progress(Progress::ApisReady);
    tasks.run("registry", registry.keep(tasks.token()));
    let login = credentials.registry.clone();
    parts::registry_front(listeners.registry, &pki, login, (address, between), tasks)?;

    let git_tls = pki.services.server_config(&[], ClientAuth::None, &[Alpn::H2, Alpn::Http1])?;
    git::sweep(&layout.git())
        .map_err(|source| Error::path("clean up the repositories in", layout.git(), source))?;
    let git = git::router(layout.git(), &credentials);
    parts::serve("git", listeners.git, git_tls, git, tasks)?;
    let reviews = control_plane.client("buildplane:gateway", &[])?;
    parts::gateway(&pki, reviews, (listeners.agents, listeners.gateway, listeners.health), tasks)?;
    progress(Progress::ServicesReady);

    if !missing.is_empty() {
        let missing = missing.iter().map(ToString::to_string).collect();
        progress(Progress::StepsImpossible { missing });
    }
    // Also where no step can run: the node then says so in each pod, and a run fails with the reason.
    tasks.work("node", node.run(tasks.worker_token()));
    parts::engine(build_plane.client("buildplane:engine", &[])?, tasks);
    let secrets = build_plane.client("buildplane:secret-sync", &[])?;
    tasks.run("secret sync", secret_sync::run(secrets, tasks.token()));
    parts::controllers(&pki, control_plane.client("buildplane:controllers", &[])?, &endpoints, tasks)?;
    let policy = AgentPolicy::start(on_build_plane.client.clone(), layout).await?;
    parts::agent(
        build_plane.config("buildplane:agent", &[])?,
        &endpoints,
        &gateway_ca,
        policy.path().to_owned(),
        tasks,
    )?;
    tasks.run("agent policy", policy.keep(tasks.token()));

    let registered = async {
        let ca = ready::agent_ca(&on_build_plane).await?;
        seed::default_plane(&on_control_plane, &ca).await?;
        progress(Progress::PlaneRegistered);
        ready::plane(&on_control_plane).await
    };
    tokio::select! {
        done = registered => match done {
            // What is wrong is mended through the APIs, so they stay up.
            Err(error @ Error::NotReady { .. }) => progress(Progress::StepsImpossible { missing: vec![error.to_string(), MEND.to_owned()] }),
            done => done?,
        },
        error = tasks.failed() => return Err(error),
    }
    Ok(endpoints)
}

fn write_client_files(
    layout: &Layout,
    endpoints: &Endpoints,
    pki: &Pki,
    credentials: &Credentials,
) -> Result<(), Error> {
    const ADMINISTRATOR: (&str, &[&str]) = ("buildplane:administrator", &["system:masters"]);
    let (name, groups) = ADMINISTRATOR;
    let on_control_plane = pki.control_plane.client(name, groups)?;
    let on_build_plane = pki.build_plane.client(name, groups)?;
    kubeconfig::write(
        layout,
        &kubeconfig::Contents {
            endpoints,
            control_plane_ca: &pki.control_plane.ca(),
            build_plane_ca: &pki.build_plane.ca(),
            control_plane_user: User {
                certificate: on_control_plane.cert_pem(),
                key: on_control_plane.key_pem(),
            },
            build_plane_user: User { certificate: on_build_plane.cert_pem(), key: on_build_plane.key_pem() },
        },
    )?;
    GitCredentials::write(layout, endpoints, &credentials.git_writer, &pki.services.ca())
}
