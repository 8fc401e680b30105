//! Structural schemas: what an object of a kind may hold, and what the server does with it.
//!
//! A [`Schema`] is compiled once per kind from OpenAPI v3 JSON and then used on every write, in this order:
//! [`Schema::prune`], [`Schema::default`], [`Schema::validate`], [`Schema::validate_rules`]. It also tells
//! [`crate::managed`] and [`crate::patch`] how lists and maps merge.

mod builtin;
mod compile;
mod model;
mod prune;
mod rules;
mod validate;

use serde_json::Value;

pub(crate) use model::{ListType, Node, PatchStrategy};

use crate::field::FieldError;

/// Why a schema cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// A `$ref` that leads nowhere, or out of the document.
    #[error("unresolvable $ref {0:?}")]
    Reference(String),
    /// The schema, or a keyword in it, has the wrong form.
    #[error("{path}: {problem}")]
    Malformed {
        /// Where in the schema, as `properties[spec].type`.
        path: String,
        /// What is wrong there.
        problem: String,
    },
    /// More nodes, deeper nesting or a longer pattern than a schema may have.
    #[error("schema is too large: {0}")]
    TooLarge(String),
}

/// A compiled structural schema; cheap to clone.
#[derive(Clone, Debug)]
pub struct Schema {
    pub(crate) arena: std::sync::Arc<model::Arena>,
}

/// What can be judged only against the object before the write.
#[derive(Clone, Copy, Debug)]
pub enum Previous<'a> {
    /// The object is being created.
    Absent,
    /// The object is being replaced; unchanged invalid values are tolerated (ratcheting).
    Object(&'a Value),
}

impl Schema {
    /// Compiles `openAPIV3Schema` of a custom resource version.
    ///
    /// `apiVersion`, `kind` and `metadata` get the standard types, whatever the schema says of them; so do those of
    /// embedded resources.
    ///
    /// # Errors
    /// The schema is not structural or exceeds the limits.
    pub fn from_crd(open_api_v3_schema: &Value) -> Result<Self, SchemaError> {
        compile::custom_resource(open_api_v3_schema)
    }

    /// Compiles the schema of a built-in kind out of a document with `$ref`s, such as what schemars makes of a
    /// `k8s-openapi` type (root pointer `""`) or an OpenAPI document (pointer `/components/schemas/…`).
    ///
    /// List types and patch keys that the document does not carry are added by definition name
    /// (`io.k8s.api.core.v1.Container` …) from the table of Kubernetes' own extensions.
    ///
    /// # Errors
    /// The pointer or a `$ref` leads nowhere, or the schema exceeds the limits.
    pub fn from_document(document: &Value, pointer: &str) -> Result<Self, SchemaError> {
        compile::document(document, pointer)
    }

    /// A schema that knows nothing: keeps every field, maps merge, lists are atomic.
    pub fn permissive() -> Self {
        compile::permissive()
    }

    /// Removes the fields the schema does not know; returns their paths (`spec.foo`) in document order, at most
    /// [`MAX_REPORTED`] of them, for `strict decoding error: unknown field "spec.foo"`.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        prune::prune(self.root(), object)
    }

    /// Fills in defaults where a field is absent (or null where null is not allowed).
    pub fn default(&self, object: &mut Value) {
        prune::default(self.root(), object);
    }

    /// What the schema says is wrong with the object; at most [`MAX_REPORTED`] errors. Does not evaluate rules.
    pub fn validate(&self, object: &Value, previous: Previous<'_>) -> Vec<FieldError> {
        let mut errors = validate::validate(self.root(), object, previous);
        errors.extend(validate::invariants(self.root(), object, previous));
        errors.truncate(MAX_REPORTED);
        errors
    }

    /// Evaluates `x-kubernetes-validations`. Call it only on an object that [`Schema::validate`] accepts.
    ///
    /// Transition rules (those that use `oldSelf`) are skipped without a previous object, unless
    /// `optionalOldSelf` is set.
    pub fn validate_rules(&self, object: &Value, previous: Previous<'_>) -> Vec<FieldError> {
        rules::validate(self.root(), object, previous)
    }

    /// [`Schema::validate`], then [`Schema::validate_rules`] unless an error makes them meaningless: what an API
    /// server answers.
    pub fn judge(&self, object: &Value, previous: Previous<'_>) -> Vec<FieldError> {
        let mut errors = self.validate(object, previous);
        if !self.root().has_rules() {
            return errors;
        }
        if errors.iter().any(|error| error.kind.blocks_rules()) {
            let detail = "some validation rules were not checked because the object was invalid; correct the existing \
                          errors to complete validation";
            errors.push(FieldError::invalid("<nil>", Value::Null, detail));
        } else {
            errors.extend(self.validate_rules(object, previous));
        }
        errors
    }

    pub(crate) fn root(&self) -> Node<'_> {
        Node::root(&self.arena)
    }
}

/// Most errors or unknown fields that are reported for one object.
pub const MAX_REPORTED: usize = 100;
