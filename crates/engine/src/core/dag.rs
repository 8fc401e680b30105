//! Tasks that depend on each other.

use buildplane_argo::template::{Dag, Step};
use buildplane_argo::{NodePhase, NodeType};

use crate::core::chain;
use crate::core::execute::{Execution, Frame, Halt, Invocation};
use crate::core::items::{self, Turn};
use crate::core::nodes::NewNode;
use crate::core::resolve::Call;
use crate::core::steps::Standing;
use crate::core::substitute::Scope;
use crate::core::validate;

impl Execution<'_> {
    /// Carries a template of tasks forward.
    pub(crate) fn dag(&mut self, frame: &Frame<'_>, globals: &Scope<'_>) -> Result<(), Halt> {
        let invocation = &frame.invocation;
        let name = &invocation.name;
        self.nodes.ensure(invocation.node(NodeType::DAG, NodePhase::Running, &frame.inputs))?;
        let Some(dag) = &frame.template.dag else { return Ok(()) };
        let order = match validate::order(&dag.tasks) {
            Ok(order) => order,
            Err(problem) => {
                self.nodes.mark(name, NodePhase::Error, Some(problem));
                return Ok(());
            }
        };
        let mut scope = frame.scope.child();
        let mut overall = Standing::Good;
        for task in order.into_iter().filter_map(|index| dag.tasks.get(index)) {
            let child = format!("{name}.{}", task.name);
            let may_start = dag.fail_fast == Some(false) || !matches!(overall, Standing::Bad(_));
            self.task(frame, dag, task, may_start, (&scope, globals))?;
            let standing = self.standing(task, &child);
            if standing != Standing::Open {
                self.collect(&mut scope, "tasks", &child, task, &frame.origin)?;
            }
            overall = match (overall, standing) {
                (Standing::Bad(id), _) | (_, Standing::Bad(id)) => Standing::Bad(id),
                (Standing::Open, _) | (Standing::Good, Standing::Open) => Standing::Open,
                (Standing::Good, Standing::Good) => Standing::Good,
            };
        }
        self.close(frame, dag, &overall, &scope);
        Ok(())
    }

    fn close(&mut self, frame: &Frame<'_>, dag: &Dag, overall: &Standing, scope: &Scope<'_>) {
        let name = &frame.invocation.name;
        let children: Vec<String> = dag.tasks.iter().map(|task| format!("{name}.{}", task.name)).collect();
        let is_active = children.iter().any(|child| match self.nodes.by_name(child) {
            Some(node) => !node.is_fulfilled(),
            None => false,
        });
        let followed: Vec<&String> = dag.tasks.iter().flat_map(|task| &task.dependencies).collect();
        let ends: Vec<String> = dag
            .tasks
            .iter()
            .filter(|task| !followed.contains(&&task.name))
            .flat_map(|task| self.nodes.outbound(&self.nodes.id(&format!("{name}.{}", task.name))))
            .collect();
        if let Some(node) = self.nodes.edit(name) {
            node.outbound_nodes = ends;
        }
        match overall {
            Standing::Bad(id) if !is_active => {
                self.nodes.mark(name, NodePhase::Failed, Some(format!("child '{id}' failed")));
            }
            Standing::Good => self.finish_with_outputs(frame, scope),
            Standing::Bad(_) | Standing::Open => {}
        }
    }

    fn task(
        &mut self,
        frame: &Frame<'_>,
        dag: &Dag,
        task: &Step,
        may_start: bool,
        (scope, globals): (&Scope<'_>, &Scope<'_>),
    ) -> Result<(), Halt> {
        let dag_name = &frame.invocation.name;
        let name = format!("{dag_name}.{}", task.name);
        if self.nodes.is_fulfilled(&name) {
            return Ok(());
        }
        let exists = self.nodes.by_name(&name).is_some();
        if !exists {
            let mut gate = Standing::Good;
            for needed in &task.dependencies {
                let other = dag.tasks.iter().find(|task| task.name == *needed);
                let standing = other.map_or(Standing::Open, |other| self.gate(dag_name, other));
                gate = gate.and(standing);
            }
            match gate {
                Standing::Good if may_start => {}
                Standing::Good | Standing::Open => return Ok(()),
                Standing::Bad(_) => return self.omit(frame, dag_name, task, &name),
            }
        }
        let boundary = self.nodes.id(dag_name);
        let turns = items::turns(task, scope, self.limits);
        match turns {
            Ok(None) => {
                let turn = Turn { suffix: String::new(), variables: Vec::new() };
                self.member(frame, task, turn, &name, &boundary, (scope, globals))?;
            }
            Ok(Some(turns)) => {
                self.nodes.ensure(NewNode {
                    name: name.clone(),
                    type_: NodeType::TaskGroup,
                    phase: NodePhase::Running,
                    call: Some(&Call::of(task)?),
                    caller: &frame.origin,
                    boundary: Some(&boundary),
                    inputs: &[],
                    flag: None,
                })?;
                let mut standing = Standing::Good;
                for turn in turns {
                    let child = format!("{name}{}", turn.suffix);
                    self.member(frame, task, turn, &child, &boundary, (scope, globals))?;
                    if self.nodes.by_name(&child).is_some() {
                        self.nodes.link(&name, &child);
                    }
                    standing = standing.and(self.standing(task, &child));
                }
                match standing {
                    Standing::Open => {}
                    Standing::Good => self.nodes.mark(&name, NodePhase::Succeeded, None),
                    Standing::Bad(id) => {
                        self.nodes.mark(&name, NodePhase::Failed, Some(format!("child '{id}' failed")));
                    }
                }
            }
            Err(error) => {
                let invocation = Self::invocation(frame, task, &name, &boundary)?;
                self.refuse(&invocation, chain(&error))?;
            }
        }
        self.link_task(dag_name, task, &name);
        Ok(())
    }

    /// How a dependency stands for what follows it: an omitted one keeps what follows from running too.
    fn gate(&self, dag: &str, task: &Step) -> Standing {
        let name = format!("{dag}.{}", task.name);
        match self.nodes.phase(&name) {
            Some(NodePhase::Omitted) => Standing::Bad(self.nodes.id(&name)),
            Some(_) | None => self.standing(task, &name),
        }
    }

    fn omit(&mut self, frame: &Frame<'_>, dag: &str, task: &Step, name: &str) -> Result<(), Halt> {
        let boundary = self.nodes.id(dag);
        let invocation = Self::invocation(frame, task, name, &boundary)?;
        self.nodes.ensure(invocation.node(NodeType::Skipped, NodePhase::Pending, &[]))?;
        self.nodes.mark(name, NodePhase::Omitted, Some("omitted: depends condition not met".to_owned()));
        self.link_task(dag, task, name);
        Ok(())
    }

    fn invocation(frame: &Frame<'_>, task: &Step, name: &str, boundary: &str) -> Result<Invocation, Halt> {
        Ok(Invocation {
            name: name.to_owned(),
            call: Call::of(task)?,
            caller: frame.origin.clone(),
            boundary: Some(boundary.to_owned()),
            arguments: Vec::new(),
            depth: frame.invocation.depth + 1,
            part: frame.invocation.part,
            flag: None,
        })
    }

    fn link_task(&mut self, dag: &str, task: &Step, name: &str) {
        if self.nodes.by_name(name).is_none() {
            return;
        }
        if task.dependencies.is_empty() {
            self.nodes.link(dag, name);
        }
        for needed in &task.dependencies {
            let ends = self.nodes.outbound(&self.nodes.id(&format!("{dag}.{needed}")));
            let names: Vec<String> =
                ends.iter().filter_map(|id| self.nodes.by_id(id)).map(|node| node.name.clone()).collect();
            for end in names {
                self.nodes.link(&end, name);
            }
        }
    }
}
