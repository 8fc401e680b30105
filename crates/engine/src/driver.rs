//! The driver: everything about the engine that is not pure.
//!
//! One task owns what is known (`cache`) and decides what is worked on next (`queue`); it alone reads the watches. Work
//! on one workflow (`work`) is a task that gets a copy of what is known, talks to the API and hands back a report.
//! There is never more than one for the same workflow.
//!
//! ```text
//!   watch workflows ─┐                    ┌─▶ work: look, step, effects, status, effects ─┐
//!   watch pods ──────┼─▶ owner ── queue ──┤                                               │
//!   timers ──────────┘     ▲              └─▶ work …                                      │
//!                          └───────────────────────── report ◀───────────────────────────┘
//! ```

mod api;
mod cache;
mod queue;
mod work;

use std::collections::HashMap;
use std::time::Duration;

use buildplane_argo::{Workflow, labels};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::core::observed::PodView;
use crate::driver::api::Requests;
use crate::driver::cache::{Cache, Key};
use crate::driver::queue::Queue;
use crate::driver::work::{Next, Report, Work};

/// The engine cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A watch ended although nobody asked it to.
    #[error("the watch of {0} ended")]
    WatchEnded(&'static str),
}

/// Runs the workflows of one Kubernetes API.
pub struct Engine {
    client: Client,
    config: Config,
}

impl Engine {
    /// An engine that acts as this client.
    pub fn new(client: Client, config: Config) -> Self {
        Self { client, config }
    }

    /// Runs workflows until `shutdown`.
    ///
    /// # Guarantees
    /// No pod is created twice for one node, whenever this ends and however often it is started again: names are fixed,
    /// creation fails where there is something, and a pod is removed only after its end is written down.
    ///
    /// # Errors
    /// When a watch ends for good. API errors are retried.
    ///
    /// # Cancel safety
    /// May be dropped at any point; the next run takes up where this one was.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let mut workflows = watch_workflows(&self.client);
        let mut pods = watch_pods(&self.client);
        let mut owner = Owner::new(self.client, self.config);
        loop {
            owner.start_work();
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(ended) = owner.tasks.join_next_with_id() => owner.on_report(ended),
                event = workflows.next() => match event {
                    Some(Ok(event)) => owner.on_workflow(event),
                    Some(Err(error)) => tracing::warn!(error = &error as &dyn std::error::Error, "watch of workflows interrupted"),
                    None => return Err(Error::WatchEnded("workflows")),
                },
                event = pods.next() => match event {
                    Some(Ok(event)) => owner.on_pod(event),
                    Some(Err(error)) => tracing::warn!(error = &error as &dyn std::error::Error, "watch of pods interrupted"),
                    None => return Err(Error::WatchEnded("pods")),
                },
                () = tokio::time::sleep(owner.queue.next_wake(Timestamp::now())) => {
                    owner.queue.wake(Timestamp::now());
                }
            }
        }
        owner.drain().await;
        Ok(())
    }
}

fn watch_workflows(client: &Client) -> BoxStream<'static, Result<Event<Workflow>, watcher::Error>> {
    watcher(Api::<Workflow>::all(client.clone()), watcher::Config::default()).default_backoff().boxed()
}

/// Pods are read leniently and cut down to what the engine looks at as they come in.
fn watch_pods(client: &Client) -> BoxStream<'static, Result<Event<(Key, PodView)>, watcher::Error>> {
    let api = Api::<DynamicObject>::all_with(client.clone(), &ApiResource::erase::<Pod>(&()));
    watcher(api, watcher::Config::default().labels(labels::WORKFLOW))
        .default_backoff()
        .map_ok(|event| match event {
            Event::Apply(pod) => Event::Apply(api::view(&pod)),
            Event::Delete(pod) => Event::Delete(api::view(&pod)),
            Event::InitApply(pod) => Event::InitApply(api::view(&pod)),
            Event::Init => Event::Init,
            Event::InitDone => Event::InitDone,
        })
        .boxed()
}

/// The one task that knows and decides.
struct Owner {
    requests: Requests,
    config: Config,
    cache: Cache,
    queue: Queue,
    tasks: JoinSet<Report>,
    keys: HashMap<Id, Key>,
}

impl Owner {
    fn new(client: Client, config: Config) -> Self {
        Self {
            requests: Requests::new(client, config.request_timeout),
            queue: Queue::default(),
            cache: Cache::default(),
            tasks: JoinSet::new(),
            keys: HashMap::new(),
            config,
        }
    }

    fn on_workflow(&mut self, event: Event<Workflow>) {
        for key in self.cache.apply_workflow(event) {
            self.queue.push(key);
        }
    }

    fn on_pod(&mut self, event: Event<(Key, PodView)>) {
        for key in self.cache.apply_pod(event) {
            self.queue.push(key);
        }
    }

    /// Starts work on whatever is due. Nothing is judged before all workflows and pods are known.
    fn start_work(&mut self) {
        if !self.cache.is_complete() {
            return;
        }
        if let Some(limit) = self.config.active_workflows {
            self.queue.admit_waiting(limit.saturating_sub(self.cache.active()));
        }
        while self.tasks.len() < self.config.workers {
            let Some(key) = self.queue.pop() else { return };
            let Some((observed, is_new)) = self.cache.observe(&key) else {
                self.queue.forget(&key);
                continue;
            };
            let limit = self.config.active_workflows.filter(|_| is_new);
            let has_to_wait =
                limit.filter(|limit| !self.queue.may_begin(&key) || self.cache.active() >= *limit);
            let work = Work {
                key: key.clone(),
                observed,
                requests: self.requests.clone(),
                concurrency: self.config.requests.max(1),
                limits: self.config.limits.clone(),
                postpone: has_to_wait.map(|limit| {
                    format!("waiting: {limit} workflows are under way, which is all that may be")
                }),
            };
            if is_new && has_to_wait.is_none() {
                self.cache.admit(&key);
            }
            self.queue.started(&key);
            let id = self.tasks.spawn(work.run()).id();
            self.keys.insert(id, key);
        }
    }

    fn on_report(&mut self, ended: Result<(Id, Report), tokio::task::JoinError>) {
        let now = Timestamp::now();
        match ended {
            Ok((id, report)) => {
                self.keys.remove(&id);
                self.take_up(report, now);
            }
            Err(error) => {
                let Some(key) = self.keys.remove(&error.id()) else { return };
                tracing::error!(
                    namespace = key.namespace,
                    workflow = key.name,
                    error = &error as &dyn std::error::Error,
                    "work on a workflow broke off: this is a bug"
                );
                self.queue.ended(&key);
                self.queue.retry(&key, now);
            }
        }
    }

    fn take_up(&mut self, report: Report, now: Timestamp) {
        let Report { key, workflow, pods, next } = report;
        self.queue.ended(&key);
        if let Some(workflow) = workflow {
            self.cache.put_answer(&key, workflow);
        }
        for pod in pods {
            self.cache.put_pod(&key, pod);
        }
        self.cache.end_work(&key);
        match next {
            Next::Rest(wake) => {
                self.queue.succeeded(&key);
                let resync = self.cache.is_active(&key).then(|| now + self.config.resync);
                if let Some(at) = [wake, resync].into_iter().flatten().min() {
                    self.queue.wake_at(&key, at);
                }
            }
            Next::Again => self.queue.push(key.clone()),
            Next::Wait => self.queue.wait(&key),
            Next::Gone => {
                self.cache.forget(&key);
                self.queue.forget(&key);
            }
            Next::Retry(error) => {
                tracing::warn!(
                    namespace = key.namespace,
                    workflow = key.name,
                    error = &error as &dyn std::error::Error,
                    "work on a workflow failed, will try again"
                );
                self.queue.retry(&key, now);
            }
        }
    }

    /// Lets work under way come to its end, for as long as the grace allows.
    async fn drain(mut self) {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(self.config.grace.max(Duration::from_millis(1)), all).await.is_err() {
            self.tasks.shutdown().await;
        }
    }
}
