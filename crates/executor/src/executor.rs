//! What every executor offers.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use futures::future::BoxFuture;
use tokio::sync::oneshot;

use crate::kill::KillSwitch;
use crate::{InvalidStep, Missing, StepSpec, Truncation, VolumeId};

/// Runs steps, and keeps the directories they share.
///
/// Guarantees: when [`StepHandle::wait`] has answered, no process of the step is left. All processes of all steps die
/// with this process, also when it is killed.
pub trait Executor: Send + Sync + 'static {
    /// Starts a step.
    fn start(&self, spec: StepSpec) -> BoxFuture<'_, Result<StepHandle, StartError>>;

    /// Makes an empty volume; one that exists already is left as it is.
    fn create_volume<'a>(&'a self, id: &'a VolumeId) -> BoxFuture<'a, Result<(), VolumeError>>;

    /// Removes a volume and everything in it; it need not exist. No step may be using it.
    fn remove_volume<'a>(&'a self, id: &'a VolumeId) -> BoxFuture<'a, Result<(), VolumeError>>;

    /// The volumes that exist.
    fn volumes(&self) -> Result<Vec<VolumeId>, VolumeError>;

    /// What this machine lacks for running steps; empty when nothing.
    fn missing(&self) -> BoxFuture<'_, Vec<Missing>>;
}

/// A running step. Dropping it kills the step.
#[derive(Debug)]
pub struct StepHandle {
    pub(crate) switch: Arc<KillSwitch>,
    pub(crate) outcome: oneshot::Receiver<Outcome>,
}

impl StepHandle {
    /// Something that kills the step, for another task.
    pub fn killer(&self) -> Killer {
        Killer { switch: Arc::clone(&self.switch) }
    }

    /// Waits for the end. Cancel safe; dropping the handle instead kills the step.
    pub async fn wait(&mut self) -> Outcome {
        match (&mut self.outcome).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::lost("the thread that watched the step has gone"),
        }
    }
}

impl Drop for StepHandle {
    fn drop(&mut self) {
        self.switch.kill();
    }
}

/// Kills a step.
#[derive(Clone, Debug)]
pub struct Killer {
    switch: Arc<KillSwitch>,
}

impl Killer {
    /// Kills every process of the step. Returns at once; [`StepHandle::wait`] answers when they are gone.
    pub fn kill(&self) {
        self.switch.kill();
    }
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Why.
    pub end: End,
    /// When its program was started.
    pub started_at: SystemTime,
    /// When its last process was gone.
    pub finished_at: SystemTime,
    /// The outputs that existed, by name.
    pub outputs: BTreeMap<String, Vec<u8>>,
    /// Why its log is not whole, if it is not.
    pub log_truncation: Option<Truncation>,
}

impl Outcome {
    pub(crate) fn lost(message: &str) -> Self {
        let now = SystemTime::now();
        Self {
            end: End::Failed(message.to_owned()),
            started_at: now,
            finished_at: now,
            outputs: BTreeMap::new(),
            log_truncation: None,
        }
    }
}

/// Why a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Its program ended with this status; 128 + n when signal n ended it.
    Exited(i32),
    /// It ran longer than it may.
    TimedOut,
    /// It was killed on request.
    Killed,
    /// It used more memory than it may.
    OutOfMemory,
    /// The disk ran out of room.
    DiskFull,
    /// The sandbox could not be set up; the program was never started.
    Failed(String),
}

/// Why a step could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The step asks for something no step may have.
    #[error("the step is not acceptable")]
    Invalid(#[source] InvalidStep),
    /// The machine cannot run steps.
    #[error("this machine cannot run steps: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Unable(Vec<Missing>),
    /// A namespace for the step could not be made.
    #[error("failed to make a namespace for the step: {0}")]
    Namespace(String),
    /// The system refused something the sandbox needs.
    #[error("failed to {action}")]
    System {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a volume could not be made, listed or removed.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The machine cannot make the namespace volumes live in.
    #[error("failed to enter the volumes' namespace")]
    Namespace(#[source] Box<StartError>),
    /// The system refused.
    #[error("failed to {action} {}", path.display())]
    System {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The tool that works inside the namespace failed.
    #[error("failed to {action} volume {id}: {message}")]
    Tool {
        /// What was tried.
        action: &'static str,
        /// Which volume.
        id: VolumeId,
        /// What the tool said.
        message: String,
    },
}
