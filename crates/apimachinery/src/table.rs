//! Objects as rows: what `kubectl get` shows comes from the server as a `meta.k8s.io/v1` Table.

use jiff::Timestamp;
use serde_json::{Value, json};

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
        let _ = additional_printer_columns;
        Ok(Self::new(Vec::new()))
    }

    /// NAME followed by the given columns.
    pub fn new(columns: Vec<Column>) -> Self {
        Self { columns }
    }

    /// Columns of a built-in resource (`""`, `pods`), NAME and AGE for those without columns of their own.
    pub fn builtin(group: &str, resource: &str) -> Self {
        let _ = (group, resource);
        Self::new(Vec::new())
    }

    /// `columnDefinitions` of the table.
    pub fn definitions(&self) -> Vec<Value> {
        self.columns.iter().map(|column| json!({"name": column.name})).collect()
    }

    /// One row.
    pub fn row(&self, object: &Value, include: IncludeObject, now: Timestamp) -> Value {
        let _ = (object, include, now);
        json!({"cells": []})
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
        json!({
            "kind": "Table",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": list_metadata,
            "columnDefinitions": self.definitions(),
            "rows": rows,
        })
    }
}
