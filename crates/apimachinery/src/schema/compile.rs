//! From OpenAPI v3 JSON to the compiled form.

mod keywords;
mod link;
mod rules;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::builtin;
use super::model::{Additional, Arena, NodeData, NodeId, Types};
use super::{Schema, SchemaError};

/// Most nodes of one schema; the largest real CRDs have some ten thousand.
const MAX_NODES: usize = 200_000;
/// Deepest nesting of one schema, `$ref`s not counted.
const MAX_DEPTH: usize = 128;

pub(super) fn custom_resource(schema: &Value) -> Result<Schema, SchemaError> {
    let mut compiler = Compiler::new(Source::CustomResource);
    let root = compiler.node(schema, &At::root("must not be empty at the root"), None)?;
    if !compiler.nodes[root as usize].types.has(Types::OBJECT) {
        return Err(malformed("type", "Invalid value: must be object at the root"));
    }
    compiler.add_object_members(root, schema)?;
    Ok(compiler.finish())
}

pub(super) fn document(document: &Value, pointer: &str) -> Result<Schema, SchemaError> {
    let root = document.pointer(pointer).ok_or_else(|| SchemaError::Reference(pointer.to_owned()))?;
    let name = match pointer.rsplit('/').next() {
        Some(name) if !name.is_empty() => name,
        _ => root.get("title").and_then(Value::as_str).unwrap_or_default(),
    };
    let mut compiler = Compiler::new(Source::Document(document));
    compiler.node(root, &At::root(""), Some(builtin::short_name(name)))?;
    Ok(compiler.finish())
}

pub(super) fn permissive() -> Schema {
    let root = NodeData { preserve_unknown: true, ..NodeData::default() };
    Schema { arena: Arc::new(Arena { nodes: vec![root], custom: false }) }
}

/// Where a schema comes from decides what is an error and what has a meaning by name.
#[derive(Clone, Copy)]
enum Source<'s> {
    CustomResource,
    Document(&'s Value),
}

/// Where the compiler stands.
struct At {
    path: String,
    depth: usize,
    /// In `allOf`, `anyOf`, `oneOf` or `not`, where nothing but checks is allowed.
    logical: bool,
    /// What Kubernetes says when the type is missing here.
    untyped: &'static str,
}

impl At {
    fn root(untyped: &'static str) -> Self {
        Self { path: String::new(), depth: 0, logical: false, untyped }
    }

    fn child(&self, step: &str, untyped: &'static str) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        Self {
            path: format!("{}{dot}{step}", self.path),
            depth: self.depth + 1,
            logical: self.logical,
            untyped,
        }
    }

    fn error(&self, keyword: &str, problem: impl Into<String>) -> SchemaError {
        malformed(self.child(keyword, "").path, problem)
    }
}

fn malformed(path: impl Into<String>, problem: impl Into<String>) -> SchemaError {
    SchemaError::Malformed { path: path.into(), problem: problem.into() }
}

struct Compiler<'s> {
    source: Source<'s>,
    nodes: Vec<NodeData>,
    references: HashMap<&'s str, NodeId>,
}

impl<'s> Compiler<'s> {
    fn new(source: Source<'s>) -> Self {
        Self { source, nodes: Vec::new(), references: HashMap::new() }
    }

    fn reserve(&mut self) -> Result<NodeId, SchemaError> {
        if self.nodes.len() >= MAX_NODES {
            return Err(SchemaError::TooLarge(format!("more than {MAX_NODES} nodes")));
        }
        self.nodes.push(NodeData::default());
        NodeId::try_from(self.nodes.len() - 1).map_err(|_| SchemaError::TooLarge("too many nodes".to_owned()))
    }

    /// Compiles one schema object. `definition` is the short name of the type it defines, if any.
    fn node(&mut self, schema: &'s Value, at: &At, definition: Option<&str>) -> Result<NodeId, SchemaError> {
        if at.depth > MAX_DEPTH {
            return Err(SchemaError::TooLarge(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        let id = self.reserve()?;
        self.fill(id, schema, at, definition)?;
        Ok(id)
    }

    fn fill(
        &mut self,
        id: NodeId,
        schema: &'s Value,
        at: &At,
        definition: Option<&str>,
    ) -> Result<(), SchemaError> {
        let keywords = match schema {
            Value::Object(keywords) => keywords,
            Value::Bool(true) if matches!(self.source, Source::Document(_)) => {
                self.nodes[id as usize].preserve_unknown = true;
                return Ok(());
            }
            _ => return Err(malformed(at.path.clone(), "must be an object")),
        };
        if let Source::Document(document) = self.source
            && let Some(reference) = reference_of(keywords)
        {
            return self.fill_reference(id, document, reference, keywords, at);
        }
        let mut node = keywords::read(keywords, at)?;
        if matches!(self.source, Source::CustomResource) && !at.logical {
            node.rules = rules::read(keywords, at)?;
        }
        if let Some(definition) = definition {
            node.atomic_map |= builtin::is_atomic(definition);
        }
        self.properties(&mut node, keywords, at, definition)?;
        self.additional(&mut node, keywords, at)?;
        if let Some(items) = keywords.get("items") {
            node.items = Some(self.node(
                items,
                &at.child("items", "must not be empty for specified array items"),
                None,
            )?);
        }
        self.logic(&mut node, keywords, at)?;
        if matches!(self.source, Source::Document(_))
            && node.types.is_any()
            && node.properties.is_empty()
            && let Some(checks) = &mut node.checks
        {
            node.union_of = std::mem::take(&mut checks.one_of);
        }
        if definition.is_some_and(builtin::is_any) {
            node = NodeData { preserve_unknown: true, ..NodeData::default() };
        }
        self.judge_type(&mut node, at)?;
        if node.embedded_resource {
            self.embedded_members(&mut node)?;
        }
        self.nodes[id as usize] = node;
        Ok(())
    }

    /// A referenced definition is compiled once per reference, so that recursive types end; keywords beside the
    /// reference (`default`, `nullable`, list extensions) make a variant of it.
    fn fill_reference(
        &mut self,
        id: NodeId,
        document: &'s Value,
        reference: &'s str,
        keywords: &'s Map<String, Value>,
        at: &At,
    ) -> Result<(), SchemaError> {
        let target = if let Some(target) = self.references.get(reference) {
            *target
        } else {
            self.definition(document, reference)?
        };
        let beside = keywords::read(keywords, at)?;
        self.nodes[id as usize] = NodeData { same_as: Some(target), ..beside };
        Ok(())
    }

    fn definition(&mut self, document: &'s Value, reference: &'s str) -> Result<NodeId, SchemaError> {
        let pointer = reference.strip_prefix('#').unwrap_or_default();
        let schema = document
            .pointer(pointer)
            .filter(|_| reference.starts_with('#'))
            .ok_or_else(|| SchemaError::Reference(reference.to_owned()))?;
        let target = self.reserve()?;
        self.references.insert(reference, target);
        let name = builtin::short_name(reference.rsplit('/').next().unwrap_or_default());
        // Depth counts nesting of the text; a chain of definitions is bounded by their number.
        let inner = At { path: reference.to_owned(), depth: 0, logical: false, untyped: "" };
        self.fill(target, schema, &inner, Some(name))?;
        Ok(target)
    }

    fn properties(
        &mut self,
        node: &mut NodeData,
        keywords: &'s Map<String, Value>,
        at: &At,
        definition: Option<&str>,
    ) -> Result<(), SchemaError> {
        let Some(properties) = keywords.get("properties") else { return Ok(()) };
        let properties = properties.as_object().ok_or_else(|| at.error("properties", "must be an object"))?;
        for (name, schema) in properties {
            let step = format!("properties[{name}]");
            let id =
                self.node(schema, &at.child(&step, "must not be empty for specified object fields"), None)?;
            if let Some(definition) = definition {
                self.enrich(id, definition, name);
            }
            node.properties.insert(name.clone(), id);
        }
        Ok(())
    }

    /// Adds what Kubernetes' own OpenAPI says of this property of a built-in type.
    fn enrich(&mut self, id: NodeId, definition: &str, property: &str) {
        let node = &mut self.nodes[id as usize];
        if let Some((list_type, patch_key, strategy)) = builtin::list_rule(definition, property) {
            node.list_type = list_type;
            node.patch_key = patch_key;
            node.patch_strategy = strategy;
        }
        node.atomic_map |= builtin::is_atomic_property(definition, property);
        if let Some(default) = builtin::key_default(definition, property) {
            node.default = Some(default);
        }
    }

    fn additional(
        &mut self,
        node: &mut NodeData,
        keywords: &'s Map<String, Value>,
        at: &At,
    ) -> Result<(), SchemaError> {
        match keywords.get("additionalProperties") {
            None => {}
            Some(Value::Bool(allowed)) => {
                if *allowed && !node.properties.is_empty() && matches!(self.source, Source::CustomResource) {
                    return Err(at.error(
                        "additionalProperties",
                        "Forbidden: must not be used together with properties",
                    ));
                }
                node.preserve_unknown |= *allowed;
            }
            Some(schema) => {
                if !node.properties.is_empty() && matches!(self.source, Source::CustomResource) && !at.logical
                {
                    return Err(at.error(
                        "additionalProperties",
                        "Forbidden: must not be used together with properties",
                    ));
                }
                let at = at.child("additionalProperties", "must not be empty for specified object fields");
                node.additional = Additional::Schema(self.node(schema, &at, None)?);
            }
        }
        Ok(())
    }

    fn logic(
        &mut self,
        node: &mut NodeData,
        keywords: &'s Map<String, Value>,
        at: &At,
    ) -> Result<(), SchemaError> {
        for (keyword, several) in [("allOf", true), ("anyOf", true), ("oneOf", true), ("not", false)] {
            let Some(schemas) = keywords.get(keyword) else { continue };
            let schemas: &[Value] = if several {
                schemas.as_array().ok_or_else(|| at.error(keyword, "must be a list"))?
            } else {
                std::slice::from_ref(schemas)
            };
            let mut ids = Vec::with_capacity(schemas.len());
            for (index, schema) in schemas.iter().enumerate() {
                let step = if several { format!("{keyword}[{index}]") } else { keyword.to_owned() };
                let at = At { logical: true, ..at.child(&step, "") };
                ids.push(self.node(schema, &at, None)?);
            }
            let checks = node.checks.get_or_insert_default();
            match keyword {
                "allOf" => checks.all_of = ids,
                "anyOf" => checks.any_of = ids,
                "oneOf" => checks.one_of = ids,
                _ => checks.not = ids.first().copied(),
            }
        }
        Ok(())
    }

    /// Holds the type against what a structural schema must say, and settles what an untyped node means.
    fn judge_type(&self, node: &mut NodeData, at: &At) -> Result<(), SchemaError> {
        match self.source {
            Source::CustomResource => {
                if node.types.is_any() && !at.logical && !node.int_or_string && !node.preserve_unknown {
                    return Err(at.error("type", format!("Required value: {}", at.untyped)));
                }
                if node.types.has(Types::ARRAY) && node.items.is_none() && !at.logical {
                    return Err(at.error("items", "Required value: must be specified"));
                }
            }
            Source::Document(_) => {
                let says_nothing = node.properties.is_empty()
                    && node.union_of.is_empty()
                    && node.additional == Additional::Unknown
                    && (node.types.has(Types::OBJECT) || node.types.is_any());
                node.preserve_unknown |= says_nothing && !node.int_or_string && !at.logical;
            }
        }
        Ok(())
    }

    /// `apiVersion`, `kind` and `metadata`, which a custom resource schema need not (and cannot fully) describe.
    fn add_object_members(&mut self, root: NodeId, schema: &'s Value) -> Result<(), SchemaError> {
        let mut node = std::mem::take(&mut self.nodes[root as usize]);
        self.embedded_members(&mut node)?;
        for name in ["name", "generateName"] {
            let pointer = format!("/properties/metadata/properties/{name}");
            let Some(schema) = schema.pointer(&pointer) else { continue };
            let at = At::root("must not be empty for specified object fields").child(&pointer, "");
            let id = self.node(schema, &at, None)?;
            if let Some(metadata) = node.properties.get("metadata") {
                self.nodes[*metadata as usize].properties.insert(name.to_owned(), id);
            }
        }
        self.nodes[root as usize] = node;
        Ok(())
    }

    fn embedded_members(&mut self, node: &mut NodeData) -> Result<(), SchemaError> {
        let metadata = builtin::object_meta();
        let text = serde_json::json!({"type": "string"});
        for (name, schema) in [("apiVersion", &text), ("kind", &text), ("metadata", &metadata)] {
            let mut inner = Compiler {
                source: Source::CustomResource,
                nodes: std::mem::take(&mut self.nodes),
                references: HashMap::new(),
            };
            let id = inner.node(schema, &At::root(""), None);
            self.nodes = inner.nodes;
            node.properties.insert(name.to_owned(), id?);
        }
        Ok(())
    }
}

/// The target of a plain `$ref`, or of the `allOf: [{$ref}]` that some generators write to put words beside it.
fn reference_of(keywords: &Map<String, Value>) -> Option<&str> {
    if let Some(reference) = keywords.get("$ref") {
        return reference.as_str();
    }
    match keywords.get("allOf")?.as_array()?.as_slice() {
        [Value::Object(only)] if only.len() == 1 && !keywords.contains_key("properties") => {
            only.get("$ref")?.as_str()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
