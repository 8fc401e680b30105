//! What is known of workflows and their pods.
//!
//! Watches, and answers to the engine's own writes, tell of the same objects. What a write answered is never replaced by
//! something older from a watch, which is what keeps the engine from acting on a status it has itself outdated.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use buildplane_argo::{Workflow, WorkflowPhase};
use kube::runtime::watcher::Event;

use crate::core::observed::{Observed, PodView};

/// Names a workflow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    fn of(workflow: &Workflow) -> Self {
        Self {
            namespace: workflow.metadata.namespace.clone().unwrap_or_default(),
            name: workflow.metadata.name.clone().unwrap_or_default(),
        }
    }
}

/// Everything the engine knows.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    workflows: HashMap<Key, Arc<Workflow>>,
    pods: HashMap<Key, BTreeMap<String, Arc<PodView>>>,
    /// Workflows that have begun and are not over.
    active: HashSet<Key>,
    /// What an ongoing list has brought so far.
    listed_workflows: Option<HashSet<Key>>,
    listed_pods: Option<HashSet<(Key, String)>>,
    has_workflows: bool,
    has_pods: bool,
    /// The uids of workflows and pods that were removed while the workflow is worked on.
    removed: HashMap<Key, BTreeSet<String>>,
}

impl Cache {
    /// Whether both lists have come in once.
    pub(crate) fn is_complete(&self) -> bool {
        self.has_workflows && self.has_pods
    }

    /// How many workflows are under way.
    pub(crate) fn active(&self) -> usize {
        self.active.len()
    }

    pub(crate) fn is_active(&self, key: &Key) -> bool {
        self.active.contains(key)
    }

    /// Counts a workflow as under way from now on.
    pub(crate) fn admit(&mut self, key: &Key) {
        self.active.insert(key.clone());
    }

    /// What is known of a workflow at the beginning of work on it, and whether it has not begun yet.
    pub(crate) fn observe(&mut self, key: &Key) -> Option<(Observed, bool)> {
        let workflow = self.workflows.get(key)?.clone();
        self.removed.insert(key.clone(), BTreeSet::new());
        let is_new = !self.active.contains(key) && !is_over(&workflow);
        let mut observed = Observed::new(workflow);
        observed.pods = self.pods.get(key).cloned().unwrap_or_default();
        Some((observed, is_new))
    }

    /// Work on a workflow is over.
    pub(crate) fn end_work(&mut self, key: &Key) {
        self.removed.remove(key);
    }

    /// Takes in an event of the watch of workflows; answers which workflows changed.
    pub(crate) fn apply_workflow(&mut self, event: Event<Workflow>) -> Vec<Key> {
        match event {
            Event::Apply(workflow) => self.put_workflow(Arc::new(workflow)).into_iter().collect(),
            Event::Delete(workflow) => {
                let key = Key::of(&workflow);
                let is_same =
                    self.workflows.get(&key).is_some_and(|known| known.metadata.uid == workflow.metadata.uid);
                if is_same {
                    self.bury(&key);
                }
                vec![key]
            }
            Event::Init => {
                self.listed_workflows = Some(HashSet::new());
                Vec::new()
            }
            Event::InitApply(workflow) => {
                if let Some(listed) = &mut self.listed_workflows {
                    listed.insert(Key::of(&workflow));
                }
                self.put_workflow(Arc::new(workflow)).into_iter().collect()
            }
            Event::InitDone => {
                self.has_workflows = true;
                let listed = self.listed_workflows.take().unwrap_or_default();
                let gone: Vec<Key> =
                    self.workflows.keys().filter(|key| !listed.contains(key)).cloned().collect();
                for key in &gone {
                    self.bury(key);
                }
                gone
            }
        }
    }

    /// Takes in an event of the watch of pods; answers which workflows are concerned.
    pub(crate) fn apply_pod(&mut self, event: Event<(Key, PodView)>) -> Vec<Key> {
        match event {
            Event::Apply((key, pod)) => self.update_pod(key, pod).into_iter().collect(),
            Event::Delete((key, pod)) => {
                self.drop_pod(&key, &pod.name);
                vec![key]
            }
            Event::Init => {
                self.listed_pods = Some(HashSet::new());
                Vec::new()
            }
            Event::InitApply((key, pod)) => {
                if let Some(listed) = &mut self.listed_pods {
                    listed.insert((key.clone(), pod.name.clone()));
                }
                self.update_pod(key, pod).into_iter().collect()
            }
            Event::InitDone => {
                self.has_pods = true;
                let listed = self.listed_pods.take().unwrap_or_default();
                let mut gone: Vec<(Key, String)> = Vec::new();
                for (key, pods) in &self.pods {
                    let names = pods.keys().map(|name| (key.clone(), name.clone()));
                    gone.extend(names.filter(|pod| !listed.contains(pod)));
                }
                for (key, name) in &gone {
                    self.drop_pod(key, name);
                }
                gone.into_iter().map(|(key, _)| key).collect()
            }
        }
    }

    /// Takes in a workflow unless something newer is known; answers its key if that changed anything.
    pub(crate) fn put_workflow(&mut self, workflow: Arc<Workflow>) -> Option<Key> {
        let key = Key::of(&workflow);
        if let Some(known) = self.workflows.get(&key)
            && known.metadata.uid == workflow.metadata.uid
            && let (Some(known), Some(new)) = (version(known), version(&workflow))
            && new <= known
        {
            return None;
        }
        match phase(&workflow) {
            Some(phase) if phase.is_completed() => self.active.remove(&key),
            Some(WorkflowPhase::Running) => self.active.insert(key.clone()),
            Some(_) | None => false,
        };
        self.workflows.insert(key.clone(), workflow);
        Some(key)
    }

    /// Takes in a workflow that a request answered, unless the watch knows that it is gone.
    pub(crate) fn put_answer(&mut self, key: &Key, workflow: Arc<Workflow>) {
        let uid = workflow.metadata.uid.as_deref().unwrap_or_default();
        if !self.removed.get(key).is_some_and(|removed| removed.contains(uid)) {
            self.put_workflow(workflow);
        }
    }

    /// Takes in a pod that a request answered, unless the watch knows better.
    pub(crate) fn put_pod(&mut self, key: &Key, pod: Arc<PodView>) {
        let is_removed = self.removed.get(key).is_some_and(|removed| removed.contains(&pod.uid));
        if !is_removed {
            self.pods.entry(key.clone()).or_default().entry(pod.name.clone()).or_insert(pod);
        }
    }

    /// Forgets a workflow. Its pods are forgotten as they go.
    pub(crate) fn forget(&mut self, key: &Key) {
        self.workflows.remove(key);
        self.active.remove(key);
    }

    /// Forgets a workflow that the watch says is gone.
    fn bury(&mut self, key: &Key) {
        let uid = self.workflows.get(key).and_then(|workflow| workflow.metadata.uid.clone());
        if let (Some(uid), Some(removed)) = (uid, self.removed.get_mut(key)) {
            removed.insert(uid);
        }
        self.forget(key);
    }

    fn update_pod(&mut self, key: Key, pod: PodView) -> Option<Key> {
        let pods = self.pods.entry(key.clone()).or_default();
        if pods.get(&pod.name).is_some_and(|known| **known == pod) {
            return None;
        }
        pods.insert(pod.name.clone(), Arc::new(pod));
        Some(key)
    }

    fn drop_pod(&mut self, key: &Key, name: &str) {
        let Some(pods) = self.pods.get_mut(key) else { return };
        if let (Some(pod), Some(removed)) = (pods.remove(name), self.removed.get_mut(key)) {
            removed.insert(pod.uid.clone());
        }
        if pods.is_empty() {
            self.pods.remove(key);
        }
    }
}

fn is_over(workflow: &Workflow) -> bool {
    phase(workflow).is_some_and(|phase| phase.is_completed())
}

fn phase(workflow: &Workflow) -> Option<WorkflowPhase> {
    let phase = workflow.raw_status["phase"].as_str().filter(|phase| !phase.is_empty())?;
    Some(WorkflowPhase::from(phase.to_owned()))
}

/// Versions of one object grow; those of an API where they are no numbers are not compared.
fn version(workflow: &Workflow) -> Option<u64> {
    workflow.metadata.resource_version.as_deref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workflow(uid: &str, version: u64, phase: &str) -> Workflow {
        serde_json::from_value(json!({
            "metadata": {"namespace": "ci", "name": "wf", "uid": uid, "resourceVersion": version.to_string()},
            "status": {"phase": phase},
        }))
        .expect("a workflow")
    }

    fn key() -> Key {
        Key { namespace: "ci".to_owned(), name: "wf".to_owned() }
    }

    fn pod(uid: &str, phase: &str) -> PodView {
        let (name, phase) = ("p".to_owned(), Some(phase.to_owned()));
        PodView { name, uid: uid.to_owned(), phase, ..PodView::default() }
    }

    fn known_phase(cache: &mut Cache) -> Option<String> {
        let (observed, _) = cache.observe(&key())?;
        observed.workflow.raw_status["phase"].as_str().map(str::to_owned)
    }

    #[test]
    fn an_older_workflow_never_replaces_a_newer_one() {
        let mut cache = Cache::default();
        cache.put_workflow(Arc::new(workflow("u", 10, "Running")));
        assert_eq!(cache.apply_workflow(Event::Apply(workflow("u", 9, ""))), []);
        assert_eq!(cache.apply_workflow(Event::Apply(workflow("u", 10, "Running"))), []);
        assert_eq!(known_phase(&mut cache).as_deref(), Some("Running"));
        cache.apply_workflow(Event::Apply(workflow("other", 3, "Failed")));
        assert_eq!(known_phase(&mut cache).as_deref(), Some("Failed"));
        assert_eq!(cache.active(), 0);
    }

    #[test]
    fn what_a_new_list_no_longer_has_is_gone() {
        let mut cache = Cache::default();
        cache.apply_workflow(Event::Apply(workflow("u", 10, "Running")));
        cache.apply_workflow(Event::Init);
        assert_eq!(cache.apply_workflow(Event::InitDone), [key()]);
        assert_eq!(known_phase(&mut cache), None);
    }

    #[test]
    fn a_workflow_removed_while_worked_on_does_not_come_back_with_the_report() {
        let mut cache = Cache::default();
        cache.put_workflow(Arc::new(workflow("u", 10, "Running")));
        cache.observe(&key());
        cache.apply_workflow(Event::Delete(workflow("u", 12, "Running")));
        cache.put_answer(&key(), Arc::new(workflow("u", 11, "Running")));
        assert_eq!(known_phase(&mut cache), None);
        cache.apply_workflow(Event::Apply(workflow("new", 13, "")));
        assert_eq!(known_phase(&mut cache).as_deref(), Some(""));
    }

    #[test]
    fn a_pod_removed_while_worked_on_does_not_come_back_with_the_report() {
        let mut cache = Cache::default();
        cache.put_workflow(Arc::new(workflow("u", 10, "Running")));
        cache.observe(&key());
        cache.apply_pod(Event::Apply((key(), pod("p1", "Running"))));
        cache.put_pod(&key(), Arc::new(pod("p1", "Pending")));
        let phase = |cache: &mut Cache| cache.pods.get(&key()).map(|pods| pods["p"].phase.clone());
        assert_eq!(phase(&mut cache), Some(Some("Running".to_owned())), "the watch knows better");
        cache.apply_pod(Event::Delete((key(), pod("p1", "Running"))));
        cache.put_pod(&key(), Arc::new(pod("p1", "Pending")));
        assert_eq!(phase(&mut cache), None);
    }
}
