//! A document with expressions in its strings: compiled once, rendered for any variables.

use buildplane_expr::{Limits, Outcome, Program};
use serde_json::{Map, Value as Json};

use crate::context::{EXTERNAL_REFS, VARIABLES};
use crate::error::{Error, Problem, shorten};
use crate::functions;
use crate::hyphen;
use crate::path::DocumentPath;
use crate::scan::{Segment, scan};
use crate::text::{to_text, type_of};

/// Levels of nesting in a document.
const MAX_DEPTH: usize = 64;
/// Scalars, lists and maps in a document.
const MAX_NODES: usize = 50_000;
/// Expressions in a Workflow.
const MAX_EXPRESSIONS: usize = 2_000;

/// Compiles documents; what all expressions of a Workflow have in common.
#[derive(Debug)]
pub(crate) struct Compiler<'c> {
    external_ref_ids: &'c [String],
    check: Option<&'c dyn CheckExpression>,
    n_nodes: usize,
    n_expressions: usize,
}

/// A further check of every expression.
pub(crate) trait CheckExpression: std::fmt::Debug {
    /// What is wrong with `program` although it compiles.
    fn problem(&self, program: &Program) -> Option<Problem>;
}

/// A compiled document.
#[derive(Debug, Clone)]
pub(crate) enum Document {
    Constant(Json),
    Text(Text),
    List(Vec<Document>),
    Map(Vec<(Text, Document)>),
}

/// A string of a document.
#[derive(Debug, Clone)]
pub(crate) enum Text {
    Literal(String),
    /// Nothing but one expression: it gives a value of any type.
    Standalone(Program),
    Interpolated(Vec<Part>),
}

#[derive(Debug, Clone)]
pub(crate) enum Part {
    Literal(String),
    Expression(Program),
}

impl<'c> Compiler<'c> {
    pub(crate) fn new(external_ref_ids: &'c [String], check: Option<&'c dyn CheckExpression>) -> Self {
        Self { external_ref_ids, check, n_nodes: 0, n_expressions: 0 }
    }

    /// Compiles `json`, and adds what is wrong with it to `errors`.
    pub(crate) fn document(&mut self, json: &Json, path: &DocumentPath, errors: &mut Vec<Error>) -> Document {
        self.node(json, path, 0, errors)
    }

    fn node(&mut self, json: &Json, path: &DocumentPath, depth: usize, errors: &mut Vec<Error>) -> Document {
        self.n_nodes += 1;
        let too_large = if depth > MAX_DEPTH {
            Some(Problem::TooLarge { what: "levels", limit: MAX_DEPTH })
        } else if self.n_nodes > MAX_NODES {
            Some(Problem::TooLarge { what: "values", limit: MAX_NODES })
        } else {
            None
        };
        if let Some(problem) = too_large {
            // Once is enough: every further value has the same problem.
            if errors.last().is_none_or(|last| last.problem != problem) {
                errors.push(Error::new(path, problem));
            }
            return Document::Constant(Json::Null);
        }
        match json {
            Json::String(text) => match self.text(text, path, errors) {
                Text::Literal(text) => Document::Constant(Json::String(text)),
                text => Document::Text(text),
            },
            Json::Array(items) => Document::List(
                items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| self.node(item, &path.index(index), depth + 1, errors))
                    .collect(),
            ),
            Json::Object(entries) => Document::Map(
                entries
                    .iter()
                    .map(|(key, value)| {
                        let path = path.key(key);
                        (self.text(key, &path, errors), self.node(value, &path, depth + 1, errors))
                    })
                    .collect(),
            ),
            Json::Null | Json::Bool(_) | Json::Number(_) => Document::Constant(json.clone()),
        }
    }

    /// Compiles a string.
    pub(crate) fn text(&mut self, text: &str, path: &DocumentPath, errors: &mut Vec<Error>) -> Text {
        if !text.contains("${") {
            return Text::Literal(text.to_owned());
        }
        let Ok(segments) = scan(text) else {
            errors.push(Error::new(path, Problem::NestedExpression { text: shorten(text.trim()) }));
            return Text::Literal(String::new());
        };
        let blank =
            |segment: &&Segment<'_>| !matches!(segment, Segment::Literal(text) if text.trim().is_empty());
        let significant: Vec<_> = segments.iter().filter(blank).collect();
        if let [Segment::Expression(source)] = significant.as_slice() {
            let program = self.expression(source, path, errors);
            return program.map_or_else(|| Text::Literal(String::new()), Text::Standalone);
        }
        let mut parts = Vec::with_capacity(segments.len());
        for segment in segments {
            match segment {
                Segment::Literal(text) => parts.push(Part::Literal(text.to_owned())),
                Segment::Expression(source) => {
                    parts.extend(self.expression(source, path, errors).map(Part::Expression));
                }
            }
        }
        if parts.iter().all(|part| matches!(part, Part::Literal(_))) {
            let texts = parts.into_iter().filter_map(|part| match part {
                Part::Literal(text) => Some(text),
                Part::Expression(_) => None,
            });
            return Text::Literal(texts.collect());
        }
        Text::Interpolated(parts)
    }

    fn expression(&mut self, source: &str, path: &DocumentPath, errors: &mut Vec<Error>) -> Option<Program> {
        self.n_expressions += 1;
        if self.n_expressions > MAX_EXPRESSIONS {
            if self.n_expressions == MAX_EXPRESSIONS + 1 {
                let problem = Problem::TooLarge { what: "expressions", limit: MAX_EXPRESSIONS };
                errors.push(Error::new(path, problem));
            }
            return None;
        }
        let quoted = hyphen::quote_members(source, EXTERNAL_REFS, self.external_ref_ids);
        match functions::environment().compile(&quoted, &VARIABLES) {
            Ok(program) => {
                if let Some(problem) = self.check.and_then(|check| check.problem(&program)) {
                    errors.push(Error::new(path, problem));
                }
                Some(program)
            }
            Err(error) => {
                errors.push(Error::new(path, Problem::expression(source.trim(), error)));
                None
            }
        }
    }
}

/// Renders documents; what all expressions of a rendering share.
#[derive(Debug)]
pub(crate) struct Renderer<'r> {
    pub(crate) bindings: &'r [(&'r str, &'r Json)],
    pub(crate) limits: Limits,
}

impl Renderer<'_> {
    /// The rendered document; `None` where it renders to nothing.
    pub(crate) fn document(
        &mut self,
        document: &Document,
        path: &DocumentPath,
    ) -> Result<Option<Json>, Error> {
        Ok(Some(match document {
            Document::Constant(json) => json.clone(),
            Document::Text(text) => return self.text(text, path),
            Document::List(items) => {
                let mut rendered = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    rendered.extend(self.document(item, &path.index(index))?);
                }
                Json::Array(rendered)
            }
            Document::Map(entries) => {
                let mut rendered = Map::new();
                for (key, value) in entries {
                    let key = self.key(key, path)?;
                    let Some(value) = self.document(value, &path.key(&key))? else { continue };
                    if rendered.contains_key(&key) {
                        return Err(Error::new(path, Problem::DuplicateKey { key }));
                    }
                    rendered.insert(key, value);
                }
                Json::Object(rendered)
            }
        }))
    }

    fn key(&mut self, key: &Text, path: &DocumentPath) -> Result<String, Error> {
        if let Text::Literal(key) = key {
            return Ok(key.clone());
        }
        let not_string = |actual| Error::new(path, Problem::KeyNotString { key: key.source(), actual });
        match self.text(key, path)? {
            Some(Json::String(key)) => Ok(key),
            Some(other) => Err(not_string(type_of(&other))),
            None => Err(not_string("nothing")),
        }
    }

    /// The rendered string, or the value that it consists of; `None` where that is nothing.
    pub(crate) fn text(&mut self, text: &Text, path: &DocumentPath) -> Result<Option<Json>, Error> {
        match text {
            Text::Literal(text) => Ok(Some(Json::String(text.clone()))),
            Text::Standalone(program) => self.evaluate(program, path),
            Text::Interpolated(parts) => {
                // Each expression is replaced where it stands, so that values that look like expressions stay text.
                let mut rendered = String::new();
                for part in parts {
                    match part {
                        Part::Literal(text) => rendered.push_str(text),
                        Part::Expression(program) => {
                            let value = self.evaluate(program, path)?.ok_or_else(|| {
                                let expression = shorten(program.source().trim());
                                Error::new(path, Problem::AbsentInText { expression })
                            })?;
                            rendered.push_str(&to_text(&value));
                        }
                    }
                }
                Ok(Some(Json::String(rendered)))
            }
        }
    }

    fn evaluate(&mut self, program: &Program, path: &DocumentPath) -> Result<Option<Json>, Error> {
        match program.evaluate_spending(self.bindings, &mut self.limits) {
            Ok(Outcome::Value(json)) => Ok(Some(json)),
            Ok(Outcome::Absent) => Ok(None),
            Err(error) => Err(Error::new(path, Problem::expression(program.source().trim(), error))),
        }
    }
}

impl Text {
    /// The string, more or less as it was written; for messages.
    fn source(&self) -> String {
        let written = match self {
            Self::Literal(text) => text.clone(),
            Self::Standalone(program) => format!("${{{}}}", program.source()),
            Self::Interpolated(parts) => parts
                .iter()
                .map(|part| match part {
                    Part::Literal(text) => text.clone(),
                    Part::Expression(program) => format!("${{{}}}", program.source()),
                })
                .collect(),
        };
        shorten(&written)
    }
}
