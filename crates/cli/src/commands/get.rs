//! `buildplane get`: objects of the platform as tables or documents.

use futures::StreamExt as _;
use kube::api::WatchEvent;
use serde_json::Value;

use crate::connection::{Connection, ConnectionArgs};
use crate::exit::ExitStatus;
use crate::failure::{Failure, Result};
use crate::output::document::{DocumentFormat, Format, render};
use crate::output::table::Table;
use crate::output::{line, note};
use crate::resources::{GROUP, Kind, Scope};
use crate::rest::{self, Query, Representation};

/// Show runs, planes and the other resources of the platform
#[derive(Debug, clap::Args)]
pub(crate) struct GetArgs {
    /// Resource type, or TYPE/NAME: workflowruns (wfr), workflows, buildplanes (bp), clusterbuildplanes (cbp), …
    #[arg(value_name = "TYPE", default_value = "workflowruns")]
    resource: String,
    /// Names; all of them when none is given
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
    /// Keep watching for changes
    #[arg(short, long)]
    watch: bool,
    /// In all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Label selector
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
    /// Leave the header line out
    #[arg(long)]
    no_headers: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// What is to be shown, decided once.
struct Selection {
    kind: Kind,
    names: Vec<String>,
    namespace: Option<String>,
    selector: Option<String>,
}

impl Selection {
    /// One query for the collection, or one for each name.
    fn queries(&self) -> Vec<Query> {
        let path = self.kind.path(self.namespace.as_deref());
        if self.names.is_empty() {
            return vec![Query::new(path).parameter("labelSelector", self.selector.clone())];
        }
        self.names.iter().map(|name| Query::new(format!("{path}/{}", rest::percent_encode(name)))).collect()
    }

    /// The query to watch: a single object is a collection with a field selector.
    fn watch_query(&self) -> Query {
        Query::new(self.kind.path(self.namespace.as_deref()))
            .parameter("labelSelector", self.selector.clone())
            .parameter("fieldSelector", self.names.first().map(|name| format!("metadata.name={name}")))
    }
}

pub(crate) async fn run(args: GetArgs) -> Result<ExitStatus> {
    let (resource, mut names) = (args.resource.as_str(), args.names.clone());
    let resource = match resource.split_once('/') {
        Some((resource, name)) => {
            names.insert(0, name.to_owned());
            resource
        }
        None => resource,
    };
    let kind = Kind::find(resource).map_err(|failure| failure.exit(ExitStatus::Usage))?;
    if args.all_namespaces && !names.is_empty() {
        return Err(Failure::new("a resource cannot be named across all namespaces").exit(ExitStatus::Usage));
    }
    if args.watch && names.len() > 1 {
        return Err(Failure::new("only one resource can be watched by name").exit(ExitStatus::Usage));
    }
    let connection = Connection::open(&args.connection).await?;
    let namespaced = kind.scope == Scope::Namespaced && !args.all_namespaces;
    let namespace = namespaced.then(|| connection.namespace.clone());
    let selection = Selection { kind, names, namespace, selector: args.selector.clone() };
    match args.output {
        None | Some(Format::Wide) => tables(&connection, &selection, &args).await?,
        Some(Format::Name) => names_only(&connection, &selection, args.watch).await?,
        Some(Format::Yaml) => documents(&connection, &selection, args.watch, DocumentFormat::Yaml).await?,
        Some(Format::Json) => documents(&connection, &selection, args.watch, DocumentFormat::Json).await?,
    }
    Ok(ExitStatus::Success)
}

async fn tables(connection: &Connection, selection: &Selection, args: &GetArgs) -> Result<()> {
    let wide = args.output == Some(Format::Wide);
    let with_namespace = args.all_namespaces && selection.kind.scope == Scope::Namespaced;
    let mut table = None;
    let mut revision = String::from("0");
    for query in selection.queries() {
        let answer = rest::get(&connection.client, &query, Representation::Table).await?;
        let columns = Columns::of(&answer, wide, with_namespace)?;
        if let Some(found) = answer.pointer("/metadata/resourceVersion").and_then(Value::as_str) {
            found.clone_into(&mut revision);
        }
        let table = table.get_or_insert_with(|| Table::with_header(columns.header()));
        columns.add_rows(&answer, table);
    }
    let table = table.unwrap_or_default();
    if table.is_empty() && !args.watch {
        match &selection.namespace {
            Some(namespace) => note(format_args!("No resources found in {namespace} namespace.")),
            None => note("No resources found"),
        }
        return Ok(());
    }
    let mut widths = table.widths();
    let lines = table.lines();
    let header_lines = usize::from(args.no_headers || table.is_empty());
    for text in lines.iter().skip(header_lines) {
        line(text)?;
    }
    if !args.watch {
        return Ok(());
    }
    let mut header_due = table.is_empty() && !args.no_headers;
    let query = selection.watch_query();
    let mut events = rest::watch(&connection.client, &query, &revision, Representation::Table).await?;
    let mut columns: Option<Columns> = None;
    while let Some(event) = events.next().await {
        let Some(answer) = changed(event?)? else { continue };
        // Only the first event of a watch carries the column definitions.
        if columns.is_none() {
            columns = Some(Columns::of(&answer, wide, with_namespace)?);
        }
        let Some(columns) = &columns else { continue };
        let mut rows = Table::with_header(columns.header());
        columns.add_rows(&answer, &mut rows);
        if header_due {
            widths = rows.widths();
            for text in rows.lines().iter().take(1) {
                line(text)?;
            }
            header_due = false;
        }
        for text in rows.rows_in(&widths) {
            line(text)?;
        }
    }
    Ok(())
}

/// The object of a watch event that says something new.
pub(crate) fn changed(event: WatchEvent<Value>) -> Result<Option<Value>> {
    match event {
        WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object) => {
            Ok(Some(object))
        }
        WatchEvent::Bookmark(_) => Ok(None),
        WatchEvent::Error(status) => Err(kube::Error::Api(status).into()),
    }
}

async fn documents(
    connection: &Connection,
    selection: &Selection,
    watch: bool,
    format: DocumentFormat,
) -> Result<()> {
    let mut answers = Vec::new();
    for query in selection.queries() {
        answers.push(rest::get(&connection.client, &query, Representation::Object).await?);
    }
    let revision = revision_of(answers.last());
    let document = if answers.len() == 1 {
        answers.remove(0)
    } else {
        serde_json::json!({"apiVersion": "v1", "kind": "List", "items": answers})
    };
    line(render(&document, format)?)?;
    if watch {
        let query = selection.watch_query();
        let mut events = rest::watch(&connection.client, &query, &revision, Representation::Object).await?;
        while let Some(event) = events.next().await {
            if let Some(object) = changed(event?)? {
                if format == DocumentFormat::Yaml {
                    line("---")?;
                }
                line(render(&object, format)?)?;
            }
        }
    }
    Ok(())
}

async fn names_only(connection: &Connection, selection: &Selection, watch: bool) -> Result<()> {
    let print = |object: &Value| -> Result<()> {
        let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("");
        Ok(line(format_args!("{}.{GROUP}/{name}", selection.kind.singular()))?)
    };
    let mut revision = String::from("0");
    for query in selection.queries() {
        let answer = rest::get(&connection.client, &query, Representation::Object).await?;
        revision = revision_of(Some(&answer));
        match answer.get("items").and_then(Value::as_array) {
            Some(items) => items.iter().try_for_each(print)?,
            None => print(&answer)?,
        }
    }
    if watch {
        let query = selection.watch_query();
        let mut events = rest::watch(&connection.client, &query, &revision, Representation::Object).await?;
        while let Some(event) = events.next().await {
            if let Some(object) = changed(event?)? {
                print(&object)?;
            }
        }
    }
    Ok(())
}

fn revision_of(object: Option<&Value>) -> String {
    object
        .and_then(|object| object.pointer("/metadata/resourceVersion"))
        .and_then(Value::as_str)
        .unwrap_or("0")
        .to_owned()
}

/// The columns of a `meta.k8s.io/v1` Table that are to be shown.
struct Columns {
    shown: Vec<(usize, String)>,
    with_namespace: bool,
}

impl Columns {
    fn of(table: &Value, wide: bool, with_namespace: bool) -> Result<Self> {
        let definitions = table
            .get("columnDefinitions")
            .and_then(Value::as_array)
            .ok_or_else(|| Failure::new("the API server did not answer with a table"))?;
        let shown = definitions
            .iter()
            .enumerate()
            .filter(|(_, column)| wide || column.get("priority").and_then(Value::as_i64).unwrap_or(0) == 0)
            .map(|(index, column)| {
                (index, column.get("name").and_then(Value::as_str).unwrap_or("").to_uppercase())
            })
            .collect();
        Ok(Self { shown, with_namespace })
    }

    fn header(&self) -> Vec<String> {
        let namespace = self.with_namespace.then(|| "NAMESPACE".to_owned());
        namespace.into_iter().chain(self.shown.iter().map(|(_, name)| name.clone())).collect()
    }

    fn add_rows(&self, answer: &Value, table: &mut Table) {
        for row in answer.get("rows").and_then(Value::as_array).into_iter().flatten() {
            let cells = row.get("cells").and_then(Value::as_array);
            let namespace = self.with_namespace.then(|| cell(row.pointer("/object/metadata/namespace")));
            let shown = self.shown.iter().map(|(index, _)| cell(cells.and_then(|cells| cells.get(*index))));
            table.row(namespace.into_iter().chain(shown));
        }
    }
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Value {
        serde_json::json!({
            "kind": "Table",
            "columnDefinitions": [
                {"name": "Name", "priority": 0}, {"name": "Agents", "priority": 0}, {"name": "Reason", "priority": 1}
            ],
            "rows": [
                {"cells": ["a", 1, "AllGood"], "object": {"metadata": {"namespace": "org1"}}},
                {"cells": ["longer", null, "\u{1b}[2Jhidden"], "object": {"metadata": {"namespace": "org2"}}}
            ]
        })
    }

    fn printed(wide: bool, with_namespace: bool) -> String {
        let columns = Columns::of(&answer(), wide, with_namespace).expect("a table");
        let mut table = Table::with_header(columns.header());
        columns.add_rows(&answer(), &mut table);
        table.lines().join("\n")
    }

    #[test]
    fn the_servers_table_is_printed_with_the_columns_asked_for() {
        insta::assert_snapshot!(printed(false, false), @r"
        NAME     AGENTS
        a        1
        longer   <none>
        ");
        insta::assert_snapshot!(printed(true, true), @r"
        NAMESPACE   NAME     AGENTS   REASON
        org1        a        1        AllGood
        org2        longer   <none>   hidden
        ");
    }
}
