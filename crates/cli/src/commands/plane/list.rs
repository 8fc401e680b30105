//! `buildplane plane list`.

use buildplane_api::plane::{BuildPlane, ClusterBuildPlane, Plane};
use kube::{Api, ResourceExt as _};

use crate::connection::{Connection, ConnectionArgs};
use crate::exit::ExitStatus;
use crate::failure::Result;
use crate::output::table::Table;
use crate::output::{line, note};

/// List the build planes of the namespace and of the cluster
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// The planes of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(super) async fn run(args: ListArgs) -> Result<ExitStatus> {
    let connection = Connection::open(&args.connection).await?;
    let client = connection.client.clone();
    let namespaced: Api<BuildPlane> = if args.all_namespaces {
        Api::all(client.clone())
    } else {
        Api::namespaced(client.clone(), &connection.namespace)
    };
    let cluster: Api<ClusterBuildPlane> = Api::all(client);
    let mut table = Table::new(["KIND", "NAMESPACE", "NAME", "PLANE ID", "READY", "AGENTS", "MESSAGE"]);
    for plane in namespaced.list(&kube::api::ListParams::default()).await?.items {
        table.row(row("BuildPlane", plane.namespace().unwrap_or_default(), plane.name_any(), &plane));
    }
    for plane in cluster.list(&kube::api::ListParams::default()).await?.items {
        table.row(row("ClusterBuildPlane", String::new(), plane.name_any(), &plane));
    }
    if table.is_empty() {
        note("No build planes found; `buildplane plane register` makes one");
        return Ok(ExitStatus::Success);
    }
    for text in table.lines() {
        line(text)?;
    }
    Ok(ExitStatus::Success)
}

fn row(kind: &str, namespace: String, name: String, plane: &impl Plane) -> [String; 7] {
    let status = plane.status();
    let id = plane.plane_id().map(|id| id.to_string()).unwrap_or_default();
    let agents = status
        .and_then(|status| status.agent_connection.as_ref())
        .map_or(0, |agents| agents.connected_agents);
    let ready = status.and_then(|status| {
        status.conditions.iter().find(|condition| condition.type_ == buildplane_api::conditions::plane::READY)
    });
    let (ready, message) = match ready {
        Some(condition) if condition.status == "True" => (condition.status.clone(), String::new()),
        Some(condition) => (condition.status.clone(), condition.message.clone()),
        None => ("Unknown".to_owned(), "the controller has not looked at it yet".to_owned()),
    };
    [kind.to_owned(), namespace, name, id, ready, agents.to_string(), message]
}
