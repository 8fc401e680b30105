//! The pods of a run and their logs.

use std::collections::HashSet;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, LogParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::cursor::{Cursor, split_timestamp};
use super::lines::Lines;
use crate::failure::chain_of;

/// The container that does a step's work.
const CONTAINER: &str = "main";
const WORKFLOW_LABEL: &str = "workflows.argoproj.io/workflow";
const NODE_NAME: &str = "workflows.argoproj.io/node-name";
/// How long the logs may lag behind the end of the run.
const DRAIN: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(200);
/// Failures in a row, without a line between them, after which a log is given up.
const ATTEMPTS: u32 = 25;

/// Which pods are meant.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Their namespace on the build plane.
    pub(crate) namespace: String,
    /// The Argo Workflow that they belong to.
    pub(crate) workflow: String,
    /// Only this task.
    pub(crate) task: Option<String>,
}

impl Source {
    fn selector(&self) -> String {
        format!("{WORKFLOW_LABEL}={}", self.workflow)
    }

    pub(crate) fn list_params(&self) -> ListParams {
        ListParams::default().labels(&self.selector())
    }

    pub(crate) fn admits(&self, pod: &Pod) -> bool {
        self.task.as_deref().is_none_or(|task| task == task_of(pod))
    }
}

/// How a log is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LogOptions {
    /// Go on until the container ends.
    pub(crate) follow: bool,
    /// Only so many lines from the end, at first.
    pub(crate) tail: Option<i64>,
}

/// What happens to a pod's log.
#[derive(Debug)]
pub(crate) enum PodLog {
    /// The log of a task begins.
    Begin { task: String },
    /// A line.
    Line { task: String, at: Option<Timestamp>, text: Vec<u8> },
    /// The log of a task has been read to its end.
    End { task: String },
    /// Something that the reader should know.
    Note(String),
}

type Sender = mpsc::Sender<PodLog>;

/// The name of the step that a pod runs: the last part of its node's name, `run[1].build-image`.
pub(crate) fn task_of(pod: &Pod) -> &str {
    let annotations = pod.metadata.annotations.as_ref();
    let node = annotations.and_then(|annotations| annotations.get(NODE_NAME)).map(String::as_str);
    match node {
        Some(node) => node.rsplit('.').next().unwrap_or(node),
        None => pod.metadata.name.as_deref().unwrap_or("pod"),
    }
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

fn has_ended(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Follows the logs of every pod of a run until `over`, then reads what is left of them.
pub(super) async fn follow(client: Client, source: Source, sender: Sender, over: CancellationToken) {
    let api: Api<Pod> = Api::namespaced(client, &source.namespace);
    let mut known = HashSet::new();
    let mut logs = JoinSet::new();
    let mut begin = |pod: &Pod, logs: &mut JoinSet<()>| {
        let is_new = phase(pod) != "Pending" && source.admits(pod) && known.insert(pod.metadata.uid.clone());
        if is_new {
            logs.spawn(read_log(
                api.clone(),
                pod.clone(),
                LogOptions { follow: true, tail: None },
                sender.clone(),
            ));
        }
    };
    let config = watcher::Config::default().labels(&source.selector());
    let mut changes = pin!(watcher(api.clone(), config).default_backoff());
    let mut told = false;
    loop {
        tokio::select! {
            () = over.cancelled() => break,
            change = changes.next() => match change {
                Some(Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod))) => begin(&pod, &mut logs),
                                Some(Err(error)) if !told => {
                    told = true;
                    let message = format!("logs are interrupted: {}", chain_of(&error).join(": "));
                    if sender.send(PodLog::Note(message)).await.is_err() {
                        return;
                    }
                }
                // Only what begins matters, and trouble is told once.
                Some(Err(_) | Ok(watcher::Event::Delete(_) | watcher::Event::Init | watcher::Event::InitDone)) => {}
                None => break,
            },
            Some(_) = logs.join_next() => {}
        }
    }
    // The watch may be behind: what the run left is listed once more.
    let deadline = Instant::now() + DRAIN;
    if let Ok(Ok(pods)) = timeout_at(deadline, api.list(&source.list_params())).await {
        for pod in &pods {
            begin(pod, &mut logs);
        }
    }
    let drained = timeout_at(deadline, async { while logs.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        // Nobody is listening any more if this fails.
        let _ = sender.send(PodLog::Note("gave up waiting for the rest of the logs".to_owned())).await;
    }
}

/// Reads one pod's log to its end, over as many connections as that takes.
pub(crate) async fn read_log(api: Api<Pod>, pod: Pod, options: LogOptions, sender: Sender) {
    let task = task_of(&pod).to_owned();
    let Some(name) = pod.metadata.name.as_deref() else { return };
    if sender.send(PodLog::Begin { task: task.clone() }).await.is_err() {
        return;
    }
    let mut cursor = Cursor::default();
    let mut failures = 0;
    loop {
        let since_time = cursor.resume();
        let parameters = LogParams {
            container: Some(CONTAINER.to_owned()),
            follow: options.follow,
            timestamps: true,
            tail_lines: options.tail.filter(|_| since_time.is_none()),
            since_time,
            ..LogParams::default()
        };
        let read = read_once(&api, name, &task, &parameters, &mut cursor, &sender).await;
        if cursor.moved() {
            failures = 0;
        }
        match read {
            Read::ReaderGone => return,
            Read::Gone => break,
            Read::End => {
                // As far as one can tell that is all; the pod's status follows the end of its log.
                if sender.send(PodLog::End { task: task.clone() }).await.is_err() || !options.follow {
                    return;
                }
                if timeout(DRAIN, ended(&api, name)).await.unwrap_or(false) {
                    return;
                }
            }
            Read::Failed(message) => {
                failures += 1;
                if !options.follow || failures == ATTEMPTS {
                    let message = format!("the log of {task} is incomplete: {message}");
                    // Nobody is listening any more if this fails.
                    let _ = sender.send(PodLog::Note(message)).await;
                    break;
                }
            }
        }
        sleep(RETRY).await;
    }
    let _ = sender.send(PodLog::End { task }).await;
}

async fn ended(api: &Api<Pod>, name: &str) -> bool {
    match api.get_opt(name).await {
        Ok(Some(pod)) => has_ended(&pod),
        Ok(None) => true,
        Err(_) => false,
    }
}

enum Read {
    /// The stream came to its end.
    End,
    /// The pod is no more.
    Gone,
    /// The connection could not be made, or broke.
    Failed(String),
    /// Nobody wants the lines any more.
    ReaderGone,
}

async fn read_once(
    api: &Api<Pod>,
    name: &str,
    task: &str,
    parameters: &LogParams,
    cursor: &mut Cursor,
    sender: &Sender,
) -> Read {
    let stream = match api.log_stream(name, parameters).await {
        Ok(stream) => stream,
        Err(kube::Error::Api(status)) if status.code == 404 => return Read::Gone,
        Err(error) => return Read::Failed(chain_of(&error).join(": ")),
    };
    let mut lines = Lines::new(Box::pin(stream));
    // The pieces of a long line share the fate of its beginning.
    let mut wanted = true;
    let mut at = None;
    loop {
        let line = match lines.next().await {
            Ok(Some(line)) => line,
            Ok(None) => return Read::End,
            Err(error) => return Read::Failed(chain_of(&error).join(": ")),
        };
        let text = match split_timestamp(&line.bytes).filter(|_| !line.continues) {
            Some((time, text)) => {
                wanted = cursor.admit(time);
                at = Some(time);
                text.to_vec()
            }
            None => line.bytes,
        };
        if wanted && sender.send(PodLog::Line { task: task.to_owned(), at, text }).await.is_err() {
            return Read::ReaderGone;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_named_after_its_step() {
        let pod = |annotation: Option<&str>| Pod {
            metadata: kube::api::ObjectMeta {
                name: Some("run-x-build-image-123".to_owned()),
                annotations: annotation.map(|node| [(NODE_NAME.to_owned(), node.to_owned())].into()),
                ..kube::api::ObjectMeta::default()
            },
            ..Pod::default()
        };
        assert_eq!(task_of(&pod(Some("run-x[1].build-image"))), "build-image");
        assert_eq!(task_of(&pod(None)), "run-x-build-image-123");
    }
}
