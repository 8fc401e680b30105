//! Carrying one node forward.
//!
//! Every step of the core walks the tree of nodes from the root again. What is over is skipped, what runs is compared
//! with its pod, what may start is started. The walk depends on nothing but the status and what is observed, which is
//! why it can be cut off anywhere and repeated.

use std::collections::BTreeSet;
use std::sync::Arc;

use buildplane_argo::names::pod_name;
use buildplane_argo::status::NodeFlag;
use buildplane_argo::template::{Parameter, Template};
use buildplane_argo::{NodePhase, NodeType, WorkflowSpec};
use jiff::{Timestamp, ToSpan};
use serde_json::Value;

use crate::core::arguments;
use crate::core::limits::Limits;
use crate::core::nodes::{NewNode, NodeError, Nodes};
use crate::core::observed::{Observed, PodView, Reference};
use crate::core::outcome::Effect;
use crate::core::resolve::{Call, Origin, ResolveError, Resolver};
use crate::core::substitute::Scope;
use crate::core::{observe, pod, retry, volumes};

/// The workflow as a whole cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Halt {
    #[error("{0}")]
    Nodes(#[from] NodeError),
    #[error("templates call each other more than {0} deep: is there a circle without an end?")]
    Depth(usize),
    #[error("{0}")]
    Template(#[from] ResolveError),
}

/// What keeps new nodes from starting, and running ones from going on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Control {
    /// `Stop` or `Terminate`.
    pub(crate) shutdown: Option<String>,
    /// Whether the workflow's time is over.
    pub(crate) is_expired: bool,
    /// Whether nothing new may start.
    pub(crate) is_suspended: bool,
}

impl Control {
    /// Why a node has to end, if it has to.
    pub(crate) fn verdict(&self, part: Part) -> Option<String> {
        match (&self.shutdown, part) {
            (Some(strategy), Part::Main) => {
                return Some(format!("workflow shutdown with strategy: {strategy}"));
            }
            (Some(strategy), Part::ExitHandler) if strategy == "Terminate" => {
                return Some(format!("workflow shutdown with strategy: {strategy}"));
            }
            (Some(_), Part::ExitHandler) | (None, _) => {}
        }
        (self.is_expired && part == Part::Main).then(|| "Step exceeded its deadline".to_owned())
    }
}

/// Which part of a workflow a node belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Main,
    ExitHandler,
}

/// A node to be carried forward.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    pub(crate) name: String,
    pub(crate) call: Call,
    pub(crate) caller: Origin,
    pub(crate) boundary: Option<String>,
    pub(crate) arguments: Vec<Parameter>,
    pub(crate) depth: usize,
    pub(crate) part: Part,
    pub(crate) flag: Option<NodeFlag>,
}

impl Invocation {
    /// The node this invocation makes.
    pub(crate) fn node<'c>(
        &'c self,
        type_: NodeType,
        phase: NodePhase,
        inputs: &'c [Parameter],
    ) -> NewNode<'c> {
        NewNode {
            name: self.name.clone(),
            type_,
            phase,
            call: Some(&self.call),
            caller: &self.caller,
            boundary: self.boundary.as_deref(),
            inputs,
            flag: self.flag.clone(),
        }
    }
}

/// An invocation with its template and everything the template was given.
pub(crate) struct Frame<'s> {
    pub(crate) invocation: Invocation,
    pub(crate) template: Arc<Template>,
    pub(crate) origin: Origin,
    pub(crate) inputs: Vec<Parameter>,
    pub(crate) scope: Scope<'s>,
}

/// One walk.
pub(crate) struct Execution<'o> {
    pub(crate) observed: &'o Observed,
    pub(crate) spec: &'o WorkflowSpec,
    pub(crate) limits: &'o Limits,
    pub(crate) now: Timestamp,
    pub(crate) workflow: String,
    pub(crate) resolver: Resolver<'o>,
    pub(crate) nodes: Nodes,
    pub(crate) claims: Vec<Value>,
    pub(crate) control: Control,
    pub(crate) active_pods: usize,
    pub(crate) looks: BTreeSet<Reference>,
    pub(crate) before: Vec<Effect>,
    pub(crate) after: Vec<Effect>,
    pub(crate) wake_at: Option<Timestamp>,
    /// What the workflow waits for that is neither a node nor a pod of its own.
    pub(crate) waits_for: Option<String>,
}

impl Execution<'_> {
    /// Carries a node forward as far as it goes now. Afterwards the node exists, unless it may not start yet.
    pub(crate) fn execute(&mut self, invocation: Invocation, globals: &Scope<'_>) -> Result<(), Halt> {
        if self.nodes.is_fulfilled(&invocation.name) {
            return Ok(());
        }
        if invocation.depth > self.limits.depth {
            return Err(Halt::Depth(self.limits.depth));
        }
        let resolved = self.resolver.resolve(&invocation.caller, &invocation.call)?;
        let template = resolved.template;
        let bound = arguments::bind(&template.inputs.parameters, &invocation.arguments, globals, self.limits);
        let inputs = match bound {
            Ok(inputs) => inputs,
            Err(error) => return self.refuse(&invocation, error.to_string()),
        };
        let mut scope = globals.child();
        crate::core::scope::inputs(&mut scope, &inputs);
        scope.set("node.name", invocation.name.as_str());
        scope.set("pod.name", pod_name(&self.workflow, &invocation.name, &template.name));
        let frame = Frame { invocation, template, origin: resolved.origin, inputs, scope };
        match frame.template.retry_strategy.clone() {
            Some(strategy) => retry::execute(self, &frame, &strategy, globals),
            None => self.dispatch(&frame, globals),
        }
    }

    /// Does what the template says, retries aside.
    pub(crate) fn dispatch(&mut self, frame: &Frame<'_>, globals: &Scope<'_>) -> Result<(), Halt> {
        if frame.template.steps.is_some() {
            return self.steps(frame, globals);
        }
        if frame.template.dag.is_some() {
            return self.dag(frame, globals);
        }
        self.leaf(frame)
    }

    /// Makes the node of something that cannot even start.
    pub(crate) fn refuse(&mut self, invocation: &Invocation, message: String) -> Result<(), Halt> {
        self.nodes.ensure(invocation.node(NodeType::Skipped, NodePhase::Pending, &[]))?;
        self.nodes.mark(&invocation.name, NodePhase::Error, Some(message));
        Ok(())
    }

    /// Asks to be called again no later than `at`.
    pub(crate) fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Whether a pod is that of this very workflow and not of an earlier one with its name.
    pub(crate) fn owns(&self, pod: &PodView) -> bool {
        pod.owner.is_some() && pod.owner == self.observed.workflow.metadata.uid
    }

    fn leaf(&mut self, frame: &Frame<'_>) -> Result<(), Halt> {
        let invocation = &frame.invocation;
        let pod_name = pod_name(&self.workflow, &invocation.name, &frame.template.name);
        let observed = self.observed;
        let found = observed.pods.get(&pod_name);
        match found.filter(|pod| self.owns(pod)) {
            Some(pod) => {
                self.nodes.ensure(invocation.node(NodeType::Pod, NodePhase::Pending, &frame.inputs))?;
                self.follow(frame, pod);
            }
            None if self.nodes.by_name(&invocation.name).is_some() => {
                let reference = Reference::Pod(pod_name);
                if found.is_some() || self.observed.absent.contains(&reference) {
                    self.nodes.mark(&invocation.name, NodePhase::Error, Some("pod deleted".to_owned()));
                } else {
                    self.looks.insert(reference);
                }
            }
            None => self.start(frame, &pod_name, found.is_some())?,
        }
        Ok(())
    }

    /// Brings a node in line with its pod.
    fn follow(&mut self, frame: &Frame<'_>, pod: &PodView) {
        let name = &frame.invocation.name;
        let verdict = (!pod.is_finished())
            .then(|| self.control.verdict(frame.invocation.part).or_else(|| self.overdue(frame, pod)))
            .flatten();
        if let Some(message) = verdict {
            self.nodes.mark(name, NodePhase::Failed, Some(message));
            return;
        }
        let assessment = observe::assess(pod, &frame.template, self.limits);
        let ended =
            pod.terminated.as_ref().and_then(|end| end.finished_at).filter(|ended| *ended <= self.now);
        if let Some(node) = self.nodes.edit(name) {
            node.host_node_name.clone_from(&pod.host);
            if assessment.outputs.is_some() {
                node.outputs = assessment.outputs;
            }
            if assessment.phase.is_fulfilled() {
                node.finished_at = ended.map(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time);
            }
        }
        self.nodes.mark(name, assessment.phase, assessment.message);
    }

    /// Whether a pod takes longer than its template allows. The node ends such a pod itself; this is for one that
    /// does not.
    fn overdue(&mut self, frame: &Frame<'_>, pod: &PodView) -> Option<String> {
        let seconds = self.deadline_of(frame)?;
        let end = pod.started_at?.checked_add(seconds.seconds()).ok()?;
        if self.now >= end {
            return Some("Pod was active on the node longer than the specified deadline".to_owned());
        }
        self.wake(end);
        None
    }

    fn deadline_of(&self, frame: &Frame<'_>) -> Option<i64> {
        let text = frame.template.active_deadline_seconds.as_ref()?;
        let mut budget = crate::core::substitute::Budget::new(self.limits.expansion_bytes);
        frame.scope.expand(text.as_str(), &mut budget).ok()?.parse::<u32>().ok().map(i64::from)
    }

    /// Starts a node that has never been started, if it may.
    fn start(&mut self, frame: &Frame<'_>, pod_name: &str, is_name_taken: bool) -> Result<(), Halt> {
        let invocation = &frame.invocation;
        if let Some(message) = self.control.verdict(invocation.part) {
            self.nodes.ensure(invocation.node(NodeType::Skipped, NodePhase::Pending, &frame.inputs))?;
            self.nodes.mark(&invocation.name, NodePhase::Failed, Some(message));
            return Ok(());
        }
        let is_full = self
            .spec
            .parallelism
            .is_some_and(|limit| usize::try_from(limit).is_ok_and(|limit| self.active_pods >= limit));
        if self.control.is_suspended || is_full {
            return Ok(());
        }
        if is_name_taken {
            // A pod of an earlier workflow of this name goes when that workflow's remains are collected.
            self.waits_for =
                Some(format!("pod {pod_name} belongs to something else: waiting for it to be removed"));
            return Ok(());
        }
        if let Some(reason) = self.observed.refused.get(pod_name) {
            let message = format!("the pod was refused: {reason}");
            return self.error(frame, message);
        }
        let request = pod::Request {
            name: pod_name,
            node_id: &self.nodes.id(&invocation.name),
            workflow: &self.observed.workflow,
            spec: self.spec,
            claims: &self.claims,
            limits: self.limits,
        };
        match pod::build(&request, frame) {
            Ok(pod) => {
                self.nodes.ensure(invocation.node(NodeType::Pod, NodePhase::Pending, &frame.inputs))?;
                self.active_pods += 1;
                self.before.push(Effect::CreatePod(pod));
                Ok(())
            }
            Err(error) => self.error(frame, crate::core::chain(&error)),
        }
    }

    fn error(&mut self, frame: &Frame<'_>, message: String) -> Result<(), Halt> {
        self.nodes.ensure(frame.invocation.node(NodeType::Pod, NodePhase::Pending, &frame.inputs))?;
        self.nodes.mark(&frame.invocation.name, NodePhase::Error, Some(message));
        Ok(())
    }

    /// Asks for the claims of the workflow until the status says that they were made.
    pub(crate) fn claim(&mut self) -> Result<(), volumes::ClaimError> {
        let made = volumes::claims(self.observed, self.spec, &self.workflow, self.limits)?;
        if self.claims.is_empty() {
            self.before.extend(made.iter().map(|claim| Effect::CreateClaim(claim.manifest.clone())));
            self.claims = made.into_iter().map(|claim| claim.volume).collect();
        }
        Ok(())
    }
}
