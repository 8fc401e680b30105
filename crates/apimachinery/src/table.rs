//! Objects as rows: what `kubectl get` shows comes from the server as a `meta.k8s.io/v1` Table.

mod age;
mod builtin;

use jiff::Timestamp;
use serde_json::{Map, Number, Value, json};

pub use age::{age, human_duration};

use crate::jsonpath::{JsonPath, JsonPathError};

/// What is put into each row beside the cells (query parameter `includeObject`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// `PartialObjectMetadata`, the default.
    #[default]
    Metadata,
    /// The whole object.
    Object,
    /// Nothing.
    None,
}

/// How a cell is computed.
#[derive(Clone, Debug)]
pub enum Cell {
    /// The first value at a path; a `date` column shows its age.
    Path(JsonPath),
    /// Computed from the object, for the built-in kinds.
    Derived(fn(&Value, Timestamp) -> Value),
}

/// One column.
#[derive(Clone, Debug)]
pub struct Column {
    /// Heading; kubectl shows it in upper case.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: String,
    /// OpenAPI format; `name` marks the name column.
    pub format: String,
    /// Explanation.
    pub description: String,
    /// 0 is always shown, anything higher only with `-o wide`.
    pub priority: i64,
    /// Where the value comes from.
    pub cell: Cell,
}

/// The columns of a kind.
#[derive(Clone, Debug)]
pub struct Columns {
    columns: Vec<Column>,
}

impl Columns {
    /// Columns of a custom resource: NAME, then `additionalPrinterColumns`, or AGE where there are none.
    ///
    /// # Errors
    /// A path is not in the supported subset of JSONPath.
    pub fn from_crd(additional_printer_columns: &[Value]) -> Result<Self, JsonPathError> {
        if additional_printer_columns.is_empty() {
            let age = Column { kind: "date".to_owned(), ..Column::derived("Age", builtin::age_cell) };
            return Ok(Self::new(vec![age]));
        }
        let columns: Result<Vec<Column>, JsonPathError> =
            additional_printer_columns.iter().map(Column::from_crd).collect();
        columns.map(Self::new)
    }

    /// NAME followed by the given columns.
    pub fn new(columns: Vec<Column>) -> Self {
        let name = Column { format: "name".to_owned(), ..Column::derived("Name", builtin::name_cell) };
        Self { columns: std::iter::once(name).chain(columns).collect() }
    }

    /// Columns of a built-in resource (`""`, `pods`), NAME and AGE for those without columns of their own.
    pub fn builtin(group: &str, resource: &str) -> Self {
        builtin::columns(group, resource)
    }

    /// `columnDefinitions` of the table.
    pub fn definitions(&self) -> Vec<Value> {
        let definition = |column: &Column| {
            json!({
                "name": column.name,
                "type": column.kind,
                "format": column.format,
                "description": column.description,
                "priority": column.priority,
            })
        };
        self.columns.iter().map(definition).collect()
    }

    /// One row.
    pub fn row(&self, object: &Value, include: IncludeObject, now: Timestamp) -> Value {
        let cells: Vec<Value> = self.columns.iter().map(|column| column.cell(object, now)).collect();
        let mut row = Map::new();
        row.insert("cells".to_owned(), Value::Array(cells));
        let included = match include {
            IncludeObject::None => None,
            IncludeObject::Object => Some(object.clone()),
            IncludeObject::Metadata => Some(json!({
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": object.get("metadata"),
            })),
        };
        row.extend(included.map(|object| ("object".to_owned(), object)));
        Value::Object(row)
    }

    /// A whole table. `list_metadata` is the `metadata` of the list (`resourceVersion`, `continue`, …).
    pub fn table<'v>(
        &self,
        objects: impl IntoIterator<Item = &'v Value>,
        list_metadata: Value,
        include: IncludeObject,
        now: Timestamp,
    ) -> Value {
        let rows: Vec<Value> = objects.into_iter().map(|object| self.row(object, include, now)).collect();
        let mut table = Map::new();
        table.insert("kind".to_owned(), Value::from("Table"));
        table.insert("apiVersion".to_owned(), Value::from("meta.k8s.io/v1"));
        table.insert("metadata".to_owned(), list_metadata);
        table.insert("columnDefinitions".to_owned(), Value::Array(self.definitions()));
        table.insert("rows".to_owned(), Value::Array(rows));
        Value::Object(table)
    }
}

impl Column {
    /// A string column that is always shown.
    pub fn derived(name: &str, cell: fn(&Value, Timestamp) -> Value) -> Self {
        Self {
            name: name.to_owned(),
            kind: "string".to_owned(),
            format: String::new(),
            description: String::new(),
            priority: 0,
            cell: Cell::Derived(cell),
        }
    }

    fn from_crd(column: &Value) -> Result<Self, JsonPathError> {
        let text = |name: &str| column.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let path = text("jsonPath");
        let mut description = text("description");
        if description.is_empty() {
            description = format!("Custom resource definition column (in JSONPath format): {path}");
        }
        Ok(Self {
            name: text("name"),
            kind: text("type"),
            format: text("format"),
            description,
            priority: column.get("priority").and_then(Value::as_i64).unwrap_or_default(),
            cell: Cell::Path(JsonPath::parse(&path)?),
        })
    }

    fn cell(&self, object: &Value, now: Timestamp) -> Value {
        match &self.cell {
            Cell::Derived(derive) => derive(object, now),
            Cell::Path(path) => {
                let found = path.find(object);
                match found.first() {
                    None => Value::Null,
                    Some(_) if self.kind == "string" => {
                        let texts: Vec<String> = found.into_iter().map(plain).collect();
                        Value::String(texts.join(" "))
                    }
                    Some(value) => typed(&self.kind, value, now),
                }
            }
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The value as its column's type, null if it is of another.
fn typed(kind: &str, value: &Value, now: Timestamp) -> Value {
    match (kind, value) {
        ("integer", Value::Number(number)) => integer(number),
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value.clone(),
        ("date", Value::String(text)) => {
            Value::String(age(text, now).unwrap_or_else(|| "<invalid>".to_owned()))
        }
        _ => Value::Null,
    }
}

fn integer(number: &Number) -> Value {
    if number.is_i64() || number.is_u64() {
        return Value::Number(number.clone());
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "Kubernetes cuts off the fraction too; `as` saturates"
    )]
    number.as_f64().map_or(Value::Null, |float| Value::from(float as i64))
}

#[cfg(test)]
mod tests;
