//! One Pod, from its plan to its end.
//!
//! ```text
//! plan ─▶ resolve (waits for what it names) ─▶ place (waits for others) ─▶ claim ─▶ step ─▶ files ─▶ status
//!   └─────────── refused ───────────┘                                       └ lost: somebody changed it; left alone
//! ```

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use buildplane_executor::{
    End, Executor, InvalidStep, Limits, LogWriter, Mount, Outcome, StartError, StepHandle, StepSpec,
    VolumeError,
};
use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::Config;
use crate::api::PodRef;
use crate::logs::{LogOptions, Logs, Tail};
use crate::plan::{Plan, plan};
use crate::refusal::Refusal;
use crate::resolve::{ResolveError, Resolved, resolve};
use crate::status::{self, KilledBy};
use crate::volumes::{InUse, Volumes};

/// How long a Pod waits for a Secret, ConfigMap or claim it names.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long the last writes may take once the node is to stop.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// What all Pods of a node share.
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) config: Config,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) volumes: Volumes,
    pub(crate) logs: Logs,
    pub(crate) places: Semaphore,
    pub(crate) shutdown: CancellationToken,
    /// Cancelled some time after `shutdown`.
    pub(crate) give_up: CancellationToken,
}

impl Shared {
    /// Cancels `give_up` in time.
    pub(crate) async fn watch_shutdown(&self) {
        self.shutdown.cancelled().await;
        sleep(LAST_WRITES).await;
        self.give_up.cancel();
    }
}

/// Runs a Pod. `stop` is cancelled when the Pod is deleted or the node stops.
pub(crate) async fn run_pod(shared: &Shared, pod: Pod, stop: &CancellationToken) {
    let Some(reference) = PodRef::of(&pod) else { return };
    let run = Run { shared, reference: &reference, stop };
    if let Err(refusal) = run.run(&pod).await {
        info!(namespace = reference.namespace, pod = reference.name, reason = refusal.reason(), %refusal, "refused");
        reference.write_status(&shared.client, &status::refused(&refusal), &shared.give_up).await;
    }
}

/// Ends a Pod that a former life of this node had claimed.
pub(crate) async fn interrupt(shared: &Shared, pod: &Pod) {
    let Some(reference) = PodRef::of(pod) else { return };
    let container = pod.spec.as_ref().and_then(|spec| spec.containers.first());
    let name = container.map(|container| container.name.as_str()).unwrap_or_default();
    let image = container.and_then(|container| container.image.as_deref()).unwrap_or_default();
    let started = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    let started = serde_json::to_value(started).unwrap_or_default();
    let status = status::interrupted(&reference.uid, name, image, &started, SystemTime::now());
    let version = pod.metadata.resource_version.as_deref();
    info!(namespace = reference.namespace, pod = reference.name, "interrupted by a restart");
    if let Err(error) = reference.claim(&shared.client, version, &status).await {
        warn!(namespace = reference.namespace, pod = reference.name, %error, "failed to end an interrupted pod");
        reference.write_status(&shared.client, &status, &shared.give_up).await;
    }
}

struct Run<'a> {
    shared: &'a Shared,
    reference: &'a PodRef,
    stop: &'a CancellationToken,
}

impl Run<'_> {
    async fn run(&self, pod: &Pod) -> Result<(), Refusal> {
        let plan = plan(pod, &self.shared.config)?;
        let Some(resolved) = self.resolve(&plan).await? else { return Ok(()) };
        let Some(_place) = self.place().await else { return Ok(()) };
        let in_use = self.take_volumes(&resolved.mounts).await?;
        let result = self.claim_and_run(&plan, resolved).await;
        drop(in_use);
        for id in plan.scratch() {
            if let Err(error) = self.shared.volumes.remove(id).await {
                warn!(%id, %error, "left a volume behind");
            }
        }
        result
    }

    /// Waits until everything the Pod names is there. `None` when it is to stop meanwhile.
    async fn resolve(&self, plan: &Plan) -> Result<Option<Resolved>, Refusal> {
        let deadline = Instant::now() + PATIENCE;
        let mut said = None;
        let mut pause = Duration::from_millis(50);
        loop {
            match resolve(&self.shared.client, &self.reference.namespace, plan).await {
                Ok(resolved) => return Ok(Some(resolved)),
                Err(ResolveError::Absent(refusal)) if Instant::now() >= deadline => return Err(refusal),
                Err(ResolveError::Absent(refusal)) => {
                    // What comes within the first moment is not worth a word.
                    if pause > Duration::from_millis(400) && said.as_ref() != Some(&refusal) {
                        self.say(&status::waiting(&refusal)).await;
                        said = Some(refusal);
                    }
                }
                Err(ResolveError::Api(error)) => {
                    warn!(namespace = self.reference.namespace, pod = self.reference.name, %error, "failed to read what a pod names");
                }
            }
            tokio::select! {
                () = sleep(pause) => pause = (pause * 2).min(Duration::from_secs(2)),
                () = self.stop.cancelled() => return Ok(None),
            }
        }
    }

    /// Waits for a place. `None` when the Pod is to stop meanwhile.
    async fn place(&self) -> Option<SemaphorePermit<'_>> {
        if let Ok(place) = self.shared.places.try_acquire() {
            return Some(place);
        }
        self.say(&status::queued(self.shared.config.max_parallel)).await;
        tokio::select! {
            place = self.shared.places.acquire() => place.ok(),
            () = self.stop.cancelled() => None,
        }
    }

    async fn take_volumes(&self, mounts: &[Mount]) -> Result<Vec<InUse>, Refusal> {
        let mut in_use = Vec::new();
        for mount in mounts {
            if let Mount::Volume { id, .. } = mount {
                in_use.push(self.shared.volumes.take(id).await.map_err(|error| volume_refusal(&error))?);
            }
        }
        Ok(in_use)
    }

    async fn claim_and_run(&self, plan: &Plan, resolved: Resolved) -> Result<(), Refusal> {
        let uid = &self.reference.uid;
        let log =
            self.shared.logs.create(uid, self.shared.config.log_limit).map_err(|error| Refusal::Sandbox {
                problem: format!("its log cannot be written: {error}"),
            })?;
        if !self.claim(plan).await {
            self.shared.logs.ended(uid);
            return Ok(());
        }
        let spec = self.spec(plan, resolved, log);
        let result = match self.shared.executor.start(spec).await {
            Ok(handle) => {
                self.watch(plan, handle).await;
                Ok(())
            }
            Err(error) => Err(start_refusal(&error)),
        };
        self.shared.logs.ended(uid);
        result
    }

    /// Marks the Pod as running, durably, before anything of it runs. `false` when it has changed or gone.
    async fn claim(&self, plan: &Plan) -> bool {
        let client = &self.shared.client;
        let mut pause = Duration::from_millis(50);
        while !self.stop.is_cancelled() {
            let claimed = async {
                let Some(pod) = self.reference.read(client).await? else { return Ok(Some(false)) };
                if !may_start(&pod) {
                    return Ok(Some(false));
                }
                let status = status::running(&self.reference.uid, plan, SystemTime::now());
                let version = pod.metadata.resource_version.as_deref();
                let claimed = self.reference.claim(client, version, &status).await?;
                // Somebody labelled it, say: look again.
                Ok(claimed.then_some(true))
            };
            match claimed.await {
                Ok(Some(claimed)) => return claimed,
                Ok(None) => {}
                Err(error) => {
                    let _: &kube::Error = &error;
                    warn!(namespace = self.reference.namespace, pod = self.reference.name, %error, "failed to claim a pod");
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
        false
    }

    fn spec(&self, plan: &Plan, resolved: Resolved, log: LogWriter) -> StepSpec {
        StepSpec {
            name: plan.host_name.clone(),
            command: resolved.command,
            environment: resolved.environment,
            working_directory: resolved.working_directory,
            mounts: resolved.mounts,
            capabilities: plan.capabilities.clone(),
            limits: Limits {
                duration: plan.duration,
                memory: plan.memory,
                min_free: self.shared.config.min_free_bytes,
                ..Limits::default()
            },
            hosts: plan.hosts.clone(),
            outputs: plan.outputs.clone(),
            log,
        }
    }

    async fn watch(&self, plan: &Plan, mut handle: StepHandle) {
        let killer = handle.killer();
        let outcome = tokio::select! {
            outcome = handle.wait() => Some(outcome),
            () = self.stop.cancelled() => None,
        };
        let outcome = if let Some(outcome) = outcome {
            outcome
        } else {
            killer.kill();
            handle.wait().await
        };
        self.report(plan, &outcome).await;
    }

    async fn report(&self, plan: &Plan, outcome: &Outcome) {
        let Shared { client, give_up, shutdown, .. } = self.shared;
        let by = if shutdown.is_cancelled() { KilledBy::Shutdown } else { KilledBy::Deletion };
        let failed = outcome.end != End::Exited(0);
        let tail = if plan.message_from_log && failed { self.log_tail().await } else { None };
        if !outcome.outputs.is_empty() {
            self.reference.write_files(client, &outcome.outputs, give_up).await;
        }
        let status = status::ended(&self.reference.uid, plan, outcome, by, tail);
        self.reference.write_status(client, &status, give_up).await;
    }

    async fn log_tail(&self) -> Option<String> {
        let options = LogOptions { tail_lines: Some(Tail::LINES), ..LogOptions::default() };
        let log = self.shared.logs.open(&self.reference.uid, options).await.ok()?;
        let end = log
            .try_fold(Vec::new(), |mut end: Vec<u8>, bytes| async move {
                end.extend_from_slice(&bytes);
                let excess = end.len().saturating_sub(Tail::BYTES);
                end.drain(..excess);
                Ok(end)
            })
            .await
            .ok()?;
        Some(String::from_utf8_lossy(&end).into_owned()).filter(|text| !text.is_empty())
    }

    /// Writes a status that may as well be missed.
    async fn say(&self, status: &serde_json::Value) {
        if let Err(error) = self.reference.claim(&self.shared.client, None, status).await {
            warn!(namespace = self.reference.namespace, pod = self.reference.name, %error, "failed to say why a pod waits");
        }
    }
}

/// Nobody has started it, and nobody wants it gone.
fn may_start(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, None | Some("" | "Pending")) && pod.metadata.deletion_timestamp.is_none()
}

fn start_refusal(error: &StartError) -> Refusal {
    match error {
        StartError::Invalid(invalid) => step_refusal(invalid),
        StartError::Unable(_) | StartError::Namespace(_) | StartError::System { .. } => {
            Refusal::Sandbox { problem: with_sources(error) }
        }
    }
}

fn step_refusal(invalid: &InvalidStep) -> Refusal {
    Refusal::Step { problem: invalid.to_string() }
}

fn volume_refusal(error: &VolumeError) -> Refusal {
    match error {
        VolumeError::Namespace(start) => start_refusal(start),
        VolumeError::System { .. } | VolumeError::Tool { .. } => {
            Refusal::Sandbox { problem: with_sources(error) }
        }
    }
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
