//! Steps in bubblewrap sandboxes over the host's tools.

mod arguments;
mod launch;
mod namespace;
mod outputs;
mod root;
mod seccomp;
mod status;
mod supervise;
mod sweep;

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use rustix::process::{Resource, getrlimit};
use tokio::sync::{OnceCell, oneshot};

use self::namespace::{Namespace, PATH, Pool, Recipe, VOLUMES};
use self::supervise::Watch;
use crate::cgroup::Cgroups;
use crate::executor::{Executor, StartError, StepHandle, VolumeError};
use crate::kill::KillSwitch;
use crate::probe::{probe, subordinate_ids};
use crate::validate::validate;
use crate::{Missing, Outcome, SharedMount, StepSpec, VolumeId};

/// What an executor is told when it is made.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directory volumes live in. Its parent must be one that other users cannot enter.
    pub volumes: PathBuf,
    /// What every step sees of the host besides its root.
    pub shared: Vec<SharedMount>,
    /// How many processes and threads one step may have.
    pub processes: u32,
}

impl Config {
    /// The usual limits, for volumes in this directory.
    pub fn new(volumes: impl Into<PathBuf>) -> Self {
        Self { volumes: volumes.into(), shared: Vec::new(), processes: 4096 }
    }
}

/// Runs steps in bubblewrap sandboxes; see the crate's documentation for what holds in them.
#[derive(Debug)]
pub struct Bubblewrap {
    config: Config,
    inner: OnceCell<Arc<Ready>>,
}

/// What there is once the machine has been found able.
#[derive(Debug)]
struct Ready {
    pool: Pool,
    /// Where volumes are made and removed. No step runs in it.
    keeper: OnceCell<Namespace>,
    cgroups: Cgroups,
}

/// Numbers the control groups of this process.
static STEPS: AtomicU64 = AtomicU64::new(0);

impl Bubblewrap {
    /// Prepares the directory of volumes. Nothing is started before the first step. Fails where other users can enter
    /// the directory above it.
    pub fn new(config: Config) -> io::Result<Self> {
        // User 0 of the namespaces makes directories in it; the parent keeps everybody else out.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&config.volumes)?;
        let parent = config.volumes.parent().ok_or(io::ErrorKind::InvalidInput)?;
        if fs::metadata(parent)?.permissions().mode() & 0o077 != 0 {
            let problem = format!("other users can enter {}: its mode must be 0700", parent.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, problem));
        }
        fs::set_permissions(&config.volumes, fs::Permissions::from_mode(0o777))?;
        Ok(Self { config, inner: OnceCell::new() })
    }

    async fn ready(&self) -> Result<&Arc<Ready>, StartError> {
        self.inner
            .get_or_try_init(|| async {
                let config = self.config.clone();
                let ready = tokio::task::spawn_blocking(move || Ready::new(config)).await;
                ready.unwrap_or_else(|error| Err(StartError::Namespace(error.to_string()))).map(Arc::new)
            })
            .await
    }

    async fn start(&self, spec: StepSpec) -> Result<StepHandle, StartError> {
        validate(&spec).map_err(StartError::Invalid)?;
        let ready = Arc::clone(self.ready().await?);
        let namespace = ready.pool.take().await?;
        let switch = KillSwitch::new().map_err(system("make an event descriptor"))?;
        let switch = Arc::new(switch);
        let (started, on_start) = oneshot::channel();
        let (ended, outcome) = oneshot::channel();
        let step = Step { config: self.config.clone(), ready, namespace, spec, switch: Arc::clone(&switch) };
        std::thread::Builder::new()
            .name("step".to_owned())
            .spawn(move || step.run(started, ended))
            .map_err(system("start a thread"))?;
        let handle = StepHandle { switch, outcome };
        match on_start.await {
            Ok(result) => result.map(|()| handle),
            Err(_) => Err(StartError::Namespace("the thread that starts the step has gone".to_owned())),
        }
    }

    /// Runs a tool of the host as user 0 of the namespaces, on one volume.
    async fn keep(&self, action: &'static str, tool: &[&str], id: &VolumeId) -> Result<(), VolumeError> {
        let into_error = |error| VolumeError::Namespace(Box::new(error));
        let ready = self.ready().await.map_err(into_error)?;
        let keeper = ready.keeper.get_or_try_init(|| ready.pool.take()).await.map_err(into_error)?;
        let path = format!("{VOLUMES}/{id}");
        let arguments: Vec<String> = keeper
            .enter()
            .into_iter()
            .chain(tool.iter().map(|&argument| argument.to_owned()))
            .chain([path.clone()])
            .collect();
        let output = tokio::task::spawn_blocking(move || {
            let (program, arguments) = arguments.split_first().ok_or(io::ErrorKind::InvalidInput)?;
            Command::new(program)
                .args(arguments)
                .env_clear()
                .env("PATH", PATH)
                .current_dir("/")
                .stdin(Stdio::null())
                .output()
        })
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)));
        let output = output.map_err(|source| VolumeError::System { action, path: path.into(), source })?;
        if output.status.success() {
            return Ok(());
        }
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(VolumeError::Tool { action, id: id.clone(), message })
    }
}

impl Executor for Bubblewrap {
    fn start(&self, spec: StepSpec) -> BoxFuture<'_, Result<StepHandle, StartError>> {
        self.start(spec).boxed()
    }

    fn create_volume<'a>(&'a self, id: &'a VolumeId) -> BoxFuture<'a, Result<(), VolumeError>> {
        self.keep("make", &["mkdir", "-p", "-m", "0755", "--"], id).boxed()
    }

    fn remove_volume<'a>(&'a self, id: &'a VolumeId) -> BoxFuture<'a, Result<(), VolumeError>> {
        let exists = fs::symlink_metadata(self.config.volumes.join(id.as_str())).is_ok();
        if exists {
            self.keep("remove", &["rm", "-rf", "--one-file-system", "--"], id).boxed()
        } else {
            futures::future::ready(Ok(())).boxed()
        }
    }

    fn volumes(&self) -> Result<Vec<VolumeId>, VolumeError> {
        list(&self.config.volumes).map_err(|source| VolumeError::System {
            action: "list the volumes in",
            path: self.config.volumes.clone(),
            source,
        })
    }

    fn missing(&self) -> BoxFuture<'_, Vec<Missing>> {
        async {
            match self.ready().await {
                Ok(_) => Vec::new(),
                Err(StartError::Unable(missing)) => missing,
                Err(error) => vec![Missing {
                    what: error.to_string(),
                    remedy: "run on the host itself or in a virtual machine".to_owned(),
                }],
            }
        }
        .boxed()
    }
}

impl Ready {
    /// Judges the machine, the last time by making a namespace.
    fn new(config: Config) -> Result<Self, StartError> {
        let missing = probe();
        if !missing.is_empty() {
            return Err(StartError::Unable(missing));
        }
        let ids = subordinate_ids().map_err(|missing| StartError::Unable(vec![missing]))?;
        sweep::sweep(ids.first_uid);
        let limit = getrlimit(Resource::Nproc).maximum.and_then(|limit| u32::try_from(limit).ok());
        let processes = config.processes.min(limit.unwrap_or(u32::MAX));
        let recipe = Recipe { ids, volumes: config.volumes, shared: config.shared, processes };
        let keeper = OnceCell::new_with(Some(Namespace::make(&recipe)?));
        let pool = Pool::start(Arc::new(recipe)).map_err(system("start a thread"))?;
        Ok(Self { pool, keeper, cgroups: Cgroups::detect() })
    }
}

/// A step on its way to its thread.
struct Step {
    config: Config,
    ready: Arc<Ready>,
    namespace: Namespace,
    spec: StepSpec,
    switch: Arc<KillSwitch>,
}

impl Step {
    /// Starts it and watches it. The kernel ties the sandbox to this thread: it ends when the thread does.
    fn run(self, started: oneshot::Sender<Result<(), StartError>>, ended: oneshot::Sender<Outcome>) {
        let name = format!("{}-{}", std::process::id(), STEPS.fetch_add(1, Ordering::Relaxed));
        let cgroup = self.ready.cgroups.make(&name, self.spec.limits.memory, self.config.processes);
        let cgroup = match cgroup {
            Ok(cgroup) => cgroup,
            Err(source) => {
                let _ = started.send(Err(StartError::System { action: "make a control group", source }));
                return;
            }
        };
        let launched = launch::launch(&self.spec, &self.namespace, &self.config.shared, cgroup.as_ref());
        let launched = match launched {
            Ok(launched) => launched,
            Err(source) => {
                if let Some(cgroup) = cgroup {
                    cgroup.remove();
                }
                let _ = started.send(Err(StartError::System { action: "start the sandbox", source }));
                return;
            }
        };
        let _ = started.send(Ok(()));
        let StepSpec { log, outputs, limits, .. } = self.spec;
        let watch = Watch {
            log,
            wanted: outputs,
            limits,
            switch: &self.switch,
            cgroup,
            volumes: &self.config.volumes,
        };
        // Nobody may be waiting any more; the step has been killed then.
        let _ = ended.send(watch.run(launched));
    }
}

fn system(action: &'static str) -> impl FnOnce(io::Error) -> StartError {
    move |source| StartError::System { action, source }
}

fn list(directory: &Path) -> io::Result<Vec<VolumeId>> {
    let mut volumes = Vec::new();
    for entry in fs::read_dir(directory)? {
        if let Some(Ok(id)) = entry?.file_name().to_str().map(str::parse) {
            volumes.push(id);
        }
    }
    Ok(volumes)
}
