//! A run as it goes on: its tasks from the control plane, its logs from the build plane through the gateway.
//!
//! ```text
//!  watch of the WorkflowRun ──▶ ┐
//!                               ├─▶ View (prints) ──▶ the run at its end
//!  pods ──▶ one log a pod ────▶ ┘
//! ```

mod blocked;
mod cursor;
mod lines;
mod pods;
mod view;

use std::pin::pin;
use std::time::Duration;

use buildplane_api::WorkflowRun;
use buildplane_api::run::RunPhase;
use futures::StreamExt as _;
use kube::runtime::watcher::watch_object;
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) use blocked::BlockedArgs;
pub(crate) use pods::{LogOptions, read_log};
pub(crate) use view::{View, ViewOptions, failure_reason};

use blocked::Blocked;

use crate::connection::Connection;
use crate::exit::ExitStatus;
use crate::failure::{Failure, Result, chain_of};
use crate::output::terminal::FRAME;
use crate::runs;
use crate::signals::Interrupts;

/// Log lines that wait for the terminal; a slow reader slows the logs down, nothing is dropped.
const LOG_BACKLOG: usize = 1024;
/// How long the control plane may be silent about errors before the user hears of them.
const PATIENCE: Duration = Duration::from_secs(2);

/// What Ctrl-C means while a run is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnInterrupt {
    /// The run goes on without us.
    Leave,
    /// The run is asked to end; a second Ctrl-C leaves it.
    Cancel,
}

/// How a run is followed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Following {
    pub(crate) on_interrupt: OnInterrupt,
    /// How long a run may stay blocked; `None` is for ever.
    pub(crate) blocked: Option<Duration>,
}

/// How a followed run ended for us.
pub(crate) enum Ending {
    /// It reached its end.
    Final { run: Box<WorkflowRun>, interrupted: bool },
    /// The user left.
    Left,
}

/// Follows a run to its end and prints what happens.
pub(crate) async fn follow(
    connection: &Connection,
    name: &str,
    view: &mut View,
    following: Following,
    interrupts: &mut Interrupts,
) -> Result<Ending> {
    let runs: Api<WorkflowRun> = Api::namespaced(connection.client.clone(), &connection.namespace);
    let mut changes = pin!(watch_object(runs.clone(), name));
    let (sender, mut log) = mpsc::channel(LOG_BACKLOG);
    let mut sender = Some(sender);
    let over = CancellationToken::new();
    // Dropping it ends the log streams when we leave early.
    let mut followers = JoinSet::new();
    // Apart from the loop, which goes on listening to signals while a control plane does not answer.
    let mut canceling = JoinSet::new();
    let mut blocked = Blocked::new(following.blocked);
    let mut ticks = tokio::time::interval(FRAME);
    let mut last: Option<WorkflowRun> = None;
    let mut interrupted = false;
    let mut seen = false;
    let mut trouble = Trouble::default();
    loop {
        tokio::select! {
            change = changes.next(), if !over.is_cancelled() => match change {
                Some(Ok(Some(run))) => {
                    seen = true;
                    trouble = Trouble::default();
                    blocked.run(&run, tokio::time::Instant::now());
                    view.run(&run)?;
                    if let Some(mut source) = sender.as_ref().and_then(|_| log_source(&run)) {
                        source.task = view.only_task();
                        match (plane_client(connection, &run).await, sender.take()) {
                            (Ok(client), Some(sender)) => {
                                followers.spawn(pods::follow(client, source, sender, over.clone()));
                            }
                            (Err(failure), _) => view.note(&format!("no logs: {failure}"))?,
                            (Ok(_), None) => {}
                        }
                    }
                    if runs::phase(&run).is_some_and(RunPhase::is_final) {
                        over.cancel();
                        // A run that never got as far has no logs to wait for.
                        sender = None;
                    }
                    last = Some(run);
                }
                Some(Ok(None)) if seen => {
                    return Err(Failure::new(format!("run {name} was deleted")).exit(ExitStatus::NotFound));
                }
                Some(Ok(None)) => {}
                Some(Err(error)) => {
                    if let Some(message) = trouble.worth_telling(&error) {
                        view.note(&message)?;
                    }
                    tokio::time::sleep(FRAME).await;
                }
                None => return Err(Failure::new("the watch of the run ended")),
            },
            event = log.recv() => match event {
                Some(event) => view.log(event)?,
                None if over.is_cancelled() => break,
                // Without logs the tasks are still worth watching.
                None => over_or_tick(&over, &mut ticks, view).await?,
            },
            _ = ticks.tick() => view.tick()?,
            failure = blocked.too_long(name) => {
                view.leave()?;
                return Err(failure);
            }
            Some(Ok(Err(failure))) = canceling.join_next() => view.note(&Failure::to_string(&failure))?,
            () = interrupts.next() => match following.on_interrupt {
                OnInterrupt::Cancel if !interrupted => {
                    interrupted = true;
                    view.note("canceling the run; Ctrl-C again leaves it to itself")?;
                    let (runs, name) = (runs.clone(), name.to_owned());
                    canceling.spawn(async move { runs::cancel(&runs, &name).await });
                }
                OnInterrupt::Cancel | OnInterrupt::Leave => {
                    view.leave()?;
                    return Ok(Ending::Left);
                }
            },
        }
    }
    view.finish()?;
    let run = last.ok_or_else(|| Failure::new(format!("run {name} ended before it was seen")))?;
    Ok(Ending::Final { run: Box::new(run), interrupted })
}

async fn over_or_tick(
    over: &CancellationToken,
    ticks: &mut tokio::time::Interval,
    view: &mut View,
) -> Result<()> {
    tokio::select! {
        () = over.cancelled() => {}
        _ = ticks.tick() => view.tick()?,
    }
    Ok(())
}

/// Errors of a watch are repeated for as long as they last; only lasting ones are told, once.
#[derive(Default)]
struct Trouble {
    since: Option<std::time::Instant>,
    told: bool,
}

impl Trouble {
    fn worth_telling(&mut self, error: &kube::runtime::watcher::Error) -> Option<String> {
        let since = *self.since.get_or_insert_with(std::time::Instant::now);
        if self.told || since.elapsed() < PATIENCE {
            return None;
        }
        self.told = true;
        Some(format!("the control plane does not answer, trying on: {}", chain_of(error).join(": ")))
    }
}

/// Where a run's pods are, once the run has something on the build plane.
pub(crate) fn log_source(run: &WorkflowRun) -> Option<pods::Source> {
    let reference = run.status.as_ref()?.run_reference.as_ref()?;
    Some(pods::Source {
        namespace: reference.namespace.clone()?,
        workflow: reference.name.clone(),
        task: None,
    })
}

/// A client for the API of the plane that a run uses.
pub(crate) async fn plane_client(connection: &Connection, run: &WorkflowRun) -> Result<Client> {
    let plane = runs::plane(run)?;
    connection.plane(plane.as_ref().map(|(id, plane)| (id, plane))).await
}

/// The pods of a run as they are now, in the order they were made.
pub(crate) async fn pods_of(
    client: Client,
    source: &pods::Source,
) -> Result<Vec<k8s_openapi::api::core::v1::Pod>> {
    let api: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(client, &source.namespace);
    let mut found: Vec<_> = api.list(&source.list_params()).await?.items;
    found.retain(|pod| source.admits(pod));
    found.sort_by_key(|pod| {
        (pod.metadata.creation_timestamp.clone().map(|time| time.0), pod.metadata.name.clone())
    });
    Ok(found)
}
