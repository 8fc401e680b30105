//! `buildplane plane describe`.

use buildplane_api::conditions::plane::{OBSERVABILITY_PLANE_RESOLVED, reason};
use buildplane_api::meta::annotation;
use buildplane_api::plane::{BuildPlane, ClusterBuildPlane, ConnectedAgent, Plane};
use jiff::Timestamp;
use kube::Api;

use super::events;
use super::facts::{Facts, until};
use crate::commands::describe::{conditions, time};
use crate::connection::{Connection, ConnectionArgs};
use crate::exit::ExitStatus;
use crate::failure::{Failure, Result};
use crate::output::line;
use crate::output::sanitize::sanitize;
use crate::output::table::Table;

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
    let (lines, namespace, uid) = match found {
        Some(plane) => shown(&plane),
        None => match cluster.get_opt(&args.name).await? {
            Some(plane) => shown(&plane),
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
    line("Events:")?;
    // What is known of the plane has been said; that its events may not be read takes nothing back.
    let events = events::lines(&connection.client, namespace.as_deref(), &uid).await;
    for text in events.unwrap_or_else(|failure| failure.to_string().lines().map(str::to_owned).collect()) {
        line(format_args!("  {text}"))?;
    }
    Ok(ExitStatus::Success)
}

/// The lines, and where the plane's events are.
fn shown(plane: &impl Plane) -> (Vec<String>, Option<String>, String) {
    let meta = plane.meta();
    (lines(plane, Timestamp::now()), meta.namespace.clone(), meta.uid.clone().unwrap_or_default())
}

fn lines<P: Plane>(plane: &P, now: Timestamp) -> Vec<String> {
    let (meta, Facts { status, agents }) = (plane.meta(), Facts::of(plane));
    let facts = Facts { status: status.clone(), agents: agents.clone() };
    let annotation =
        |key: &str| meta.annotations.as_ref().and_then(|annotations| annotations.get(key)).cloned();
    let connected = match agents.connected_agents {
        0 => "none connected".to_owned(),
        number => format!("{number} connected"),
    };
    let listed = [
        ("Kind", Some(P::kind(&()).into_owned())),
        ("Name", meta.name.clone()),
        ("Namespace", meta.namespace.clone()),
        ("Display name", annotation(annotation::DISPLAY_NAME)),
        ("Description", annotation(annotation::DESCRIPTION)),
        ("Plane ID", plane.plane_id().ok().map(|id| id.to_string())),
        ("Client CA", client_ca(plane)),
        ("Cluster", status.cluster_id.clone()),
        ("Pinned to", annotation(annotation::CLUSTER_ID).map(|id| format!("cluster {id}"))),
        ("Admission", Some(facts.admission())),
        ("Observability", observability(plane)),
        ("Secret store", plane.secret_store().map(str::to_owned)),
        ("Agents", Some(connected)),
        ("Connected", agents.last_connected_time.as_ref().map(time)),
        ("Disconnected", agents.last_disconnected_time.as_ref().map(time)),
        ("Heartbeat", agents.last_heartbeat_time.as_ref().map(time)),
        ("Message", agents.message.clone()),
    ];
    let mut lines: Vec<String> = listed
        .into_iter()
        .filter_map(|(name, value)| value.filter(|value| !value.is_empty()).map(|value| (name, value)))
        .map(|(name, value)| format!("{:<15}{}", format!("{name}:"), sanitize(value.as_bytes())))
        .collect();
    if !agents.agents.is_empty() {
        lines.push("Connected agents:".to_owned());
        lines.extend(connected_agents(&agents.agents, now).iter().map(|text| format!("  {text}")));
        let hidden = agents.connected_agents - i64::try_from(agents.agents.len()).unwrap_or(i64::MAX);
        if hidden > 0 {
            lines.push(format!("  and {hidden} more"));
        }
    }
    lines.push("Conditions:".to_owned());
    lines.extend(conditions(&status.conditions).iter().map(|text| format!("  {text}")));
    lines
}

fn client_ca(plane: &impl Plane) -> Option<String> {
    let client_ca = plane.client_ca();
    match (&client_ca.value, &client_ca.secret_ref) {
        (Some(value), _) if !value.is_empty() => Some("inline".to_owned()),
        (_, Some(secret)) => {
            let own = plane.meta().namespace.clone();
            let namespace = secret.namespace.clone().or(own).unwrap_or_default();
            Some(format!("Secret {namespace}/{}, key {}", secret.name, secret.key))
        }
        _ => None,
    }
}

/// What is named, or what is taken where nothing is, as the condition says.
fn observability<P: Plane>(plane: &P) -> Option<String> {
    if let Some(target) = plane.observability_plane() {
        return Some(format!("{:?} {}", target.kind, target.name));
    }
    let resolved =
        plane.status()?.conditions.iter().find(|found| found.type_ == OBSERVABILITY_PLANE_RESOLVED)?;
    Some(match resolved.reason.as_str() {
        reason::NOT_CONFIGURED => "not configured".to_owned(),
        _ => format!("default ({})", resolved.message),
    })
}

fn connected_agents(agents: &[ConnectedAgent], now: Timestamp) -> Vec<String> {
    let mut table = Table::new(["INSTANCE", "VERSION", "CERTIFICATE ENDS", "SINCE", "SERVES"]);
    for agent in agents {
        let ends =
            agent.certificate_not_after.as_ref().map(|at| format!("{} ({})", time(at), until(at.0, now)));
        table.row([
            agent.instance.clone(),
            agent.version.clone().unwrap_or_default(),
            ends.unwrap_or_default(),
            agent.connected_time.as_ref().map(time).unwrap_or_default(),
            if agent.narrowed { "allowedPlanes" } else { "everybody" }.to_owned(),
        ]);
    }
    table.lines()
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
                "clusterID": "6f1c2d",
                "agentConnection": {"connected": true, "connectedAgents": 2, "agents": [
                    {"instance": "agent-7f9\u{1b}[2J", "version": "0.1.0", "certificateNotAfter": "2027-02-18T03:00:00Z",
                        "connectedTime": "2026-11-21T03:00:04Z", "narrowed": false}]},
                "conditions": [
                    {"type": "AgentConnected", "status": "True", "reason": "AgentConnected",
                        "message": "2 agents\u{1b}]0;x\u{7} are connected", "lastTransitionTime": "2026-11-21T03:00:04Z"},
                    {"type": "ObservabilityPlaneResolved", "status": "True", "reason": "NotConfigured",
                        "message": "none is named", "lastTransitionTime": "2026-11-21T03:00:04Z"}]
            }
        }))
        .expect("a plane");
        let now = "2026-11-21T03:10:00Z".parse().expect("a timestamp");
        insta::assert_snapshot!(lines(&plane, now).join("\n"));
    }
}
