//! Step one: a local platform on free ports.

use std::path::{Path, PathBuf};

use buildplane_platform::{Error, Layout, Options, Platform, Ports, Progress};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::narrator::Narrator;
use super::{Demo, NAMESPACE};
use crate::commands::up::explain;
use crate::connection::{Connection, ConnectionArgs, DataDirArgs, contexts};
use crate::failure::{Explain as _, Failure, Result};
use crate::output::note;
use crate::output::terminal::seconds;

fn data_dir(scratch: &Path) -> PathBuf {
    scratch.join("data")
}

/// The platform in a task of its own.
pub(super) struct RunningPlatform {
    stop: CancellationToken,
    task: JoinSet<Result<(), Error>>,
}

impl RunningPlatform {
    /// Stops every part and waits for it.
    pub(super) async fn stop(mut self) -> Result<()> {
        self.stop.cancel();
        match self.task.join_next().await {
            Some(Ok(Ok(()))) | None => Ok(()),
            Some(Ok(Err(error))) => Err(explain(error)),
            Some(Err(error)) => Err(Failure::from(error).context("the platform broke down")),
        }
    }
}

pub(super) async fn start(narrator: &mut Narrator, scratch: &Path) -> Result<RunningPlatform> {
    crate::logging::start("error,kube_client=off", "buildplane");
    narrator
        .part("Start a local platform: control plane, gateway, build plane with its agent, registry, git")?;
    let options = Options { data_dir: data_dir(scratch), ports: Ports::Auto };
    let progress = |progress: Progress| {
        if let Progress::StepsImpossible { missing } = progress {
            note("no build step can run on this machine:");
            for one in missing {
                note(format_args!("  {one}"));
            }
        }
    };
    let platform = Box::pin(Platform::start(options, progress)).await.map_err(explain)?;
    let endpoints = platform.endpoints();
    narrator.say(&format!(
        "ready after {}: control plane {}, build plane {}, gateway {}, registry {}",
        seconds(platform.ready_after()),
        endpoints.control_plane,
        endpoints.build_plane,
        endpoints.gateway,
        endpoints.registry,
    ))?;
    let stop = CancellationToken::new();
    let mut task = JoinSet::new();
    task.spawn(platform.run_until(stop.clone().cancelled_owned()));
    Ok(RunningPlatform { stop, task })
}

/// Clients for the platform's two APIs, from its kubeconfig.
pub(super) async fn connect(narrator: Narrator, scratch: &Path) -> Result<Demo> {
    let data_dir = data_dir(scratch);
    let layout = Layout::new(&data_dir);
    let connection = Connection::open(&ConnectionArgs {
        kubeconfig: Some(layout.kubeconfig()),
        context: Some(contexts::CONTROL_PLANE.to_owned()),
        namespace: Some(NAMESPACE.to_owned()),
        data_dir: DataDirArgs { data_dir: Some(data_dir) },
    })
    .await?;
    let build_plane = connection.other_context(contexts::BUILD_PLANE).await?;
    let own = scratch.join("demo");
    std::fs::create_dir(&own).context("cannot make a temporary directory")?;
    Ok(Demo { narrator, scratch: own, connection, build_plane })
}

/// Removes the platform's data.
pub(super) async fn purge(scratch: &Path) -> Result<()> {
    buildplane_platform::purge(&data_dir(scratch)).await.map_err(explain)
}
