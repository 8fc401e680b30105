//! A world of one workflow: an API that does what the core asks, pods that do what a script says, and a clock.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use buildplane_argo::{Workflow, labels};
use buildplane_engine::core::limits::Limits;
use buildplane_engine::core::observed::{Observed, PodView, Reference};
use buildplane_engine::core::outcome::{Actions, Effect, Outcome};
use buildplane_engine::core::step;
use jiff::{Timestamp, ToSpan};
use serde::Deserialize;
use serde_json::{Value, json};

/// A script.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Script {
    /// The workflow.
    pub workflow: Value,
    /// Template objects that exist.
    #[serde(default)]
    pub templates: Vec<Value>,
    /// What happens, in order.
    #[serde(default)]
    pub events: Vec<Event>,
}

/// Something that happens.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Event {
    /// Seconds since the beginning.
    pub at: i64,
    /// The node, by display name, whose pod it happens to.
    pub pod: Option<String>,
    /// The pod's new phase.
    pub phase: Option<String>,
    /// The exit code of its container.
    pub exit: Option<i32>,
    /// The pod's reason and message.
    pub reason: Option<String>,
    /// The pod's message.
    pub message: Option<String>,
    /// The files it hands back.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Whether somebody removes the pod.
    #[serde(default)]
    pub removed: bool,
    /// Fields of the workflow's spec that somebody sets.
    #[serde(default)]
    pub spec: BTreeMap<String, Value>,
    /// A template object that somebody replaces.
    pub template: Option<Value>,
}

/// Where the engine dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// After this many effects and writes of the whole run.
    After(usize),
    Never,
}

/// The world.
pub(crate) struct World {
    pub workflow: Value,
    pub templates: BTreeMap<Reference, Arc<Value>>,
    pub pods: BTreeMap<String, Value>,
    pub claims: BTreeMap<String, Value>,
    pub refused: BTreeMap<String, String>,
    pub now: Timestamp,
    pub log: String,
    /// How often each pod was created.
    pub created: BTreeMap<String, usize>,
    pub limits: Limits,
    pub deleted: bool,
    crash: Crash,
    done: usize,
}

struct Died;

impl World {
    pub(crate) fn new(script: &Script, crash: Crash) -> Self {
        let mut workflow = script.workflow.clone();
        let metadata = workflow["metadata"].as_object_mut().expect("a workflow has metadata");
        for (field, value) in [
            ("namespace", "ci"),
            ("uid", "uid-1"),
            ("creationTimestamp", "2026-01-01T00:00:00Z"),
            ("resourceVersion", "1"),
        ] {
            metadata.entry(field).or_insert_with(|| value.into());
        }
        let templates = script.templates.iter().map(reference).collect();
        Self {
            workflow,
            templates,
            pods: BTreeMap::new(),
            claims: BTreeMap::new(),
            refused: BTreeMap::new(),
            now: start(),
            log: String::new(),
            created: BTreeMap::new(),
            limits: Limits::default(),
            deleted: false,
            crash,
            done: 0,
        }
    }

    /// Lets a script happen and the engine follow it to its end.
    pub(crate) fn play(script: &Script, crash: Crash) -> Self {
        let mut world = Self::new(script, crash);
        world.settle();
        for event in &script.events {
            world.happen(event);
            world.settle();
        }
        world
    }

    /// Calls the core until it has nothing to do, through every crash.
    pub(crate) fn settle(&mut self) {
        for _ in 0..50 {
            match self.turn() {
                Ok(false) => return,
                Ok(true) => {}
                Err(Died) => self.note("-- the engine dies and starts anew"),
            }
        }
        unreachable!("the core never comes to rest:\n{}", self.log);
    }

    fn observe(&self) -> Observed {
        let workflow: Workflow =
            serde_json::from_value(self.workflow.clone()).expect("metadata stays well formed");
        let mut observed = Observed::new(Arc::new(workflow));
        observed.refused = self.refused.clone();
        observed.pods =
            self.pods.iter().map(|(name, pod)| (name.clone(), Arc::new(PodView::read(pod)))).collect();
        observed
    }

    /// One observation and what follows from it; whether anything did.
    fn turn(&mut self) -> Result<bool, Died> {
        if self.deleted {
            return Ok(false);
        }
        let mut observed = self.observe();
        let actions = loop {
            let outcome = step(&observed, &self.limits, self.now);
            assert_eq!(outcome, step(&observed, &self.limits, self.now), "the core is a function");
            match outcome {
                Outcome::Act(actions) => break *actions,
                Outcome::Look(references) => {
                    assert!(!references.is_empty());
                    for reference in references {
                        match self.templates.get(&reference) {
                            Some(spec) => {
                                assert!(observed.templates.insert(reference, spec.clone()).is_none());
                            }
                            None => assert!(observed.absent.insert(reference)),
                        }
                    }
                }
            }
        };
        self.act(actions)
    }

    fn act(&mut self, actions: Actions) -> Result<bool, Died> {
        let is_idle = actions.is_idle();
        if let (true, Some(at)) = (is_idle, actions.wake_at) {
            assert!(at > self.now, "waking in the past is a busy loop");
            self.note(&format!("   wakes at +{}s", at.as_second() - start().as_second()));
        }
        let writes =
            actions.status.is_some() || !actions.labels.is_empty() || !actions.annotations.is_empty();
        for effect in actions.before {
            self.apply(effect)?;
        }
        if writes {
            self.alive()?;
            self.write(actions.status, &actions.labels, &actions.annotations);
        }
        for effect in actions.after {
            self.apply(effect)?;
        }
        Ok(!is_idle)
    }

    fn alive(&mut self) -> Result<(), Died> {
        self.done += 1;
        if self.crash == Crash::After(self.done) { Err(Died) } else { Ok(()) }
    }

    fn apply(&mut self, effect: Effect) -> Result<(), Died> {
        self.alive()?;
        match effect {
            Effect::CreatePod(pod) => {
                let name = name(&pod);
                if !self.pods.contains_key(&name) {
                    *self.created.entry(name.clone()).or_default() += 1;
                    self.note(&format!("   create pod {name}\n{}", indent(&brief_pod(&pod))));
                    self.pods.insert(name, pod);
                }
            }
            Effect::CreateClaim(claim) => {
                let name = name(&claim);
                if !self.claims.contains_key(&name) {
                    self.note(&format!("   create claim {name} {}", claim["spec"]));
                    self.claims.insert(name, claim);
                }
            }
            Effect::DeletePod(name) => {
                if self.pods.remove(&name).is_some() {
                    self.note(&format!("   delete pod {name}"));
                }
            }
            Effect::DeleteClaim(name) => {
                if self.claims.remove(&name).is_some() {
                    self.note(&format!("   delete claim {name}"));
                }
            }
            Effect::DeleteWorkflow => {
                self.deleted = true;
                self.note("   delete the workflow");
            }
        }
        Ok(())
    }

    fn write(
        &mut self,
        status: Option<Value>,
        new_labels: &BTreeMap<String, String>,
        annotations: &BTreeMap<String, String>,
    ) {
        for (field, entries) in [("labels", new_labels), ("annotations", annotations)] {
            for (key, value) in entries {
                self.workflow["metadata"][field][key] = value.clone().into();
            }
        }
        if let Some(status) = status {
            self.workflow["status"] = status;
            let brief = brief_status(&self.workflow["status"]);
            self.note(&format!("   status\n{}", indent(&brief)));
        }
    }

    /// The name of the pod of the node with this display name.
    pub(crate) fn pod_name(&self, display: &str) -> Option<String> {
        self.pods
            .iter()
            .find(|(_, pod)| {
                let node = pod["metadata"]["annotations"][labels::NODE_NAME].as_str().unwrap_or_default();
                node == display || node.ends_with(&format!(".{display}"))
            })
            .map(|(name, _)| name.clone())
    }

    fn happen(&mut self, event: &Event) {
        self.now = start().checked_add(event.at.seconds()).expect("scripts are short");
        let mut line = format!("+{}s", event.at);
        if let Some(display) = &event.pod {
            let found = self.pod_name(display);
            let name = found.unwrap_or_else(|| unreachable!("no pod for {display}:\n{}", self.log));
            let what = if event.removed { "removed" } else { event.phase.as_deref().unwrap_or("unchanged") };
            write!(line, " {display} {what}").expect("writing to a string");
            if event.removed {
                self.pods.remove(&name);
            } else {
                let now = self.now.to_string();
                let pod = self.pods.get_mut(&name).expect("it was found");
                pod["status"] = pod_status(event, &now);
                pod["spec"]["nodeName"] = "local".into();
                pod["metadata"]["annotations"][labels::COLLECTED_FILES] =
                    json!(event.files).to_string().into();
            }
        }
        for (field, value) in &event.spec {
            write!(line, " spec.{field}={value}").expect("writing to a string");
            self.workflow["spec"][field] = value.clone();
        }
        if let Some(template) = &event.template {
            let (reference, spec) = reference(template);
            write!(line, " edit {reference:?}").expect("writing to a string");
            self.templates.insert(reference, spec);
        }
        self.note(&line);
    }

    fn note(&mut self, line: &str) {
        self.log.push_str(line);
        self.log.push('\n');
    }
}

fn pod_status(event: &Event, now: &str) -> Value {
    let mut status =
        json!({"phase": event.phase, "startTime": now, "reason": event.reason, "message": event.message});
    let code = match (event.exit, event.phase.as_deref()) {
        (Some(code), _) => Some(code),
        (None, Some("Succeeded")) => Some(0),
        (None, _) => None,
    };
    if let Some(code) = code {
        let reason = if code == 0 { "Completed" } else { "Error" };
        status["containerStatuses"] = json!([{"name": "main", "state": {"terminated": {
            "exitCode": code, "reason": reason, "finishedAt": now,
        }}}]);
    }
    status
}

fn reference(object: &Value) -> (Reference, Arc<Value>) {
    let name = name(object);
    let reference = match object["kind"].as_str() {
        Some("WorkflowTemplate") => Reference::Template(name),
        _ => Reference::ClusterTemplate(name),
    };
    (reference, Arc::new(object["spec"].clone()))
}

fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().expect("a time")
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().expect("objects have names").to_owned()
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("      {line}")).collect::<Vec<_>>().join("\n")
}

fn brief_pod(pod: &Value) -> String {
    let container = &pod["spec"]["containers"][0];
    let mut text = String::new();
    for field in ["image", "command", "args", "env", "volumeMounts"] {
        if !container[field].is_null() {
            writeln!(text, "{field}: {}", container[field]).expect("writing to a string");
        }
    }
    if !pod["spec"]["volumes"].is_null() {
        writeln!(text, "volumes: {}", pod["spec"]["volumes"]).expect("writing to a string");
    }
    if let Some(files) = pod["metadata"]["annotations"][labels::COLLECT_FILES].as_str() {
        writeln!(text, "collect: {files}").expect("writing to a string");
    }
    text
}

fn brief_status(status: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let mut brief = format!("{} {}", text(&status["phase"]), text(&status["progress"]));
    if let Some(message) = status["message"].as_str() {
        write!(brief, " ({message})").expect("writing to a string");
    }
    let mut nodes: Vec<&Value> =
        status["nodes"].as_object().into_iter().flatten().map(|(_, node)| node).collect();
    nodes.sort_by_key(|node| node["name"].as_str());
    for node in nodes {
        write!(brief, "\n{} {} {}", text(&node["name"]), text(&node["type"]), text(&node["phase"]))
            .expect("writing to a string");
        if let Some(message) = node["message"].as_str() {
            write!(brief, " ({message})").expect("writing to a string");
        }
        for parameter in node["outputs"]["parameters"].as_array().into_iter().flatten() {
            write!(brief, " {}={}", text(&parameter["name"]), parameter["value"])
                .expect("writing to a string");
        }
    }
    brief
}
