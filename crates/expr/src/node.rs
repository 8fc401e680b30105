//! A resolved expression: variables are slots, functions are pointers, macros are gone.

use std::sync::Arc;

use cel::common::ast::IdedExpr;
use regex::Regex;

use crate::environment::Custom;
use crate::library::Native;
use crate::value::Val;

/// One node. Recursion over it is bounded by the nesting limit of compilation.
#[derive(Debug)]
pub(crate) enum Node {
    Constant(Val<'static>),
    Input(usize),
    Local(usize),
    List(Vec<Element>),
    Map(Vec<Entry>),
    Select(Box<Select>),
    Index(Box<Index>),
    /// `has(…)`: whether the key exists.
    Has(Box<(Node, Node)>),
    Not(Box<Node>),
    Negate(Box<Node>),
    And(Box<(Node, Node)>),
    Or(Box<(Node, Node)>),
    Conditional(Box<(Node, Node, Node)>),
    Binary(Binary, Box<(Node, Node)>),
    Native(&'static Native, Vec<Node>),
    Custom(Custom, Vec<Node>),
    Foreign(Box<ForeignCall>, Vec<Node>),
    Matches(Box<(Node, Regex)>),
    /// `cel.bind(name, value, body)`; the value becomes the next local.
    Bind(Box<(Node, Node)>),
    /// `optMap` and `optFlatMap`; the value of the optional becomes the next local.
    OptionalMap {
        operand: Box<Node>,
        body: Box<Node>,
        flat: bool,
    },
    Fold(Box<Fold>),
}

#[derive(Debug)]
pub(crate) struct Element {
    pub(crate) value: Node,
    pub(crate) optional: bool,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: Node,
    pub(crate) value: Node,
    pub(crate) optional: bool,
}

#[derive(Debug)]
pub(crate) struct Select {
    pub(crate) operand: Node,
    pub(crate) field: Arc<str>,
    pub(crate) optional: bool,
}

#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) operand: Node,
    pub(crate) key: Node,
    pub(crate) optional: bool,
}

/// A macro that goes over a list or map. Its one or two variables become the next locals.
#[derive(Debug)]
pub(crate) struct Fold {
    pub(crate) kind: FoldKind,
    pub(crate) range: Node,
    pub(crate) two_variables: bool,
    pub(crate) filter: Option<Node>,
    pub(crate) body: Node,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FoldKind {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
    TransformMap,
    TransformMapEntry,
    SortBy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
}

/// A call that the `cel` crate evaluates, as a tree over the variables `a0`, `a1`, ….
#[derive(Debug)]
pub(crate) struct ForeignCall {
    pub(crate) name: String,
    pub(crate) expression: IdedExpr,
}

impl Binary {
    /// The operator as it is written.
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::In => "in",
        }
    }
}
