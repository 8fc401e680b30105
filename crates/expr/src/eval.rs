//! Evaluation of a resolved expression.

mod fold;

use crate::budget::Budget;
use crate::environment::Custom;
use crate::error::Error;
use crate::node::{Index, Node, Select};
use crate::output;
use crate::program::Outcome;
use crate::value::{Key, Val};
use crate::{foreign, operators};

/// One evaluation: the values of the variables, and what may still be spent.
pub(crate) struct Evaluation<'n, 'a> {
    pub(crate) names: &'n [String],
    pub(crate) inputs: Vec<Option<Val<'a>>>,
    pub(crate) locals: Vec<Val<'a>>,
    pub(crate) budget: Budget,
}

impl<'a> Evaluation<'_, 'a> {
    /// Gives the value of `node`. Recursion is bounded by the nesting limit of compilation.
    pub(crate) fn node(&mut self, node: &Node) -> Result<Val<'a>, Error> {
        self.budget.take(1)?;
        match node {
            Node::Constant(value) => Ok(value.clone()),
            Node::Input(index) => self.input(*index),
            Node::Local(slot) => Ok(self.locals[*slot].clone()),
            Node::List(elements) => self.list(elements),
            Node::Map(entries) => self.map(entries),
            Node::Select(select) => self.select(select),
            Node::Index(index) => self.index(index),
            Node::Has(parts) => self.has(&parts.0, &parts.1),
            Node::Not(operand) => match self.node(operand)? {
                Val::Bool(value) => Ok(Val::Bool(!value)),
                other => Err(no_overload("!", &[&other])),
            },
            Node::Negate(operand) => {
                let value = self.node(operand)?;
                operators::negate(&value)
            }
            Node::And(operands) => self.logical(&operands.0, &operands.1, false),
            Node::Or(operands) => self.logical(&operands.0, &operands.1, true),
            Node::Conditional(parts) => match self.node(&parts.0)? {
                Val::Bool(true) => self.node(&parts.1),
                Val::Bool(false) => self.node(&parts.2),
                other => Err(no_overload("?:", &[&other])),
            },
            Node::Binary(operator, operands) => {
                let left = self.node(&operands.0)?;
                let right = self.node(&operands.1)?;
                operators::binary(*operator, &left, &right, &mut self.budget)
            }
            Node::Native(native, arguments) => {
                let arguments = self.arguments(arguments)?;
                (native.call)(&arguments, &mut self.budget)
            }
            Node::Custom(custom, arguments) => self.custom(custom, arguments),
            Node::Foreign(call, arguments) => {
                let arguments = self.arguments(arguments)?;
                foreign::evaluate(call, &arguments, &mut self.budget)
            }
            Node::Matches(parts) => match self.node(&parts.0)? {
                Val::Text(text) => {
                    self.budget.take_bytes(text.len())?;
                    Ok(Val::Bool(parts.1.is_match(&text)))
                }
                other => Err(no_overload("matches", &[&other])),
            },
            Node::Bind(parts) => {
                let value = self.node(&parts.0)?;
                self.with_local(value, &parts.1)
            }
            Node::OptionalMap { operand, body, flat } => self.optional_map(operand, body, *flat),
            Node::Fold(fold) => self.fold(fold),
        }
    }

    fn input(&self, index: usize) -> Result<Val<'a>, Error> {
        let value = self.inputs.get(index).cloned().flatten();
        value.ok_or_else(|| Error::Unbound { name: self.names.get(index).cloned().unwrap_or_default() })
    }

    fn arguments(&mut self, nodes: &[Node]) -> Result<Vec<Val<'a>>, Error> {
        nodes.iter().map(|node| self.node(node)).collect()
    }

    fn custom(&mut self, custom: &Custom, arguments: &[Node]) -> Result<Val<'a>, Error> {
        let mut values = Vec::with_capacity(arguments.len());
        for argument in arguments {
            let value = self.node(argument)?;
            values.push(output::to_json(&value, &mut self.budget)?);
        }
        match (custom.call)(&values) {
            Ok(Outcome::Value(json)) => Ok(Val::from_owned_json(json)),
            Ok(Outcome::Absent) => Ok(Val::Absent),
            Err(message) => Err(Error::InvalidArgument { function: custom.name.to_owned(), message }),
        }
    }

    fn list(&mut self, elements: &[crate::node::Element]) -> Result<Val<'a>, Error> {
        let mut items = Vec::with_capacity(elements.len());
        for element in elements {
            let value = self.node(&element.value)?;
            items.extend(present(value, element.optional)?);
        }
        Ok(Val::list(items))
    }

    fn map(&mut self, entries: &[crate::node::Entry]) -> Result<Val<'a>, Error> {
        let mut map = std::collections::BTreeMap::new();
        for entry in entries {
            let key = self.node(&entry.key)?;
            let key = Key::of(&key).ok_or_else(|| no_overload("map key", &[&key]))?;
            let value = self.node(&entry.value)?;
            let Some(value) = present(value, entry.optional)? else { continue };
            if map.contains_key(&key) {
                return Err(Error::DuplicateKey { key: key.to_string() });
            }
            map.insert(key, value);
        }
        Ok(Val::map(map))
    }

    fn select(&mut self, select: &Select) -> Result<Val<'a>, Error> {
        match self.node(&select.operand)? {
            Val::Map(map) => match (map.field(&select.field), select.optional) {
                (Some(value), false) => Ok(value),
                (Some(value), true) => Ok(Val::some(value)),
                (None, true) => Ok(Val::Optional(None)),
                (None, false) => Err(Error::NoSuchKey { key: select.field.to_string() }),
            },
            // A selection on an optional gives an optional, whatever the operator.
            Val::Optional(None) => Ok(Val::Optional(None)),
            Val::Optional(Some(inner)) => match &*inner {
                Val::Map(map) => Ok(Val::Optional(map.field(&select.field).map(std::sync::Arc::new))),
                other => Err(no_field(other, &select.field)),
            },
            other => Err(no_field(&other, &select.field)),
        }
    }

    fn index(&mut self, index: &Index) -> Result<Val<'a>, Error> {
        let operand = self.node(&index.operand)?;
        let key = self.node(&index.key)?;
        match operand {
            Val::Optional(None) => Ok(Val::Optional(None)),
            Val::Optional(Some(inner)) => optional(operators::index(&inner, &key)),
            operand if index.optional => optional(operators::index(&operand, &key)),
            operand => operators::index(&operand, &key),
        }
    }

    fn has(&mut self, operand: &Node, key: &Node) -> Result<Val<'a>, Error> {
        let operand = self.node(operand)?;
        let key = self.node(key)?;
        let found = match &operand {
            Val::Map(_) | Val::List(_) => operators::index(&operand, &key),
            Val::Optional(None) => return Ok(Val::Bool(false)),
            Val::Optional(Some(inner)) => operators::index(inner, &key),
            other => return Err(no_overload("has", &[other])),
        };
        match found {
            Ok(_) => Ok(Val::Bool(true)),
            Err(Error::NoSuchKey { .. } | Error::IndexOutOfRange { .. }) => Ok(Val::Bool(false)),
            Err(error) => Err(error),
        }
    }

    /// `&&` and `||`: a side that decides the result wins over an error on the other.
    fn logical(&mut self, left: &Node, right: &Node, decisive: bool) -> Result<Val<'a>, Error> {
        let symbol = if decisive { "||" } else { "&&" };
        let left = self.truth(left, symbol);
        if left == Ok(decisive) || matches!(left, Err(Error::Limit(_))) {
            return left.map(Val::Bool);
        }
        let right = self.truth(right, symbol)?;
        if right == decisive { Ok(Val::Bool(decisive)) } else { left.map(Val::Bool) }
    }

    fn truth(&mut self, node: &Node, operation: &str) -> Result<bool, Error> {
        match self.node(node)? {
            Val::Bool(value) => Ok(value),
            other => Err(no_overload(operation, &[&other])),
        }
    }

    fn with_local(&mut self, value: Val<'a>, body: &Node) -> Result<Val<'a>, Error> {
        self.locals.push(value);
        let result = self.node(body);
        self.locals.pop();
        result
    }

    fn optional_map(&mut self, operand: &Node, body: &Node, flat: bool) -> Result<Val<'a>, Error> {
        let inner = match self.node(operand)? {
            Val::Optional(None) => return Ok(Val::Optional(None)),
            Val::Optional(Some(inner)) => inner,
            other => return Err(no_overload("optMap", &[&other])),
        };
        match (self.with_local((*inner).clone(), body)?, flat) {
            (value, false) => Ok(Val::some(value)),
            (value @ Val::Optional(_), true) => Ok(value),
            (other, true) => Err(no_overload("optFlatMap", &[&other])),
        }
    }
}

/// What goes into a list or map: nothing for the absent value and for an empty optional marked with `?`.
fn present(value: Val<'_>, optional: bool) -> Result<Option<Val<'_>>, Error> {
    match (value, optional) {
        (Val::Absent, _) | (Val::Optional(None), true) => Ok(None),
        (Val::Optional(Some(inner)), true) => Ok(Some((*inner).clone())),
        (other, true) => Err(no_overload("optional entry", &[&other])),
        (value, false) => Ok(Some(value)),
    }
}

fn optional(found: Result<Val<'_>, Error>) -> Result<Val<'_>, Error> {
    match found {
        Ok(value) => Ok(Val::some(value)),
        Err(Error::NoSuchKey { .. } | Error::IndexOutOfRange { .. }) => Ok(Val::Optional(None)),
        Err(error) => Err(error),
    }
}

fn no_field(operand: &Val<'_>, field: &str) -> Error {
    no_overload(&format!("select .{field}"), &[operand])
}

/// The error for an operation that does not work on these values.
pub(crate) fn no_overload(operation: &str, operands: &[&Val<'_>]) -> Error {
    let types = operands.iter().map(|operand| operand.type_name()).collect();
    Error::NoSuchOverload { operation: operation.to_owned(), types }
}
