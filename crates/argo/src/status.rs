//! How far a workflow has come.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::phase::{NodePhase, NodeType, WorkflowPhase};
use crate::spec::TemplateRef;
use crate::template::{Inputs, Outputs};

/// The status of a workflow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowStatus {
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "filled")]
    pub phase: Option<WorkflowPhase>,
    /// When it was first looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// Finished and known pods, `1/4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// Why it stands there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Nodes by id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable")]
    pub nodes: BTreeMap<String, NodeStatus>,
    /// Templates of other objects as they were when first used, by `<scope>/<object>/<template>`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable")]
    pub stored_templates: BTreeMap<String, Value>,
    /// The specification merged with that of the template the workflow was made from, as it was at the start.
    #[serde(rename = "storedWorkflowTemplateSpec", default, skip_serializing_if = "Option::is_none")]
    pub stored_workflow_spec: Option<Value>,
    /// Volumes that stand for the claims made for this workflow.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub persistent_volume_claims: Vec<Value>,
    /// Outputs of the whole workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Outputs>,
    /// Conditions such as `PodRunning` and `Completed`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub conditions: Vec<Condition>,
    /// Fields this version does not know.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// One condition of a workflow. Argo's have neither times nor reasons.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// Which condition.
    #[serde(rename = "type", default)]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    #[serde(default)]
    pub status: String,
    /// More about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Fields this version does not know.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// One node of a workflow: a step, a group of steps, an attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Its key among the nodes, see [`crate::names::node_id`].
    #[serde(default)]
    pub id: String,
    /// Its full name, such as `wf[0].checkout(1)`.
    #[serde(default)]
    pub name: String,
    /// The last part of the name, for people.
    #[serde(default)]
    pub display_name: String,
    /// What it is.
    #[serde(rename = "type", default = "unknown_type")]
    pub type_: NodeType,
    /// The template it runs, where that is local.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_name: Option<String>,
    /// The template it runs, where that belongs to another object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_ref: Option<TemplateRef>,
    /// Where names of templates within it are looked up: `local/<workflow>`, `cluster/<template object>` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_scope: Option<String>,
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "filled")]
    pub phase: Option<NodePhase>,
    /// The id of the node of the template that contains it.
    #[serde(rename = "boundaryID", default, skip_serializing_if = "Option::is_none")]
    pub boundary_id: Option<String>,
    /// Why it stands there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// Finished and known pods below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// The machine its pod ran on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_node_name: Option<String>,
    /// Whether it is an attempt or a hook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_flag: Option<NodeFlag>,
    /// What it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Inputs>,
    /// What it handed back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Outputs>,
    /// Ids of the nodes that come after or below it.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub children: Vec<String>,
    /// Ids of the last nodes within it.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub outbound_nodes: Vec<String>,
    /// Fields this version does not know.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// What kind of special node it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFlag {
    /// Made by a hook, such as the exit handler.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hooked: bool,
    /// One attempt of a step with a retry strategy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retried: bool,
}

impl WorkflowStatus {
    /// The node called `name` in the workflow called `workflow`.
    pub fn node(&self, workflow: &str, name: &str) -> Option<&NodeStatus> {
        self.nodes.get(&crate::names::node_id(workflow, name))
    }

    /// The nodes of type Pod, that is the tasks people see, in the order of their steps.
    ///
    /// The order is total, so that two readers of one status list the same: the exit handler last, then by step index
    /// within each level of nesting, then by start, then by name. (Argo keeps nodes in an unordered map.)
    pub fn pods(&self) -> Vec<&NodeStatus> {
        let mut pods: Vec<(Vec<Part<'_>>, &NodeStatus)> = self
            .nodes
            .values()
            .filter(|node| node.type_ == NodeType::Pod)
            .map(|node| (parts(&node.name), node))
            .collect();
        pods.sort_by(|(a_parts, a), (b_parts, b)| {
            let start = |node: &NodeStatus| node.started_at.as_ref().map(|time| time.0);
            is_exit_handler(a)
                .cmp(&is_exit_handler(b))
                .then_with(|| indices(a_parts).cmp(indices(b_parts)))
                .then_with(|| start(a).cmp(&start(b)))
                .then_with(|| a_parts.cmp(b_parts))
                .then_with(|| a.name.cmp(&b.name))
        });
        pods.into_iter().map(|(_, node)| node).collect()
    }
}

impl NodeStatus {
    /// The name people know it by: the display name, or else the last part of the name.
    pub fn task_name(&self) -> &str {
        if self.display_name.is_empty() {
            self.name.rsplit_once('.').map_or(self.name.as_str(), |(_, last)| last)
        } else {
            &self.display_name
        }
    }

    /// The value of an output parameter.
    pub fn output_parameter(&self, name: &str) -> Option<&str> {
        self.outputs.as_ref()?.parameters.iter().find(|parameter| parameter.name == name)?.value_str()
    }

    /// Whether it is over.
    pub fn is_fulfilled(&self) -> bool {
        self.phase.as_ref().is_some_and(NodePhase::is_fulfilled)
    }
}

/// A piece of a node's name: text between numbers, or a number compared as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part<'a> {
    Number(u64),
    Text(&'a str),
}

fn parts(name: &str) -> Vec<Part<'_>> {
    name.split_inclusive(['[', ']', '.', '(', ')', ':'])
        .map(|piece| {
            let number = piece.strip_suffix([']', ')', ':']).and_then(|digits| digits.parse().ok());
            number.map_or(Part::Text(piece), Part::Number)
        })
        .collect()
}

/// The step and loop indices of a name alone, outermost first.
fn indices<'p>(parts: &'p [Part<'_>]) -> impl Iterator<Item = u64> + 'p {
    parts.iter().filter_map(|part| match part {
        Part::Number(number) => Some(*number),
        Part::Text(_) => None,
    })
}

/// Whether a node belongs to what runs at the end of the workflow.
fn is_exit_handler(node: &NodeStatus) -> bool {
    let within = node.name.split_once('.').map(|(_, rest)| rest);
    within
        .and_then(|rest| rest.strip_prefix("onExit"))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['[', '.', '(']))
        && !node.name.split('.').next().unwrap_or_default().contains('[')
}

fn unknown_type() -> NodeType {
    NodeType::Other(String::new())
}

/// Go writes empty lists and maps as `null`.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Argo writes "no phase yet" as an empty string.
fn filled<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: From<String>,
{
    let text: Option<String> = Option::deserialize(deserializer)?;
    Ok(text.filter(|text| !text.is_empty()).map(T::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(names: &[&str]) -> WorkflowStatus {
        let nodes = names
            .iter()
            .map(|name| {
                let node = serde_json::json!({"id": name, "name": name, "type": "Pod"});
                ((*name).to_owned(), serde_json::from_value(node).unwrap())
            })
            .collect();
        WorkflowStatus { nodes, ..WorkflowStatus::default() }
    }

    fn order(names: &[&str]) -> Vec<String> {
        status(names).pods().iter().map(|node| node.name.clone()).collect()
    }

    #[test]
    fn tasks_come_in_the_order_of_their_steps() {
        assert_eq!(order(&["w[10].j", "w[2].b", "w[0].a"]), ["w[0].a", "w[2].b", "w[10].j"]);
        assert_eq!(
            order(&["w[1].b[10].x", "w[1].b[9].y", "w[0].a(10:z)", "w[0].a(2:k)"]),
            ["w[0].a(2:k)", "w[0].a(10:z)", "w[1].b[9].y", "w[1].b[10].x"]
        );
    }

    #[test]
    fn the_exit_handler_comes_last() {
        assert_eq!(
            order(&["w.onExit[0].z", "w.onExit", "w[0].onExit"]),
            ["w[0].onExit", "w.onExit", "w.onExit[0].z"]
        );
    }

    #[test]
    fn members_of_one_group_have_a_stable_order() {
        assert_eq!(order(&["w[0].b", "w[0].a"]), ["w[0].a", "w[0].b"]);
    }

    #[test]
    fn go_nulls_and_empty_phases_are_nothing() {
        let status: WorkflowStatus = serde_json::from_value(serde_json::json!({
            "phase": "", "nodes": null, "startedAt": null, "conditions": null, "future": {"a": 1}
        }))
        .unwrap();
        assert_eq!(status.phase, None);
        assert_eq!(serde_json::to_value(&status).unwrap(), serde_json::json!({"future": {"a": 1}}));
    }
}
