//! `buildplane plane describe`.

use buildplane_api::meta::annotation;
use buildplane_api::plane::{BuildPlane, ClusterBuildPlane, Plane};
use kube::Api;

use crate::commands::describe::{conditions, time};
use crate::connection::{Connection, ConnectionArgs};
use crate::exit::ExitStatus;
use crate::failure::{Failure, Result};
use crate::output::line;
use crate::output::sanitize::sanitize;

/// Show everything about a build plane
#[derive(Debug, clap::Args)]
pub(crate) struct DescribeArgs {
    /// Name of the plane
    #[arg(value_name = "NAME")]
    name: String,
    /// A ClusterBuildPlane [default: the namespace's BuildPlane, else a ClusterBuildPlane]
    #[arg(long)]
    cluster: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(super) async fn run(args: DescribeArgs) -> Result<ExitStatus> {
    let connection = Connection::open(&args.connection).await?;
    let namespaced: Api<BuildPlane> = Api::namespaced(connection.client.clone(), &connection.namespace);
    let cluster: Api<ClusterBuildPlane> = Api::all(connection.client.clone());
    let found = if args.cluster { None } else { namespaced.get_opt(&args.name).await? };
    let lines = match found {
        Some(plane) => lines("BuildPlane", &plane),
        None => match cluster.get_opt(&args.name).await? {
            Some(plane) => lines("ClusterBuildPlane", &plane),
            None => {
                return Err(Failure::new(format!("there is no build plane {}", args.name))
                    .hint("`buildplane plane list -A` lists the planes there are")
                    .exit(ExitStatus::NotFound));
            }
        },
    };
    for text in lines {
        line(text)?;
    }
    Ok(ExitStatus::Success)
}

fn lines(kind: &str, plane: &impl Plane) -> Vec<String> {
    let meta = plane.meta();
    let status = plane.status().cloned().unwrap_or_default();
    let agents = status.agent_connection.clone().unwrap_or_default();
    let annotation =
        |key: &str| meta.annotations.as_ref().and_then(|annotations| annotations.get(key)).cloned();
    let client_ca = plane.client_ca();
    let ca = match (&client_ca.value, &client_ca.secret_ref) {
        (Some(value), _) if !value.is_empty() => Some("inline".to_owned()),
        (_, Some(secret)) => {
            let namespace = secret.namespace.clone().or_else(|| meta.namespace.clone()).unwrap_or_default();
            Some(format!("Secret {namespace}/{}, key {}", secret.name, secret.key))
        }
        _ => None,
    };
    let facts = [
        ("Kind", Some(kind.to_owned())),
        ("Name", meta.name.clone()),
        ("Namespace", meta.namespace.clone()),
        ("Display name", annotation(annotation::DISPLAY_NAME)),
        ("Description", annotation(annotation::DESCRIPTION)),
        ("Plane ID", plane.plane_id().ok().map(|id| id.to_string())),
        ("Client CA", ca),
        ("Secret store", plane.secret_store().map(str::to_owned)),
        ("Agents", Some(agents.connected_agents.to_string())),
        ("Connected", agents.last_connected_time.as_ref().map(time)),
        ("Disconnected", agents.last_disconnected_time.as_ref().map(time)),
        ("Heartbeat", agents.last_heartbeat_time.as_ref().map(time)),
        ("Message", agents.message),
    ];
    let mut lines: Vec<String> = facts
        .into_iter()
        .filter_map(|(name, value)| value.filter(|value| !value.is_empty()).map(|value| (name, value)))
        .map(|(name, value)| format!("{:<14}{}", format!("{name}:"), sanitize(value.as_bytes())))
        .collect();
    lines.push("Conditions:".to_owned());
    lines.extend(conditions(&status.conditions).iter().map(|text| format!("  {text}")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plane_is_described() {
        let plane: BuildPlane = serde_json::from_value(serde_json::json!({
            "apiVersion": "openchoreo.dev/v1alpha1", "kind": "BuildPlane",
            "metadata": {"name": "production-buildplane", "namespace": "my-org",
                "annotations": {"openchoreo.dev/display-name": "Production \u{1b}]0;x\u{7}"}},
            "spec": {"planeID": "prod-builder", "clusterAgent": {"clientCA": {"secretRef": {"name": "buildplane-agent-ca", "key": "ca.crt"}}},
                "secretStoreRef": {"name": "vault-backend"}},
            "status": {
                "agentConnection": {"connected": false, "connectedAgents": 0, "message": "no agent is connected"},
                "conditions": [{"type": "AgentConnected", "status": "False", "reason": "NoAgentConnected",
                    "message": "no agent is connected", "lastTransitionTime": "2026-11-21T03:00:04Z"}]
            }
        }))
        .expect("a plane");
        insta::assert_snapshot!(lines("BuildPlane", &plane).join("\n"));
    }
}
