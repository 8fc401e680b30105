//! Variables that can never be resolved, found before anything runs.

use std::collections::BTreeSet;

use buildplane_argo::WorkflowSpec;
use buildplane_argo::template::{Step, Template};
use serde_json::Value;

use crate::core::condition::Condition;
use crate::core::substitute::{Piece, pieces};
use crate::core::validate::Invalid;

/// What a finished step always leaves.
const LEFT_BEHIND: [&str; 6] = ["id", "status", "message", "startedAt", "finishedAt", "exitCode"];

/// The variables known at some place.
#[derive(Clone, Debug)]
pub(crate) struct Known<'m> {
    globals: &'m BTreeSet<String>,
    own: BTreeSet<String>,
    /// Beginnings of variables of which nothing is known: steps whose template is not known yet.
    open: BTreeSet<String>,
}

impl<'m> Known<'m> {
    pub(crate) fn new(globals: &'m BTreeSet<String>, template: &Template) -> Self {
        let mut own: BTreeSet<String> = template
            .inputs
            .parameters
            .iter()
            .map(|input| format!("inputs.parameters.{}", input.name))
            .collect();
        own.extend(["node.name".to_owned(), "pod.name".to_owned()]);
        if template.retry_strategy.is_some() {
            own.insert("retries".to_owned());
            own.extend(["exitCode", "status", "duration", "message"].map(|name| format!("lastRetry.{name}")));
        }
        Self { globals, own, open: BTreeSet::new() }
    }

    /// Adds what a step or task leaves.
    pub(crate) fn add_finished(&mut self, family: &str, step: &Step, template: Option<&Template>) {
        let prefix = format!("{family}.{}", step.name);
        self.own.extend(LEFT_BEHIND.map(|name| format!("{prefix}.{name}")));
        let Some(template) = template else {
            self.open.insert(format!("{prefix}."));
            return;
        };
        if step.with_items.is_some() || step.with_param.is_some() {
            self.own.insert(format!("{prefix}.outputs.parameters"));
        }
        let outputs = template.outputs.parameters.iter();
        self.own.extend(outputs.map(|output| format!("{prefix}.outputs.parameters.{}", output.name)));
    }

    /// Adds what is known somewhere else too.
    pub(crate) fn join(&mut self, other: &Self) {
        self.own.extend(other.own.iter().cloned());
        self.open.extend(other.open.iter().cloned());
    }

    fn knows(&self, name: &str) -> bool {
        self.globals.contains(name)
            || self.own.contains(name)
            || self.open.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }
}

/// Checks what a leaf template uses.
pub(crate) fn leaf(
    path: &str,
    template: &Template,
    spec: &WorkflowSpec,
    known: &Known<'_>,
) -> Result<(), Invalid> {
    let only_globals = Known { globals: known.globals, own: BTreeSet::new(), open: BTreeSet::new() };
    for input in &template.inputs.parameters {
        for text in [&input.value, &input.default].into_iter().flatten() {
            check(&format!("{path}.inputs.parameters.{}", input.name), text.as_str(), &only_globals)?;
        }
    }
    for (index, volume) in spec.volumes.iter().enumerate() {
        check_value(&format!("spec.volumes[{index}]"), volume, &only_globals)?;
    }
    for (index, claim) in spec.volume_claim_templates.iter().enumerate() {
        check_value(&format!("spec.volumeClaimTemplates[{index}]"), claim, &only_globals)?;
    }
    let parts = [
        ("container", template.container.as_ref().map(serde_json::to_value)),
        ("script", template.script.as_ref().map(serde_json::to_value)),
        ("metadata", template.metadata.as_ref().map(serde_json::to_value)),
        ("volumes", Some(Ok(Value::Array(template.volumes.clone())))),
        ("securityContext", template.security_context.clone().map(Ok)),
    ];
    for (field, value) in parts {
        if let Some(Ok(value)) = value {
            check_value(&format!("{path}.{field}"), &value, known)?;
        }
    }
    if let Some(seconds) = &template.active_deadline_seconds {
        check(&format!("{path}.activeDeadlineSeconds"), seconds.as_str(), known)?;
    }
    if let Some(limit) = template.retry_strategy.as_ref().and_then(|strategy| strategy.limit.as_ref()) {
        check(&format!("{path}.retryStrategy.limit"), limit.as_str(), known)?;
    }
    Ok(())
}

/// Checks what a template hands back from its steps.
pub(crate) fn outputs(path: &str, template: &Template, known: &Known<'_>) -> Result<(), Invalid> {
    if template.steps.is_none() {
        // Tasks are visible to each other only along their dependencies, but all of them to the outputs.
        return Ok(());
    }
    for output in &template.outputs.parameters {
        let from = output.value_from.as_ref().and_then(|from| from.parameter.as_deref());
        if let Some(text) = from {
            check(&format!("{path}.outputs.parameters.{}.valueFrom.parameter", output.name), text, known)?;
        }
    }
    Ok(())
}

/// Checks what a step uses.
pub(crate) fn step(path: &str, step: &Step, known: &Known<'_>) -> Result<(), Invalid> {
    let mut inner = known.clone();
    if let Some(items) = &step.with_items {
        for item in items {
            check_value(&format!("{path}.withItems"), item, known)?;
            inner.own.extend(item.as_object().into_iter().flatten().map(|(key, _)| format!("item.{key}")));
        }
        inner.own.insert("item".to_owned());
    }
    if let Some(text) = &step.with_param {
        check(&format!("{path}.withParam"), text, known)?;
        inner.own.insert("item".to_owned());
        inner.open.insert("item.".to_owned());
    }
    for argument in &step.arguments.parameters {
        let path = format!("{path}.arguments.parameters.{}", argument.name);
        let from = argument.value_from.as_ref().and_then(|from| from.parameter.as_deref());
        if let Some(text) = argument.value_str().or(from) {
            check(&path, text, &inner)?;
        }
    }
    if let Some(text) = &step.when {
        let path = format!("{path}.when");
        check(&path, text, &inner)?;
        Condition::parse(text).map_err(|error| Invalid::field(path, error.to_string()))?;
    }
    Ok(())
}

fn check_value(path: &str, value: &Value, known: &Known<'_>) -> Result<(), Invalid> {
    match value {
        Value::String(text) => check(path, text, known),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(index, item)| check_value(&format!("{path}[{index}]"), item, known)),
        Value::Object(fields) => {
            fields.iter().try_for_each(|(key, field)| check_value(&format!("{path}.{key}"), field, known))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn check(path: &str, text: &str, known: &Known<'_>) -> Result<(), Invalid> {
    for piece in pieces(text) {
        match piece {
            Piece::Text(_) => {}
            Piece::Variable(name) if known.knows(name) => {}
            Piece::Variable(name) => {
                let hint = if name.contains(".outputs.artifacts") || name.ends_with(".outputs.result") {
                    "only output parameters with valueFrom.path are supported"
                } else {
                    "there is no such variable here"
                };
                return Err(Invalid::field(path, format!("{{{{{name}}}}} cannot be resolved: {hint}")));
            }
            Piece::Expression(_) => {
                return Err(Invalid::field(
                    path,
                    "{{=…}} is an expression, which this engine does not evaluate: use a plain variable",
                ));
            }
        }
    }
    Ok(())
}
