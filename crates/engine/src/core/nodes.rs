//! The nodes of a workflow.

use std::collections::BTreeMap;

use buildplane_argo::names::node_id;
use buildplane_argo::status::NodeFlag;
use buildplane_argo::template::{Inputs, Parameter};
use buildplane_argo::{NodePhase, NodeStatus, NodeType};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::core::resolve::{Call, Origin};

/// The nodes cannot be extended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NodeError {
    /// Too many.
    #[error("the workflow needs more than the {0} nodes allowed: make loops or templates smaller")]
    TooMany(usize),
    /// Two names with one id.
    #[error("nodes \"{0}\" and \"{1}\" have the same id: rename one of the steps")]
    Collision(String, String),
}

/// What a new node is made of.
#[derive(Clone, Debug)]
pub(crate) struct NewNode<'c> {
    pub(crate) name: String,
    pub(crate) type_: NodeType,
    pub(crate) phase: NodePhase,
    pub(crate) call: Option<&'c Call>,
    pub(crate) caller: &'c Origin,
    pub(crate) boundary: Option<&'c str>,
    pub(crate) inputs: &'c [Parameter],
    pub(crate) flag: Option<NodeFlag>,
}

/// The nodes of one workflow.
#[derive(Clone, Debug)]
pub(crate) struct Nodes {
    workflow: String,
    by_id: BTreeMap<String, NodeStatus>,
    limit: usize,
    now: Timestamp,
}

impl Nodes {
    pub(crate) fn new(
        workflow: String,
        by_id: BTreeMap<String, NodeStatus>,
        limit: usize,
        now: Timestamp,
    ) -> Self {
        Self { workflow, by_id, limit, now }
    }

    pub(crate) fn into_map(self) -> BTreeMap<String, NodeStatus> {
        self.by_id
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &NodeStatus> {
        self.by_id.values()
    }

    pub(crate) fn id(&self, name: &str) -> String {
        node_id(&self.workflow, name)
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<&NodeStatus> {
        self.by_id.get(&self.id(name)).filter(|node| node.name == name)
    }

    pub(crate) fn by_id(&self, id: &str) -> Option<&NodeStatus> {
        self.by_id.get(id)
    }

    /// Whether the node exists and is over.
    pub(crate) fn is_fulfilled(&self, name: &str) -> bool {
        self.by_name(name).is_some_and(NodeStatus::is_fulfilled)
    }

    pub(crate) fn phase(&self, name: &str) -> Option<NodePhase> {
        self.by_name(name).and_then(|node| node.phase.clone())
    }

    /// Makes the node unless it exists.
    pub(crate) fn ensure(&mut self, new: NewNode<'_>) -> Result<(), NodeError> {
        let id = self.id(&new.name);
        if let Some(existing) = self.by_id.get(&id) {
            if existing.name == new.name {
                return Ok(());
            }
            return Err(NodeError::Collision(existing.name.clone(), new.name));
        }
        if self.by_id.len() >= self.limit {
            return Err(NodeError::TooMany(self.limit));
        }
        let boundary = new.boundary.and_then(|id| self.by_id.get(id));
        let (template_name, template_ref) = match new.call {
            Some(Call::Name(name)) => (Some(name.clone()), None),
            Some(Call::Ref(reference)) => (None, Some(reference.clone())),
            None => (None, None),
        };
        let finished = new.phase.is_fulfilled();
        let node = NodeStatus {
            id: id.clone(),
            display_name: display_name(&new.name, boundary),
            name: new.name,
            type_: new.type_,
            template_name,
            template_ref,
            template_scope: Some(match new.caller {
                Origin::Local => format!("local/{}", self.workflow),
                Origin::Namespaced(name) => format!("namespaced/{name}"),
                Origin::Cluster(name) => format!("cluster/{name}"),
            }),
            phase: Some(new.phase),
            boundary_id: new.boundary.map(str::to_owned),
            message: None,
            started_at: Some(Time(self.now)),
            finished_at: finished.then_some(Time(self.now)),
            progress: None,
            host_node_name: None,
            node_flag: new.flag,
            inputs: (!new.inputs.is_empty())
                .then(|| Inputs { parameters: new.inputs.to_vec(), ..Inputs::default() }),
            outputs: None,
            children: Vec::new(),
            outbound_nodes: Vec::new(),
            other: BTreeMap::new(),
        };
        self.by_id.insert(id, node);
        Ok(())
    }

    /// Puts a node into a phase, with a message or with the one it has. A node that is over stays as it is.
    pub(crate) fn mark(&mut self, name: &str, phase: NodePhase, message: Option<String>) {
        let now = self.now;
        let Some(node) = self.edit(name) else { return };
        if node.is_fulfilled() {
            return;
        }
        if phase.is_fulfilled() && node.finished_at.is_none() {
            node.finished_at = Some(Time(now));
        }
        node.phase = Some(phase);
        node.message = message.filter(|message| !message.is_empty());
    }

    pub(crate) fn edit(&mut self, name: &str) -> Option<&mut NodeStatus> {
        let id = self.id(name);
        self.by_id.get_mut(&id).filter(|node| node.name == name)
    }

    /// Notes that `child` comes below or after `parent`.
    pub(crate) fn link(&mut self, parent: &str, child: &str) {
        let child = self.id(child);
        if let Some(parent) = self.edit(parent)
            && !parent.children.contains(&child)
        {
            parent.children.push(child);
        }
    }

    /// The last nodes within a node, to which what follows is linked.
    pub(crate) fn outbound(&self, id: &str) -> Vec<String> {
        let Some(node) = self.by_id.get(id) else { return Vec::new() };
        let within = match node.type_ {
            NodeType::Retry => return node.children.last().cloned().into_iter().collect(),
            NodeType::TaskGroup => &node.children,
            NodeType::Steps | NodeType::DAG | NodeType::StepGroup => return node.outbound_nodes.clone(),
            NodeType::Pod
            | NodeType::Container
            | NodeType::Skipped
            | NodeType::Suspend
            | NodeType::HTTP
            | NodeType::Plugin
            | NodeType::Other(_) => return vec![id.to_owned()],
        };
        if within.is_empty() {
            return vec![id.to_owned()];
        }
        within.iter().flat_map(|child| self.outbound(child)).collect()
    }
}

/// What remains of the name within its boundary, without the step's position.
fn display_name(name: &str, boundary: Option<&NodeStatus>) -> String {
    let Some(boundary) = boundary else { return name.to_owned() };
    let within = name.strip_prefix(boundary.name.as_str()).unwrap_or(name);
    let within = within.strip_prefix('.').unwrap_or(within);
    match within.strip_prefix('[').and_then(|rest| rest.split_once("].")) {
        Some((digits, rest)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => rest.to_owned(),
        _ => within.to_owned(),
    }
}
