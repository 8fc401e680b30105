//! The macros: calls whose arguments are not all values.

use cel::common::ast::{CallExpr, Expr, IdedExpr, operators};

use super::Lowering;
use crate::error::Error;
use crate::node::{Fold, FoldKind, Node};
use crate::value::Val;

impl Lowering<'_> {
    /// `has(a.b)`; also `has(a["b"])`, which the language itself does not have but users write.
    pub(super) fn has(&mut self, arguments: &[IdedExpr]) -> Result<Node, Error> {
        let invalid = || invalid("has", "takes one selection, as in has(a.b) or has(a[\"b\"])");
        let [argument] = arguments else { return Err(invalid()) };
        match self.expression(argument)? {
            Node::Select(select) if !select.optional => {
                let field = Node::Constant(Val::text(select.field));
                Ok(Node::Has(Box::new((select.operand, field))))
            }
            Node::Index(index) if !index.optional => Ok(Node::Has(Box::new((index.operand, index.key)))),
            _ => Err(invalid()),
        }
    }

    /// `cel.bind(name, value, body)`.
    pub(super) fn bind(&mut self, arguments: &[IdedExpr]) -> Result<Node, Error> {
        let [name, value, body] = arguments else {
            return Err(invalid("cel.bind", "takes a name, a value and an expression"));
        };
        let name = variable("cel.bind", name)?;
        let value = self.expression(value)?;
        let body = self.with_locals(&[name], body)?;
        Ok(Node::Bind(Box::new((value, body))))
    }

    /// A macro called on a target; `None` where the call is none.
    pub(super) fn target_macro(&mut self, call: &CallExpr, target: &IdedExpr) -> Result<Option<Node>, Error> {
        let arguments = call.args.as_slice();
        let name = call.func_name.as_str();
        let kind = match (name, arguments.len()) {
            (operators::ALL, 2 | 3) => FoldKind::All,
            (operators::EXISTS, 2 | 3) => FoldKind::Exists,
            (operators::EXISTS_ONE | "existsOne", 2 | 3) => FoldKind::ExistsOne,
            (operators::FILTER, 2) => FoldKind::Filter,
            (operators::MAP, 2 | 3) | ("transformList", 3 | 4) => FoldKind::Map,
            ("transformMap", 3 | 4) => FoldKind::TransformMap,
            ("transformMapEntry", 3 | 4) => FoldKind::TransformMapEntry,
            ("sortBy", 2) => FoldKind::SortBy,
            ("optMap" | "optFlatMap", 2) => return self.optional_map(name, target, arguments).map(Some),
            _ => return Ok(None),
        };
        let n_variables = match kind {
            FoldKind::All | FoldKind::Exists | FoldKind::ExistsOne => arguments.len() - 1,
            FoldKind::Map if name == operators::MAP => 1,
            FoldKind::Filter | FoldKind::SortBy => 1,
            FoldKind::Map | FoldKind::TransformMap | FoldKind::TransformMapEntry => 2,
        };
        let (variables, expressions) = arguments.split_at(n_variables);
        let names: Result<Vec<_>, _> = variables.iter().map(|argument| variable(name, argument)).collect();
        let names = names?;
        let (filter, body) = match expressions {
            [body] => (None, body),
            [filter, body] => (Some(filter), body),
            _ => return Err(invalid(name, "takes one or two variables and an expression")),
        };
        let range = self.expression(target)?;
        let filter = filter.map(|filter| self.with_locals(&names, filter)).transpose()?;
        let body = self.with_locals(&names, body)?;
        let two_variables = n_variables == 2;
        Ok(Some(Node::Fold(Box::new(Fold { kind, range, two_variables, filter, body }))))
    }

    fn optional_map(&mut self, name: &str, target: &IdedExpr, arguments: &[IdedExpr]) -> Result<Node, Error> {
        let [local, body] = arguments else {
            return Err(invalid(name, "takes a variable and an expression"));
        };
        let local = variable(name, local)?;
        let operand = Box::new(self.expression(target)?);
        let body = Box::new(self.with_locals(&[local], body)?);
        Ok(Node::OptionalMap { operand, body, flat: name == "optFlatMap" })
    }

    fn with_locals(&mut self, names: &[String], body: &IdedExpr) -> Result<Node, Error> {
        let outer = self.locals.len();
        self.locals.extend_from_slice(names);
        let node = self.expression(body);
        self.locals.truncate(outer);
        node
    }
}

fn variable(function: &str, argument: &IdedExpr) -> Result<String, Error> {
    match &argument.expr {
        Expr::Ident(name) => Ok(name.clone()),
        _ => Err(invalid(function, "its variables must be plain names")),
    }
}

fn invalid(function: &str, message: &str) -> Error {
    Error::InvalidCall { function: function.to_owned(), message: message.to_owned() }
}
