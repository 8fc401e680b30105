//! From the parser's syntax tree to a resolved one: names, functions and macros are settled here, once.

mod macros;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};

use crate::environment::Functions;
use crate::error::{Error, LimitExceeded};
use crate::foreign;
use crate::library::{self, Style};
use crate::node::{Binary, Element, Entry, Index, Node, Select};
use crate::value::Val;

/// Levels of nesting in an expression, as resolved. Evaluation recurses as deep.
pub(crate) const MAX_NESTING: usize = 128;

/// Type names that an expression may compare `type(x)` with.
const TYPES: &[&str] = &[
    "bool",
    "bytes",
    "double",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "type",
    "uint",
    "optional_type",
];

/// What resolving found out about an expression.
#[derive(Debug)]
pub(crate) struct Lowered {
    pub(crate) node: Node,
    /// The declared variables it mentions, by index, each with the constant keys selected directly on it.
    pub(crate) used: BTreeMap<usize, BTreeSet<String>>,
}

/// Resolves `expression` against the declared variables and the known functions.
pub(crate) fn lower(
    expression: &IdedExpr,
    variables: &[&str],
    functions: &Functions,
) -> Result<Lowered, Error> {
    let mut lowering = Lowering { variables, functions, used: BTreeMap::new(), locals: Vec::new(), depth: 0 };
    let node = lowering.expression(expression)?;
    Ok(Lowered { node, used: lowering.used })
}

struct Lowering<'e> {
    variables: &'e [&'e str],
    functions: &'e Functions,
    used: BTreeMap<usize, BTreeSet<String>>,
    locals: Vec<String>,
    depth: usize,
}

impl Lowering<'_> {
    fn expression(&mut self, expression: &IdedExpr) -> Result<Node, Error> {
        if self.depth == MAX_NESTING {
            return Err(Error::Limit(LimitExceeded::Nesting { limit: MAX_NESTING }));
        }
        self.depth += 1;
        let node = self.unbounded(expression);
        self.depth -= 1;
        node
    }

    fn unbounded(&mut self, expression: &IdedExpr) -> Result<Node, Error> {
        match &expression.expr {
            Expr::Literal(literal) => Ok(Node::Constant(constant(literal))),
            Expr::Ident(name) => self.identifier(name),
            Expr::Select(select) => {
                if let Some(well_known) = well_known_type(&select.operand, &select.field) {
                    return Ok(Node::Constant(Val::Type(well_known)));
                }
                self.select(&select.operand, &select.field, false)
            }
            Expr::List(list) => {
                let elements: Result<_, _> = list
                    .elements
                    .iter()
                    .enumerate()
                    .map(|(index, value)| {
                        let optional = list.optional_indices.contains(&index);
                        Ok(Element { value: self.expression(value)?, optional })
                    })
                    .collect();
                Ok(Node::List(elements?))
            }
            Expr::Map(map) => {
                let mut entries = Vec::with_capacity(map.entries.len());
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else {
                        return Err(unsupported("a struct field in a map"));
                    };
                    entries.push(Entry {
                        key: self.expression(&entry.key)?,
                        value: self.expression(&entry.value)?,
                        optional: entry.optional,
                    });
                }
                Ok(Node::Map(entries))
            }
            Expr::Call(call) => match &call.target {
                None => self.global_call(call),
                Some(target) => self.member_call(call, target),
            },
            Expr::Struct(object) => Err(Error::UndeclaredReference { name: object.type_name.clone() }),
            Expr::Comprehension(_) | Expr::Unspecified => Err(unsupported("an unknown construct")),
        }
    }

    fn identifier(&mut self, name: &str) -> Result<Node, Error> {
        let name = name.strip_prefix('.').unwrap_or(name);
        if let Some(slot) = self.locals.iter().rposition(|local| local == name) {
            return Ok(Node::Local(slot));
        }
        if let Some(index) = self.variables.iter().position(|variable| *variable == name) {
            self.used.entry(index).or_default();
            return Ok(Node::Input(index));
        }
        match TYPES.iter().find(|type_name| **type_name == name) {
            Some(type_name) => Ok(Node::Constant(Val::Type(type_name))),
            None => Err(Error::UndeclaredReference { name: name.to_owned() }),
        }
    }

    /// Whether `name` means a value here, so that `name.f()` is a call on it.
    fn is_value(&self, name: &str) -> bool {
        self.locals.iter().any(|local| local == name) || self.variables.contains(&name)
    }

    fn select(&mut self, operand: &IdedExpr, field: &str, optional: bool) -> Result<Node, Error> {
        let field = self.functions.field_name(field);
        let operand = self.expression(operand)?;
        self.note_member(&operand, &field);
        Ok(Node::Select(Box::new(Select { operand, field, optional })))
    }

    fn index(&mut self, operand: &IdedExpr, index: &IdedExpr, optional: bool) -> Result<Node, Error> {
        let operand = self.expression(operand)?;
        let key = self.expression(index)?;
        if let Node::Constant(Val::Text(key)) = &key {
            self.note_member(&operand, key);
        }
        Ok(Node::Index(Box::new(Index { operand, key, optional })))
    }

    fn note_member(&mut self, operand: &Node, member: &str) {
        if let Node::Input(variable) = operand {
            self.used.entry(*variable).or_default().insert(member.to_owned());
        }
    }

    fn global_call(&mut self, call: &CallExpr) -> Result<Node, Error> {
        if let [left, right] = call.args.as_slice() {
            if let Some(operator) = binary_operator(&call.func_name) {
                let operands = (self.expression(left)?, self.expression(right)?);
                return Ok(Node::Binary(operator, Box::new(operands)));
            }
            match call.func_name.as_str() {
                operators::LOGICAL_AND => return Ok(Node::And(self.pair(left, right)?)),
                operators::LOGICAL_OR => return Ok(Node::Or(self.pair(left, right)?)),
                operators::INDEX => return self.index(left, right, false),
                operators::OPT_INDEX => return self.index(left, right, true),
                operators::OPT_SELECT => {
                    let Expr::Literal(LiteralValue::String(field)) = &right.expr else {
                        return Err(unsupported("an optional selection without a field name"));
                    };
                    return self.select(left, field.inner(), true);
                }
                _ => {}
            }
        }
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_NOT, [operand]) => Ok(Node::Not(Box::new(self.expression(operand)?))),
            (operators::NEGATE, [operand]) => Ok(Node::Negate(Box::new(self.expression(operand)?))),
            (operators::CONDITIONAL, [condition, then, otherwise]) => Ok(Node::Conditional(Box::new((
                self.expression(condition)?,
                self.expression(then)?,
                self.expression(otherwise)?,
            )))),
            (operators::HAS, arguments) => self.has(arguments),
            (name, arguments) => {
                let node = self.function(name, None, arguments)?;
                node.ok_or_else(|| Error::UnknownFunction { name: name.to_owned() })
            }
        }
    }

    fn pair(&mut self, left: &IdedExpr, right: &IdedExpr) -> Result<Box<(Node, Node)>, Error> {
        Ok(Box::new((self.expression(left)?, self.expression(right)?)))
    }

    fn member_call(&mut self, call: &CallExpr, target: &IdedExpr) -> Result<Node, Error> {
        if let Expr::Ident(namespace) = &target.expr
            && !self.is_value(namespace)
        {
            let name = format!("{namespace}.{}", call.func_name);
            if name == "cel.bind" {
                return self.bind(&call.args);
            }
            if let Some(node) = self.function(&name, None, &call.args)? {
                return Ok(node);
            }
        }
        if let Some(node) = self.target_macro(call, target)? {
            return Ok(node);
        }
        let node = self.function(&call.func_name, Some(target), &call.args)?;
        node.ok_or_else(|| Error::UnknownFunction { name: call.func_name.clone() })
    }

    /// A call of the function `name`, global or on a target; `None` where there is no such function.
    fn function(
        &mut self,
        name: &str,
        target: Option<&IdedExpr>,
        arguments: &[IdedExpr],
    ) -> Result<Option<Node>, Error> {
        let style = if target.is_some() { Style::Member } else { Style::Global };
        let count = arguments.len() + usize::from(target.is_some());
        let custom = if target.is_none() { self.functions.custom(name, count)? } else { None };
        let native = library::find(name, style, count)?;
        let foreign = match style {
            Style::Member => foreign::member(name, count),
            Style::Global | Style::Both => foreign::global(name, count),
        };
        if custom.is_none() && native.is_none() && foreign.is_none() {
            return Ok(None);
        }
        let mut nodes = Vec::with_capacity(count);
        for argument in target.into_iter().chain(arguments) {
            nodes.push(self.expression(argument)?);
        }
        if let Some(custom) = custom {
            return Ok(Some(Node::Custom(custom, nodes)));
        }
        if let Some(native) = native {
            return library::strings::precompiled(native, nodes).map(Some);
        }
        Ok(foreign.map(|call| Node::Foreign(Box::new(call), nodes)))
    }
}

fn constant(literal: &LiteralValue) -> Val<'static> {
    match literal {
        LiteralValue::Boolean(value) => Val::Bool(*value.inner()),
        LiteralValue::Bytes(value) => foreign::bytes(value.inner()),
        LiteralValue::Double(value) => Val::Double(*value.inner()),
        LiteralValue::Int(value) => Val::Int(*value.inner()),
        LiteralValue::Null => Val::Null,
        LiteralValue::String(value) => Val::text(Arc::<str>::from(value.inner())),
        LiteralValue::UInt(value) => foreign::uint(*value.inner()),
    }
}

fn binary_operator(name: &str) -> Option<Binary> {
    Some(match name {
        operators::ADD => Binary::Add,
        operators::SUBSTRACT => Binary::Subtract,
        operators::MULTIPLY => Binary::Multiply,
        operators::DIVIDE => Binary::Divide,
        operators::MODULO => Binary::Modulo,
        operators::EQUALS => Binary::Equal,
        operators::NOT_EQUALS => Binary::NotEqual,
        operators::LESS => Binary::Less,
        operators::LESS_EQUALS => Binary::LessEqual,
        operators::GREATER => Binary::Greater,
        operators::GREATER_EQUALS => Binary::GreaterEqual,
        operators::IN => Binary::In,
        _ => return None,
    })
}

/// The two types whose names are qualified.
fn well_known_type(operand: &IdedExpr, field: &str) -> Option<&'static str> {
    let Expr::Select(package) = &operand.expr else { return None };
    let Expr::Ident(root) = &package.operand.expr else { return None };
    if root != "google" || package.field != "protobuf" {
        return None;
    }
    match field {
        "Duration" => Some("google.protobuf.Duration"),
        "Timestamp" => Some("google.protobuf.Timestamp"),
        _ => None,
    }
}

fn unsupported(what: &str) -> Error {
    Error::InvalidCall { function: "expression".to_owned(), message: format!("{what} is not supported") }
}
