//! Evaluation of `x-kubernetes-validations`.

use std::borrow::Cow;

use buildplane_expr::{Error as ExpressionError, Limits, Outcome, Program};
use serde_json::{Map, Value};

use super::model::Types;
use super::validate::OldItems;
use super::{MAX_REPORTED, Node, Previous};
use crate::field::{ErrorKind, FieldError, Location};

/// Cost of all rules of one object together; that of one rule is the default of [`Limits`].
const OBJECT_COST: u64 = 10_000_000;
/// Longest message a `messageExpression` may give.
const MAX_MESSAGE_BYTES: usize = 5 * 1024;
/// Where a rule with `optionalOldSelf` finds its old value: a list of at most one.
pub(super) const OLD_SELF_LIST: &str = "__old_self_list__";

/// One compiled rule.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) source: String,
    pub(super) program: Program,
    pub(super) message: String,
    pub(super) message_program: Option<Program>,
    pub(super) kind: ErrorKind,
    /// Fields below the rule's place, joined by dots; empty for the place itself.
    pub(super) field_path: String,
    pub(super) old_self: OldSelf,
}

/// How a rule uses the previous value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OldSelf {
    Unused,
    /// A transition rule: without a previous value it is skipped.
    Required,
    /// Evaluated on create too, with an optional.
    Optional,
}

pub(super) fn validate(node: Node<'_>, value: &Value, previous: Previous<'_>) -> Vec<FieldError> {
    let old = match previous {
        Previous::Absent => None,
        Previous::Object(old) => Some(old),
    };
    let mut walk = Walk { errors: Vec::new(), cost_left: OBJECT_COST };
    walk.value(node, value, old, Change::of(value, old, Change::Changed), &Location::Root);
    walk.errors
}

/// Whether a value, or the nearest place above it that has a counterpart in the old object, is as it was.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Changed,
    Unchanged,
}

impl Change {
    fn of(value: &Value, old: Option<&Value>, above: Self) -> Self {
        match old {
            None => above,
            Some(old) if old == value => Self::Unchanged,
            Some(_) => Self::Changed,
        }
    }
}

struct Walk {
    errors: Vec<FieldError>,
    /// 0 ends the walk.
    cost_left: u64,
}

impl Walk {
    fn value(
        &mut self,
        node: Node<'_>,
        value: &Value,
        old: Option<&Value>,
        above: Change,
        at: &Location<'_>,
    ) {
        if !node.data.has_rules || self.cost_left == 0 || self.errors.len() >= MAX_REPORTED || value.is_null()
        {
            return;
        }
        let change = Change::of(value, old, above);
        if !node.data.rules.is_empty() {
            self.rules(node, value, old, change, at);
        }
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    let old = old.and_then(|old| old.get(name));
                    if let Some(schema) = node.property(name) {
                        self.value(schema, member, old, change, &Location::Field(at, name));
                    } else if let Some(schema) = node.entry() {
                        self.value(schema, member, old, change, &Location::Key(at, name));
                    }
                }
            }
            Value::Array(items) => {
                let Some(schema) = node.items().filter(|schema| schema.data.has_rules) else { return };
                let old_items = OldItems::new(node, old);
                let unchanged = old.filter(|_| change == Change::Unchanged).and_then(Value::as_array);
                for (index, item) in items.iter().enumerate() {
                    let old = match unchanged {
                        Some(same) => same.get(index),
                        None => old_items.get(item),
                    };
                    self.value(schema, item, old, change, &Location::Index(at, index));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn rules(
        &mut self,
        node: Node<'_>,
        value: &Value,
        old: Option<&Value>,
        change: Change,
        at: &Location<'_>,
    ) {
        let this = typed(node, value);
        let before = old.map(|old| typed(node, old));
        for rule in &node.data.rules {
            let applies = match rule.old_self {
                // What was there before a rule was added is tolerated as long as it does not change.
                OldSelf::Unused => change == Change::Changed,
                OldSelf::Required => old.is_some(),
                OldSelf::Optional => true,
            };
            if applies {
                self.rule(rule, node, &this, before.as_deref(), at);
            }
            if self.cost_left == 0 {
                return;
            }
        }
    }

    fn rule(&mut self, rule: &Rule, node: Node<'_>, this: &Value, old: Option<&Value>, at: &Location<'_>) {
        let list = match rule.old_self {
            OldSelf::Optional => Value::Array(old.cloned().into_iter().collect()),
            OldSelf::Unused | OldSelf::Required => Value::Null,
        };
        let mut bindings = vec![("self", this)];
        match rule.old_self {
            OldSelf::Unused => {}
            OldSelf::Required => bindings.extend(old.map(|old| ("oldSelf", old))),
            OldSelf::Optional => bindings.push((OLD_SELF_LIST, &list)),
        }
        let type_name = node.data.types.names();
        let words = if rule.message.is_empty() { rule.source.as_str() } else { rule.message.as_str() };
        let detail = match self.evaluate(&rule.program, &bindings) {
            Ok(Outcome::Value(Value::Bool(true))) => return,
            Ok(Outcome::Value(Value::Bool(false))) => {
                let detail = self.message(rule, &bindings);
                self.errors.push(failure(rule, this, detail, at));
                return;
            }
            Ok(_) => format!("rule must evaluate to a bool: {words}"),
            Err(error @ ExpressionError::Limit(_)) => {
                self.cost_left = 0;
                format!(
                    "'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {words}"
                )
            }
            Err(error @ ExpressionError::NoSuchOverload { .. }) => format!(
                "'{error}': call arguments did not match a supported operator, function or macro signature for rule: {words}"
            ),
            Err(error) => format!("{error} evaluating rule: {words}"),
        };
        self.errors.push(FieldError::invalid(at.to_string(), type_name, detail));
    }

    fn evaluate(
        &mut self,
        program: &Program,
        bindings: &[(&str, &Value)],
    ) -> Result<Outcome, ExpressionError> {
        let mut limits = Limits::default();
        limits.cost = limits.cost.min(self.cost_left);
        let allowed = limits.cost;
        let outcome = program.evaluate_spending(bindings, &mut limits);
        self.cost_left = self.cost_left.saturating_sub(allowed.saturating_sub(limits.cost));
        outcome
    }

    /// What `messageExpression` gives, if that is a sensible message; else `message`; else the rule.
    fn message(&mut self, rule: &Rule, bindings: &[(&str, &Value)]) -> String {
        if let Some(program) = &rule.message_program
            && let Ok(Outcome::Value(Value::String(text))) = self.evaluate(program, bindings)
            && is_message(&text)
        {
            return text.trim().to_owned();
        }
        if rule.message.is_empty() { format!("failed rule: {}", rule.source) } else { rule.message.clone() }
    }
}

fn is_message(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= MAX_MESSAGE_BYTES && !text.contains(['\n', '\r'])
}

/// Objects and lists are not shown; a duplicate has no words.
fn failure(rule: &Rule, this: &Value, detail: String, at: &Location<'_>) -> FieldError {
    let bad_value = match this {
        Value::Object(_) | Value::Array(_) => None,
        scalar => Some(scalar.clone()),
    };
    let detail = if rule.kind == ErrorKind::Duplicate { String::new() } else { detail };
    FieldError { kind: rule.kind, field: field_of(rule, at), bad_value, detail }
}

fn field_of(rule: &Rule, at: &Location<'_>) -> String {
    let place = at.to_string();
    match (place.is_empty(), rule.field_path.is_empty()) {
        (true, _) => rule.field_path.clone(),
        (false, true) => place,
        (false, false) => format!("{place}.{}", rule.field_path),
    }
}

/// The value as rules see it: integers in fields of type number are doubles, null fields are absent.
fn typed<'v>(node: Node<'_>, value: &'v Value) -> Cow<'v, Value> {
    if needs_conversion(node, value) { Cow::Owned(convert(node, value)) } else { Cow::Borrowed(value) }
}

fn is_double(node: Node<'_>, number: &serde_json::Number) -> bool {
    node.data.types.has(Types::NUMBER) && !node.data.types.has(Types::INTEGER) && !number.is_f64()
}

fn needs_conversion(node: Node<'_>, value: &Value) -> bool {
    match value {
        Value::Number(number) => is_double(node, number),
        Value::Object(members) => members.iter().any(|(name, member)| {
            member.is_null() || node.member(name).is_some_and(|schema| needs_conversion(schema, member))
        }),
        Value::Array(items) => {
            node.items().is_some_and(|schema| items.iter().any(|item| needs_conversion(schema, item)))
        }
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

fn convert(node: Node<'_>, value: &Value) -> Value {
    match value {
        Value::Number(number) if is_double(node, number) => number.as_f64().map_or(Value::Null, Value::from),
        Value::Object(members) => {
            let kept = members.iter().filter(|(_, member)| !member.is_null());
            let converted = kept.map(|(name, member)| {
                let member =
                    node.member(name).map_or_else(|| member.clone(), |schema| convert(schema, member));
                (name.clone(), member)
            });
            Value::Object(converted.collect::<Map<_, _>>())
        }
        Value::Array(items) => {
            let item = |item| node.items().map_or_else(|| Value::clone(item), |schema| convert(schema, item));
            Value::Array(items.iter().map(item).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests;
