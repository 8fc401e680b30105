//! Step groups: one after the other, their members side by side.

use buildplane_argo::template::Step;
use buildplane_argo::{NodePhase, NodeType};

use crate::core::arguments;
use crate::core::chain;
use crate::core::condition::{Condition, ConditionError};
use crate::core::execute::{Execution, Frame, Halt, Invocation};
use crate::core::items::{self, Turn};
use crate::core::nodes::NewNode;
use crate::core::resolve::Call;
use crate::core::scope;
use crate::core::substitute::{Budget, Scope};

/// How the members of a group or the turns of a loop stand together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Something is still to be done.
    Open,
    /// All ended well, or in a way that does not matter.
    Good,
    /// The node with this id did not.
    Bad(String),
}

impl Execution<'_> {
    /// Carries a template of steps forward.
    pub(crate) fn steps(&mut self, frame: &Frame<'_>, globals: &Scope<'_>) -> Result<(), Halt> {
        let invocation = &frame.invocation;
        let name = &invocation.name;
        self.nodes.ensure(invocation.node(NodeType::Steps, NodePhase::Running, &frame.inputs))?;
        let id = self.nodes.id(name);
        let mut scope = frame.scope.child();
        for (index, group) in frame.template.steps.iter().flatten().enumerate() {
            let group_name = format!("{name}[{index}]");
            self.nodes.ensure(NewNode {
                name: group_name.clone(),
                type_: NodeType::StepGroup,
                phase: NodePhase::Running,
                call: None,
                caller: &frame.origin,
                boundary: Some(&id),
                inputs: &[],
                flag: None,
            })?;
            self.link_group(name, index, &group_name);
            if !self.nodes.is_fulfilled(&group_name) {
                self.group(frame, group, &group_name, &id, (&scope, globals))?;
            }
            self.set_outbound(&group_name, &group_name);
            match self.nodes.phase(&group_name) {
                Some(NodePhase::Succeeded) => {}
                Some(phase) if phase.is_fulfilled() => {
                    self.set_outbound(name, &group_name);
                    let message = self.nodes.by_name(&group_name).and_then(|group| group.message.clone());
                    self.nodes.mark(name, NodePhase::Failed, message);
                    return Ok(());
                }
                Some(_) | None => return Ok(()),
            }
            for step in group {
                self.collect(
                    &mut scope,
                    "steps",
                    &format!("{group_name}.{}", step.name),
                    step,
                    &frame.origin,
                )?;
            }
        }
        if let Some(last) = frame.template.steps.as_ref().and_then(|groups| groups.len().checked_sub(1)) {
            self.set_outbound(name, &format!("{name}[{last}]"));
        }
        self.finish_with_outputs(frame, &scope);
        Ok(())
    }

    /// A node of several succeeded: hands back what it declares, or ends in an error when it cannot.
    pub(crate) fn finish_with_outputs(&mut self, frame: &Frame<'_>, scope: &Scope<'_>) {
        let name = &frame.invocation.name;
        let mut budget = Budget::new(self.limits.expansion_bytes);
        let mut parameters = Vec::new();
        for declared in &frame.template.outputs.parameters {
            let from = declared.value_from.as_ref();
            let Some(text) = from.and_then(|from| from.parameter.as_deref()) else { continue };
            let default = from.and_then(|from| from.default.as_ref()).map(|value| value.0.clone());
            match (scope.expand(text, &mut budget), default) {
                (Ok(value), _) | (Err(_), Some(value)) => {
                    parameters.push(buildplane_argo::template::Parameter::with_value(&declared.name, value));
                }
                (Err(error), None) => {
                    let message = format!("outputs.parameters.{}: {error}", declared.name);
                    self.nodes.mark(name, NodePhase::Error, Some(message));
                    return;
                }
            }
        }
        if let (Some(node), false) = (self.nodes.edit(name), parameters.is_empty()) {
            node.outputs = Some(buildplane_argo::template::Outputs { parameters, ..Default::default() });
        }
        self.nodes.mark(name, NodePhase::Succeeded, None);
    }

    fn link_group(&mut self, name: &str, index: usize, group: &str) {
        let Some(previous) = index.checked_sub(1).map(|index| format!("{name}[{index}]")) else {
            self.nodes.link(name, group);
            return;
        };
        let ends: Vec<String> =
            self.nodes.by_name(&previous).map(|node| node.outbound_nodes.clone()).unwrap_or_default();
        let names: Vec<String> =
            ends.iter().filter_map(|id| self.nodes.by_id(id)).map(|node| node.name.clone()).collect();
        if names.is_empty() {
            self.nodes.link(&previous, group);
        }
        for end in names {
            self.nodes.link(&end, group);
        }
    }

    /// Notes on `name` which nodes come last within `within`.
    pub(crate) fn set_outbound(&mut self, name: &str, within: &str) {
        let ends: Vec<String> = match self.nodes.by_name(within) {
            Some(node) if node.name != name => node.outbound_nodes.clone(),
            Some(node) => {
                // The group that follows is linked to what this one contains, not to the group itself.
                let prefix = format!("{within}.");
                let members = node
                    .children
                    .iter()
                    .filter(|id| self.nodes.by_id(id).is_some_and(|child| child.name.starts_with(&prefix)));
                members.flat_map(|id| self.nodes.outbound(id)).collect()
            }
            None => Vec::new(),
        };
        if let Some(node) = self.nodes.edit(name) {
            node.outbound_nodes = ends;
        }
    }

    fn group(
        &mut self,
        frame: &Frame<'_>,
        group: &[Step],
        group_name: &str,
        boundary: &str,
        (scope, globals): (&Scope<'_>, &Scope<'_>),
    ) -> Result<(), Halt> {
        let mut standing = Standing::Good;
        for step in group {
            let turns = match items::turns(step, scope, self.limits) {
                Ok(turns) => {
                    turns.unwrap_or_else(|| vec![Turn { suffix: String::new(), variables: Vec::new() }])
                }
                Err(error) => {
                    let message = format!("step \"{}\": {}", step.name, chain(&error));
                    self.nodes.mark(group_name, NodePhase::Error, Some(message));
                    return Ok(());
                }
            };
            for turn in turns {
                let child = format!("{group_name}.{}{}", step.name, turn.suffix);
                self.member(frame, step, turn, &child, boundary, (scope, globals))?;
                if self.nodes.by_name(&child).is_some() {
                    self.nodes.link(group_name, &child);
                }
                standing = standing.and(self.standing(step, &child));
            }
        }
        match standing {
            Standing::Open => {}
            Standing::Good => self.nodes.mark(group_name, NodePhase::Succeeded, None),
            Standing::Bad(id) => {
                self.nodes.mark(group_name, NodePhase::Failed, Some(format!("child '{id}' failed")));
            }
        }
        Ok(())
    }

    /// Carries one member, or one turn of it, forward.
    pub(crate) fn member(
        &mut self,
        frame: &Frame<'_>,
        step: &Step,
        turn: Turn,
        name: &str,
        boundary: &str,
        (scope, globals): (&Scope<'_>, &Scope<'_>),
    ) -> Result<(), Halt> {
        if self.nodes.is_fulfilled(name) {
            return Ok(());
        }
        let call = Call::of(step)?;
        let mut inner = scope.child();
        for (variable, value) in turn.variables {
            inner.set(variable, value);
        }
        let mut invocation = Invocation {
            name: name.to_owned(),
            call,
            caller: frame.origin.clone(),
            boundary: Some(boundary.to_owned()),
            arguments: Vec::new(),
            depth: frame.invocation.depth + 1,
            part: frame.invocation.part,
            flag: None,
        };
        if self.nodes.by_name(name).is_none() {
            match self.proceeds(step, &inner) {
                Ok(true) => {}
                Ok(false) => {
                    self.nodes.ensure(invocation.node(NodeType::Skipped, NodePhase::Pending, &[]))?;
                    let condition = step.when.as_deref().unwrap_or_default();
                    let message = format!("when '{condition}' evaluated false");
                    self.nodes.mark(name, NodePhase::Skipped, Some(message));
                    return Ok(());
                }
                Err(error) => return self.refuse(&invocation, chain(&error)),
            }
        }
        match arguments::expand(&step.arguments.parameters, &inner, self.limits) {
            Ok(arguments) => invocation.arguments = arguments,
            Err(error) => return self.refuse(&invocation, error.to_string()),
        }
        self.execute(invocation, globals)
    }

    fn proceeds(&self, step: &Step, scope: &Scope<'_>) -> Result<bool, ConditionError> {
        let Some(text) = step.when.as_deref().filter(|text| !text.is_empty()) else { return Ok(true) };
        Condition::parse(text)?.holds(scope, &mut Budget::new(self.limits.expansion_bytes))
    }

    /// How a member stands.
    pub(crate) fn standing(&self, step: &Step, name: &str) -> Standing {
        let continues = step.continue_on.unwrap_or_default();
        match self.nodes.phase(name) {
            Some(NodePhase::Failed) if !continues.failed => Standing::Bad(self.nodes.id(name)),
            Some(NodePhase::Error) if !continues.error => Standing::Bad(self.nodes.id(name)),
            Some(phase) if phase.is_fulfilled() => Standing::Good,
            Some(_) | None => Standing::Open,
        }
    }

    /// Adds to `scope` what a finished step or task left under `name`, one node or the turns of a loop.
    pub(crate) fn collect(
        &mut self,
        scope: &mut Scope<'_>,
        family: &str,
        name: &str,
        step: &Step,
        caller: &crate::core::resolve::Origin,
    ) -> Result<(), Halt> {
        let template = self.resolver.resolve(caller, &Call::of(step)?)?.template;
        let prefix = format!("{family}.{}", step.name);
        if step.with_items.is_none() && step.with_param.is_none() {
            if let Some(node) = self.nodes.by_name(name) {
                scope::finished(scope, &prefix, node, &template);
            }
            return Ok(());
        }
        let beginning = format!("{name}(");
        let mut turns: Vec<_> = self
            .nodes
            .iter()
            .filter(|node| node.name.strip_prefix(&beginning).is_some_and(is_turn_of_its_own))
            .collect();
        turns.sort_by_key(|node| turn_index(&node.name[beginning.len()..]));
        let group = name.rsplit_once('.').map_or(name, |(group, _)| group);
        if let Some(group) = self.nodes.by_name(name).or_else(|| self.nodes.by_name(group)) {
            scope::finished_loop(scope, &prefix, group, &turns, &template);
        }
        Ok(())
    }
}

impl Standing {
    /// The standing of both together; something open outweighs, since a group ends only with its last member.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Open, _) | (_, Self::Open) => Self::Open,
            (Self::Bad(id), _) | (Self::Good, Self::Bad(id)) => Self::Bad(id),
            (Self::Good, Self::Good) => Self::Good,
        }
    }
}

/// Whether what follows `name(` is `0:item)` and no more, that is no attempt or step below it.
fn is_turn_of_its_own(rest: &str) -> bool {
    rest.split_once(':').is_some_and(|(index, _)| index.parse::<usize>().is_ok()) && rest.ends_with(')')
}

fn turn_index(rest: &str) -> usize {
    rest.split_once(':').and_then(|(index, _)| index.parse().ok()).unwrap_or_default()
}
