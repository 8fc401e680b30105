//! `buildplane plane list`.

use buildplane_api::plane::{BuildPlane, ClusterBuildPlane, Plane};
use futures::StreamExt as _;
use futures::stream;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::facts::{Facts, span, until};
use crate::commands::get::changed;
use crate::connection::{Connection, ConnectionArgs};
use crate::exit::ExitStatus;
use crate::failure::{Failure, Result};
use crate::output::document::{DocumentFormat, Format, render};
use crate::output::table::Table;
use crate::output::{line, note};
use crate::resources::{BUILD_PLANE, CLUSTER_BUILD_PLANE, GROUP, Kind};
use crate::rest::{self, Query, Representation};

/// List the build planes of the namespace and of the cluster
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// The planes of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
    /// Keep watching for changes
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// The planes of one kind.
struct Listed {
    query: Query,
    revision: String,
    items: Vec<Value>,
}

pub(super) async fn run(args: ListArgs) -> Result<ExitStatus> {
    let connection = Connection::open(&args.connection).await?;
    let namespace = (!args.all_namespaces).then_some(connection.namespace.as_str());
    let namespaced = list(&connection, BUILD_PLANE, namespace).await?;
    // Whoever sees one namespace alone need not see what is above it.
    let cluster = match list(&connection, CLUSTER_BUILD_PLANE, None).await {
        Ok(listed) => Some(listed),
        Err(failure) if failure.exit_status() == ExitStatus::Refused => {
            note(format_args!("ClusterBuildPlanes are left out: {failure}"));
            None
        }
        Err(failure) => return Err(failure),
    };
    let listed: Vec<Listed> = [Some(namespaced), cluster].into_iter().flatten().collect();
    let mut printer = Printer { format: args.output, widths: Vec::new(), now: Timestamp::now };
    let all: Vec<Value> = listed.iter().flat_map(|listed| listed.items.iter().cloned()).collect();
    if all.is_empty() && !args.watch && matches!(args.output, None | Some(Format::Wide)) {
        note("No build planes found; `buildplane plane register` makes one");
        return Ok(ExitStatus::Success);
    }
    printer.first(&all)?;
    if args.watch {
        watch(&connection, &listed, &mut printer).await?;
    }
    Ok(ExitStatus::Success)
}

async fn list(connection: &Connection, kind: Kind, namespace: Option<&str>) -> Result<Listed> {
    let query = Query::new(kind.path(namespace));
    let mut answer = rest::get(&connection.client, &query, Representation::Object).await?;
    let revision =
        answer.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or("0").to_owned();
    let mut items = match answer["items"].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    };
    // A list may say once what its items are.
    for item in &mut items {
        item["apiVersion"] = json!(buildplane_api::meta::API_VERSION);
        item["kind"] = json!(kind.name);
    }
    Ok(Listed { query, revision, items })
}

async fn watch(connection: &Connection, listed: &[Listed], printer: &mut Printer) -> Result<()> {
    let mut watches = Vec::new();
    for Listed { query, revision, .. } in listed {
        let events = rest::watch(&connection.client, query, revision, Representation::Object).await?;
        // One that the server ends, ends the command, as kubectl's does.
        watches.push(events.map(Some).chain(stream::once(async { None })).boxed());
    }
    let mut events = stream::select_all(watches);
    while let Some(Some(event)) = events.next().await {
        if let Some(object) = changed(event?)? {
            printer.change(&object)?;
        }
    }
    Ok(())
}

/// Prints planes in one of the formats.
struct Printer {
    format: Option<Format>,
    widths: Vec<usize>,
    now: fn() -> Timestamp,
}

const NARROW: [&str; 10] =
    ["KIND", "NAMESPACE", "NAME", "PLANE ID", "READY", "REASON", "AGENTS", "VERSION", "CERT ENDS IN", "AGE"];
const WIDE: [&str; 3] = ["DISPLAY NAME", "CLUSTER", "MESSAGE"];

impl Printer {
    fn first(&mut self, planes: &[Value]) -> Result<()> {
        match self.format {
            None | Some(Format::Wide) => {
                let table = self.table(planes)?;
                self.widths = table.widths();
                table.lines().iter().try_for_each(line)?;
            }
            Some(Format::Name) => planes.iter().try_for_each(|plane| line(name_of(plane)))?,
            Some(Format::Yaml) => line(render(&list_of(planes), DocumentFormat::Yaml)?)?,
            Some(Format::Json) => line(render(&list_of(planes), DocumentFormat::Json)?)?,
        }
        Ok(())
    }

    fn change(&mut self, plane: &Value) -> Result<()> {
        match self.format {
            None | Some(Format::Wide) => {
                let rows = self.table(std::slice::from_ref(plane))?;
                rows.rows_in(&self.widths).iter().try_for_each(line)?;
            }
            Some(Format::Name) => line(name_of(plane))?,
            Some(Format::Yaml) => {
                line("---")?;
                line(render(plane, DocumentFormat::Yaml)?)?;
            }
            Some(Format::Json) => line(render(plane, DocumentFormat::Json)?)?,
        }
        Ok(())
    }

    fn table(&self, planes: &[Value]) -> Result<Table> {
        let wide = self.format == Some(Format::Wide);
        let header = NARROW.iter().chain(WIDE.iter().filter(|_| wide)).map(|&name| name.to_owned());
        let mut table = Table::with_header(header.collect());
        for plane in planes {
            let mut row = if plane["kind"] == CLUSTER_BUILD_PLANE.name {
                self.row::<ClusterBuildPlane>(plane)?
            } else {
                self.row::<BuildPlane>(plane)?
            };
            row.truncate(if wide { row.len() } else { NARROW.len() });
            table.row(row);
        }
        Ok(table)
    }

    fn row<P: Plane>(&self, plane: &Value) -> Result<Vec<String>> {
        let plane: P = serde_json::from_value(plane.clone())
            .map_err(|error| Failure::from(error).context("the API server sent a plane that is none"))?;
        let (facts, meta, now) = (Facts::of(&plane), plane.meta(), (self.now)());
        let (ready, reason, message) = match facts.ready() {
            Some(ready) => (ready.status.clone(), ready.reason.clone(), ready.message.clone()),
            None => {
                ("Unknown".to_owned(), String::new(), "the controller has not looked at it yet".to_owned())
            }
        };
        let annotation = |key: &str| meta.annotations.as_ref().and_then(|all| all.get(key)).cloned();
        Ok(vec![
            P::kind(&()).into_owned(),
            meta.namespace.clone().unwrap_or_default(),
            meta.name.clone().unwrap_or_default(),
            plane.plane_id().map(|id| id.to_string()).unwrap_or_default(),
            ready,
            reason,
            facts.agents.connected_agents.to_string(),
            facts.versions(),
            facts.certificates_end().map(|at| until(at, now)).unwrap_or_default(),
            meta.creation_timestamp.as_ref().map(|at| span(now.duration_since(at.0))).unwrap_or_default(),
            annotation(buildplane_api::meta::annotation::DISPLAY_NAME).unwrap_or_default(),
            facts.status.cluster_id.clone().unwrap_or_default(),
            message.split_whitespace().collect::<Vec<_>>().join(" "),
        ])
    }
}

fn name_of(plane: &Value) -> String {
    let text = |pointer: &str| plane.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let name = format!("{}.{GROUP}/{}", text("/kind").to_ascii_lowercase(), text("/metadata/name"));
    crate::output::sanitize::sanitize(name.as_bytes())
}

fn list_of(planes: &[Value]) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": planes})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_of_both_kinds_stand_in_one_table() {
        let namespaced = json!({
            "apiVersion": "openchoreo.dev/v1alpha1", "kind": "BuildPlane",
            "metadata": {"name": "prod", "namespace": "my-org", "creationTimestamp": "2026-11-20T03:00:00Z",
                "annotations": {"openchoreo.dev/display-name": "Prod \u{1b}]0;x\u{7}"}},
            "spec": {"clusterAgent": {"clientCA": {"value": "x"}}},
            "status": {"clusterID": "6f1c",
                "conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": "builds\u{1b}[2J can run",
                    "lastTransitionTime": "2026-11-21T03:00:04Z"}],
                "agentConnection": {"connected": true, "connectedAgents": 2, "agents": [
                    {"instance": "a", "version": "0.2.0", "certificateNotAfter": "2027-02-18T03:00:00Z", "narrowed": true},
                    {"instance": "b", "version": "0.1.0", "certificateNotAfter": "2026-12-01T03:00:00Z", "narrowed": true},
                ]}},
        });
        let cluster = json!({
            "apiVersion": "openchoreo.dev/v1alpha1", "kind": "ClusterBuildPlane", "metadata": {"name": "shared"},
            "spec": {"planeID": "x", "clusterAgent": {"clientCA": {"value": "x"}}},
        });
        let now = || "2026-11-21T03:00:00Z".parse().expect("a timestamp");
        let lines = |format| {
            let table =
                Printer { format, widths: Vec::new(), now }.table(&[namespaced.clone(), cluster.clone()]);
            table.unwrap_or_else(|failure| panic!("{failure}")).lines().join("\n")
        };
        insta::assert_snapshot!("list", lines(None));
        insta::assert_snapshot!("list_wide", lines(Some(Format::Wide)));
        assert_eq!(name_of(&cluster), "clusterbuildplane.openchoreo.dev/shared");
    }
}
