use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::error::Error;
use crate::lower;
use crate::parse;
use crate::program::{Outcome, Program};

/// How many arguments a function takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arity {
    /// Exactly so many.
    Exactly(usize),
    /// So many or more.
    AtLeast(usize),
}

/// The functions expressions may call, and how they are compiled. Cheap to clone; build one and keep it.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    functions: Arc<Functions>,
}

/// What a caller added to the standard library.
#[derive(Debug, Clone, Default)]
pub(crate) struct Functions {
    custom: BTreeMap<&'static str, Custom>,
    escaped_fields: bool,
}

/// A function over JSON.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Custom {
    pub(crate) name: &'static str,
    arity: Arity,
    pub(crate) call: fn(&[Json]) -> Result<Outcome, String>,
}

impl Environment {
    /// The standard library and macros, strings, lists, math, sets, base64, regular expressions, optionals,
    /// two-variable comprehensions, `cel.bind`, and the list functions Kubernetes adds.
    pub fn standard() -> Self {
        Self::default()
    }

    /// Adds a global function over JSON values. It must be pure. Its error text becomes [`Error::InvalidArgument`].
    /// A result of [`Outcome::Absent`] removes the list element or map entry that it is put into.
    #[must_use]
    pub fn with_function(
        mut self,
        name: &'static str,
        arity: Arity,
        call: fn(&[Json]) -> Result<Outcome, String>,
    ) -> Self {
        let functions = Arc::make_mut(&mut self.functions);
        functions.custom.insert(name, Custom { name, arity, call });
        self
    }

    /// Reads `__dot__`, `__dash__`, `__slash__`, `__underscores__` and `__<keyword>__` in field names as Kubernetes
    /// does in validation rules.
    #[must_use]
    pub fn with_escaped_fields(mut self) -> Self {
        Arc::make_mut(&mut self.functions).escaped_fields = true;
        self
    }

    /// Compiles `source`, which may mention the declared `variables`.
    ///
    /// # Errors
    /// Anything that is wrong without looking at data: syntax, names that do not exist, limits.
    pub fn compile(&self, source: &str, variables: &[&str]) -> Result<Program, Error> {
        let lowered =
            parse::with_syntax_tree(source, |tree| lower::lower(tree, variables, &self.functions))??;
        Ok(Program::new(source, variables, lowered))
    }
}

impl Functions {
    /// The added function `name`; an error where it does not take `count` arguments.
    pub(crate) fn custom(&self, name: &str, count: usize) -> Result<Option<Custom>, Error> {
        let Some(custom) = self.custom.get(name) else { return Ok(None) };
        let message = match custom.arity {
            Arity::Exactly(wanted) if count != wanted => format!("requires {wanted} arguments, got {count}"),
            Arity::AtLeast(wanted) if count < wanted => {
                format!("requires at least {wanted} arguments, got {count}")
            }
            Arity::Exactly(_) | Arity::AtLeast(_) => return Ok(Some(*custom)),
        };
        Err(Error::InvalidCall { function: name.to_owned(), message })
    }

    /// The property that a field name in an expression means.
    pub(crate) fn field_name(&self, field: &str) -> Arc<str> {
        if !self.escaped_fields || !field.contains("__") {
            return field.into();
        }
        let keyword = field.strip_prefix("__").and_then(|rest| rest.strip_suffix("__"));
        if let Some(keyword) = keyword
            && KEYWORDS.contains(&keyword)
        {
            return keyword.into();
        }
        let mut name = String::new();
        let mut rest = field;
        while let Some(first) = rest.chars().next() {
            let escape = ESCAPES.iter().find(|(escape, _)| rest.starts_with(escape));
            let (taken, text) = escape.copied().unwrap_or(("", ""));
            if taken.is_empty() {
                name.push(first);
                rest = &rest[first.len_utf8()..];
            } else {
                name.push_str(text);
                rest = &rest[taken.len()..];
            }
        }
        name.into()
    }
}

const ESCAPES: &[(&str, &str)] =
    &[("__underscores__", "__"), ("__dot__", "."), ("__dash__", "-"), ("__slash__", "/")];

/// Words that cannot be field names in an expression as they are.
const KEYWORDS: &[&str] = &[
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];
