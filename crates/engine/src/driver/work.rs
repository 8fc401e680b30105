//! Work on one workflow: find out what the core wants to know, do what it says, write the status.

use std::collections::BTreeMap;
use std::sync::Arc;

use buildplane_argo::Workflow;
use futures::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;

use crate::core::limits::Limits;
use crate::core::observed::{Observed, PodView};
use crate::core::outcome::{Actions, Effect, Outcome};
use crate::core::{postpone, step};
use crate::driver::api::{Created, Found, RequestError, Requests, Written};
use crate::driver::cache::Key;

/// How often the core may ask within one work. Each round tells it something new, so this is never reached unless
/// something is wrong.
const MAX_ROUNDS: usize = 100;

/// A piece of work.
pub(crate) struct Work {
    pub(crate) key: Key,
    pub(crate) observed: Observed,
    pub(crate) requests: Requests,
    pub(crate) concurrency: usize,
    pub(crate) limits: Limits,
    /// Why the workflow may not begin yet.
    pub(crate) postpone: Option<String>,
}

/// What came of it.
pub(crate) struct Report {
    pub(crate) key: Key,
    /// The workflow as written, or as somebody else has written it.
    pub(crate) workflow: Option<Arc<Workflow>>,
    /// Pods that were created or found.
    pub(crate) pods: Vec<Arc<PodView>>,
    pub(crate) next: Next,
}

/// What to do with the workflow next.
pub(crate) enum Next {
    /// Nothing until something happens, or until then.
    Rest(Option<Timestamp>),
    /// Work on it again at once.
    Again,
    /// It waits for room.
    Wait,
    /// It is gone.
    Gone,
    /// Try again after a pause.
    Retry(RequestError),
}

impl Work {
    /// Works on the workflow once.
    pub(crate) async fn run(mut self) -> Report {
        let mut report =
            Report { key: self.key.clone(), workflow: None, pods: Vec::new(), next: Next::Again };
        report.next = match self.rounds(&mut report).await {
            Ok(next) => next,
            Err(error) => Next::Retry(error),
        };
        report
    }

    async fn rounds(&mut self, report: &mut Report) -> Result<Next, RequestError> {
        for _ in 0..MAX_ROUNDS {
            let outcome = match &self.postpone {
                Some(reason) => postpone(&self.observed, reason),
                None => step(&self.observed, &self.limits, Timestamp::now()),
            };
            match outcome {
                Outcome::Look(references) => {
                    let found: Vec<_> = stream::iter(references)
                        .map(|reference| {
                            let (requests, namespace) = (self.requests.clone(), self.key.namespace.clone());
                            async move {
                                let found = requests.look(&namespace, &reference).await?;
                                Ok::<_, RequestError>((reference, found))
                            }
                        })
                        .buffered(self.concurrency)
                        .try_collect()
                        .await?;
                    for (reference, found) in found {
                        match found {
                            Some(Found::Pod(pod)) => {
                                report.pods.push(pod.clone());
                                self.observed.pods.insert(pod.name.clone(), pod);
                            }
                            Some(Found::Template(spec)) => {
                                self.observed.templates.insert(reference, spec);
                            }
                            None => {
                                self.observed.absent.insert(reference);
                            }
                        }
                    }
                }
                Outcome::Act(actions) => {
                    if let Some(next) = self.act(*actions, report).await? {
                        return Ok(next);
                    }
                }
            }
        }
        Err(RequestError::Circle)
    }

    /// Does what the core says; answers nothing if that brought up something the core has to be told first.
    async fn act(&mut self, actions: Actions, report: &mut Report) -> Result<Option<Next>, RequestError> {
        let Actions { before, status, labels, annotations, after, wake_at } = actions;
        if !self.before(before, report).await? {
            return Ok(None);
        }
        let is_write = status.is_some() || !labels.is_empty() || !annotations.is_empty();
        let is_resting = !is_write && after.is_empty();
        let mut current = self.observed.workflow.clone();
        if is_write {
            let mut workflow = Workflow::clone(&current);
            if let Some(status) = status {
                workflow.raw_status = status;
            }
            extend(&mut workflow.metadata.labels, labels);
            extend(&mut workflow.metadata.annotations, annotations);
            match self.requests.write(&workflow).await? {
                Written::Done(written) => current = Arc::new(*written),
                // An API that calls the newest version stale would have us ask for ever.
                Written::Stale(theirs) if is_same_version(&theirs, &workflow) => {
                    return Err(RequestError::Circle);
                }
                Written::Stale(theirs) => {
                    report.workflow = Some(Arc::new(*theirs));
                    return Ok(Some(Next::Again));
                }
                Written::Gone => return Ok(Some(Next::Gone)),
            }
            report.workflow = Some(current.clone());
        }
        for effect in after {
            match effect {
                Effect::DeletePod(name) => {
                    if let Some(pod) = self.observed.pods.get(&name) {
                        self.requests.delete_pod(&self.key.namespace, pod).await?;
                    }
                }
                Effect::DeleteClaim(name) => self.requests.delete_claim(&current, &name).await?,
                Effect::DeleteWorkflow => {
                    self.requests.delete_workflow(&current).await?;
                    return Ok(Some(Next::Rest(None)));
                }
                Effect::CreateClaim(_) | Effect::CreatePod(_) => {}
            }
        }
        if self.postpone.is_some() {
            return Ok(Some(Next::Wait));
        }
        // A write is worth a second look: what follows from it, such as the end of the claims, is asked for then.
        let is_over = current.raw_status["finishedAt"].is_string();
        Ok(Some(if is_resting || !is_over { Next::Rest(wake_at) } else { Next::Again }))
    }

    /// Does what comes before the status; answers whether all of it went as the core expected.
    async fn before(&mut self, effects: Vec<Effect>, report: &mut Report) -> Result<bool, RequestError> {
        let mut pods = Vec::new();
        let mut is_expected = true;
        for effect in effects {
            match effect {
                Effect::CreatePod(pod) => pods.push(pod),
                Effect::CreateClaim(claim) => {
                    let refused = self.requests.create_claim(&self.observed.workflow, &claim).await?;
                    if let Some((name, reason)) = refused {
                        self.observed.refused.insert(name, reason);
                        is_expected = false;
                    }
                }
                Effect::DeleteClaim(name) => {
                    self.requests.delete_claim(&self.observed.workflow, &name).await?;
                }
                Effect::DeletePod(_) | Effect::DeleteWorkflow => {}
            }
        }
        if !is_expected {
            return Ok(false);
        }
        let namespace = self.key.namespace.clone();
        let requests = self.requests.clone();
        let mut created = stream::iter(pods)
            .map(|pod| {
                let (requests, namespace) = (requests.clone(), namespace.clone());
                async move {
                    let created = requests.create_pod(&namespace, &pod).await;
                    (pod["metadata"]["name"].as_str().unwrap_or_default().to_owned(), created)
                }
            })
            .buffered(self.concurrency);
        let mut failure = None;
        while let Some((name, created)) = created.next().await {
            match created {
                Ok(Created::Exists(pod)) => {
                    let pod = Arc::from(pod);
                    is_expected &= is_fresh(&pod, &self.observed.workflow);
                    report.pods.push(Arc::clone(&pod));
                    self.observed.pods.insert(name, pod);
                }
                Ok(Created::Refused(reason)) => {
                    self.observed.refused.insert(name, reason);
                    is_expected = false;
                }
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) => Err(error),
            None => Ok(is_expected),
        }
    }
}

fn is_same_version(one: &Workflow, other: &Workflow) -> bool {
    one.metadata.uid == other.metadata.uid && one.metadata.resource_version == other.metadata.resource_version
}

/// Whether a pod is this workflow's and has not moved on since its creation.
fn is_fresh(pod: &PodView, workflow: &Workflow) -> bool {
    pod.owner == workflow.metadata.uid && matches!(pod.phase.as_deref(), None | Some("Pending"))
}

fn extend(entries: &mut Option<BTreeMap<String, String>>, more: BTreeMap<String, String>) {
    if !more.is_empty() {
        entries.get_or_insert_default().extend(more);
    }
}
