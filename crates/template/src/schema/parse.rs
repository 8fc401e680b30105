//! From shorthand to fields.

use serde_json::{Map, Value as Json};

use super::{Field, Kind, SchemaError, marker, validate};
use crate::path::DocumentPath;

/// Fields of a schema with all its types written out.
const MAX_FIELDS: usize = 10_000;
/// Levels of nesting with all types written out.
const MAX_DEPTH: usize = 32;

struct Parser<'t> {
    types: &'t Map<String, Json>,
    /// Types that are being written out, outermost first.
    open: Vec<String>,
    n_fields: usize,
    depth: usize,
}

pub(super) fn parse(parameters: &Json, types: &Json) -> Result<Field, SchemaError> {
    let none = Map::new();
    let types = match types {
        Json::Null => &none,
        Json::Object(types) => types,
        _ => return Err(error(&DocumentPath::new("schema.types"), "must be a map of type definitions")),
    };
    let mut parser = Parser { types, open: Vec::new(), n_fields: 0, depth: 0 };
    let path = DocumentPath::new("schema.parameters");
    match parameters {
        Json::Null => Ok(Field::of(Kind::Object(std::collections::BTreeMap::new()))),
        Json::Object(_) => parser.field(parameters, &path),
        _ => Err(error(&path, "must be a map of parameters")),
    }
}

impl Parser<'_> {
    fn field(&mut self, definition: &Json, path: &DocumentPath) -> Result<Field, SchemaError> {
        self.n_fields += 1;
        if self.n_fields > MAX_FIELDS || self.depth > MAX_DEPTH {
            return Err(error(path, format!("more than {MAX_FIELDS} fields or {MAX_DEPTH} levels")));
        }
        self.depth += 1;
        let field = match definition {
            Json::String(text) => self.shorthand(text, path),
            Json::Object(fields) => self.object(fields, path),
            _ => Err(error(path, "must be a type such as \"string | default=x\", or a map of fields")),
        };
        self.depth -= 1;
        field
    }

    fn object(&mut self, definitions: &Map<String, Json>, path: &DocumentPath) -> Result<Field, SchemaError> {
        let mut fields = std::collections::BTreeMap::new();
        for (name, definition) in definitions {
            if name != "$default" {
                fields.insert(name.clone(), self.field(definition, &path.key(name))?);
            }
        }
        let mut object = Field::of(Kind::Object(fields));
        if let Some(default) = definitions.get("$default") {
            let path = path.key("$default");
            let default = match default {
                Json::String(text) => serde_json::from_str(text)
                    .map_err(|source| error(&path, format!("must be a JSON object: {source}")))?,
                other => other.clone(),
            };
            if !default.is_object() {
                return Err(error(&path, "must be a map, or a string that holds a JSON object"));
            }
            set_default(&mut object, default, &path)?;
        }
        Ok(object)
    }

    fn shorthand(&mut self, text: &str, path: &DocumentPath) -> Result<Field, SchemaError> {
        let (type_text, markers) = text.split_once('|').unwrap_or((text, ""));
        let mut field = self.type_(type_text.trim(), path)?;
        for (name, value) in marker::split(markers).map_err(|message| error(path, message))? {
            if name == "default" {
                let default = marker::literal(&field.kind, &value).map_err(|message| error(path, message))?;
                set_default(&mut field, default, path)?;
            } else {
                marker::apply(&mut field, &name, &value).map_err(|message| error(path, message))?;
            }
        }
        // A default may come before the constraint that it breaks.
        if let Some(default) = field.default.clone() {
            set_default(&mut field, default, path)?;
        }
        Ok(field)
    }

    fn type_(&mut self, text: &str, path: &DocumentPath) -> Result<Field, SchemaError> {
        let kind = match text {
            "string" => Kind::String,
            "integer" => Kind::Integer,
            "number" => Kind::Number,
            "boolean" => Kind::Boolean,
            "" => {
                return Err(error(
                    path,
                    "has no type; write string, integer, number, boolean, []T or map<T>",
                ));
            }
            "object" => {
                let message = "object is no type here: use map<string>, or a map that lists the fields";
                return Err(error(path, message));
            }
            _ => return self.composite(text, path),
        };
        Ok(Field::of(kind))
    }

    fn composite(&mut self, text: &str, path: &DocumentPath) -> Result<Field, SchemaError> {
        let inner = |open: &str| text.strip_prefix(open).and_then(|rest| rest.strip_suffix('>'));
        if let Some(element) = text.strip_prefix("[]").or_else(|| inner("array<")) {
            return Ok(Field::of(Kind::List(Box::new(self.element(text, element, path)?))));
        }
        if let Some(value) = inner("map<") {
            return Ok(Field::of(Kind::Map(Box::new(self.element(text, value, path)?))));
        }
        if let Some(rest) = text.strip_prefix("map[") {
            let (key, value) = rest
                .split_once(']')
                .ok_or_else(|| error(path, format!("invalid map expression {text:?}")))?;
            if key.trim() != "string" {
                return Err(error(
                    path,
                    format!("keys of a map are strings, not {key:?}: write map[string]{value}"),
                ));
            }
            return Ok(Field::of(Kind::Map(Box::new(self.element(text, value, path)?))));
        }
        self.named(text, path)
    }

    /// The type inside `[]`, `map<>` and the like.
    fn element(&mut self, whole: &str, inner: &str, path: &DocumentPath) -> Result<Field, SchemaError> {
        if inner.trim().is_empty() {
            return Err(error(path, format!("unknown type {whole:?}: it names no element type")));
        }
        if self.depth > MAX_DEPTH {
            return Err(error(path, format!("more than {MAX_DEPTH} levels")));
        }
        self.depth += 1;
        let field = self.type_(inner.trim(), path);
        self.depth -= 1;
        field
    }

    fn named(&mut self, name: &str, path: &DocumentPath) -> Result<Field, SchemaError> {
        let Some(definition) = self.types.get(name) else {
            return Err(error(path, format!("unknown type {name:?}: define it in schema.types")));
        };
        if let Some(first) = self.open.iter().position(|open| open == name) {
            let cycle = self.open[first..].join(" -> ");
            return Err(error(path, format!("cyclic type reference: {cycle} -> {name}")));
        }
        self.open.push(name.to_owned());
        let field = self.field(definition, path);
        self.open.pop();
        field
    }
}

/// Sets a default that the field itself accepts.
fn set_default(field: &mut Field, default: Json, path: &DocumentPath) -> Result<(), SchemaError> {
    let mut filled = default.clone();
    super::default::fill(field, &mut filled);
    let mut errors = Vec::new();
    validate::validate(field, &filled, path, &mut errors);
    if let Some(first) = errors.first() {
        return Err(error(path, format!("the default does not fit: {first}")));
    }
    field.default = Some(default);
    Ok(())
}

fn error(path: &DocumentPath, message: impl Into<String>) -> SchemaError {
    SchemaError { path: path.clone(), message: message.into() }
}
