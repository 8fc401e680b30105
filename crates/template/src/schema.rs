//! The schema shorthand: `replicas: integer | default=1`.

mod default;
mod marker;
mod openapi;
mod parse;
mod unquote;
mod validate;

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value as Json;

pub use validate::ParameterError;

use crate::path::DocumentPath;

/// The parameters of a Workflow.
#[derive(Debug, Clone)]
pub struct ParameterSchema {
    root: Field,
}

/// What is wrong with a schema, and where.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct SchemaError {
    /// Where in the schema.
    pub path: DocumentPath,
    /// What is wrong there, and what to write.
    pub message: String,
}

/// A value's type, and what else is asked of it.
#[derive(Debug, Clone)]
struct Field {
    kind: Kind,
    default: Option<Json>,
    rules: Rules,
}

#[derive(Debug, Clone)]
enum Kind {
    String,
    Integer,
    Number,
    Boolean,
    List(Box<Field>),
    Map(Box<Field>),
    Object(BTreeMap<String, Field>),
}

/// Constraints and descriptions, as in OpenAPI.
#[derive(Debug, Clone, Default)]
struct Rules {
    one_of: Vec<Json>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    exclusive_minimum: bool,
    exclusive_maximum: bool,
    multiple_of: Option<f64>,
    min_length: Option<u64>,
    max_length: Option<u64>,
    min_items: Option<u64>,
    max_items: Option<u64>,
    min_properties: Option<u64>,
    max_properties: Option<u64>,
    pattern: Option<Regex>,
    title: Option<String>,
    description: Option<String>,
    format: Option<String>,
    example: Option<Json>,
}

impl ParameterSchema {
    /// Reads `schema.parameters` and `schema.types`; null stands for none.
    pub fn parse(parameters: &Json, types: &Json) -> Result<Self, SchemaError> {
        parse::parse(parameters, types).map(|root| Self { root })
    }

    /// The structural OpenAPI v3 schema.
    pub fn to_openapi(&self) -> Json {
        openapi::schema(&self.root)
    }

    /// The parameters with the defaults of what they leave out. Objects that are left out are made from the
    /// defaults of their fields.
    pub fn with_defaults(&self, parameters: &Json) -> Json {
        let mut parameters =
            if parameters.is_null() { Json::Object(serde_json::Map::new()) } else { parameters.clone() };
        default::fill(&self.root, &mut parameters);
        parameters
    }

    /// What is wrong with parameters that have their defaults already. Unknown ones are wrong, too.
    pub fn validate(&self, parameters: &Json) -> Vec<ParameterError> {
        let mut errors = Vec::new();
        validate::validate(&self.root, parameters, &DocumentPath::new("parameters"), &mut errors);
        errors
    }

    /// Adds defaults and validates.
    pub fn prepare(&self, parameters: &Json) -> Result<Json, Vec<ParameterError>> {
        let parameters = self.with_defaults(parameters);
        let errors = self.validate(&parameters);
        if errors.is_empty() { Ok(parameters) } else { Err(errors) }
    }

    /// Names of the parameters at the top.
    pub fn names(&self) -> Vec<String> {
        match &self.root.kind {
            Kind::Object(fields) => fields.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }
}

impl Field {
    fn of(kind: Kind) -> Self {
        Self { kind, default: None, rules: Rules::default() }
    }
}

impl Kind {
    /// The type's name in OpenAPI.
    fn name(&self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::List(_) => "array",
            Self::Map(_) | Self::Object(_) => "object",
        }
    }
}
