//! What is told of a plane's agents.

use buildplane_api::conditions::plane::reason;
use buildplane_api::names::CrRef;
use buildplane_api::plane::{AgentConnectionStatus, ConnectedAgent, MAX_LISTED_AGENTS};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::access::PlaneApi;
use super::apply::Applied;
use super::validate::{EXPIRY_WARNING, Validated};
use crate::conditions::Verdict;
use crate::error::chain;
use crate::gateway::{Agent, Connection, GatewayError, GatewayState, Registered};

/// The reason of a gateway that turned an agent of another cluster away.
pub(super) const CLUSTER_CONFLICT: &str = reason::CLUSTER_CONFLICT;

/// The condition `AgentConnected`.
pub(super) fn agent_connected<P: PlaneApi>(
    object: &P,
    plane: &Validated,
    applied: &Applied,
    told: &AgentConnectionStatus,
    now: Timestamp,
) -> Verdict {
    if let Err(GatewayError::Refused(message)) = &applied.registered {
        let message = format!("the gateway does not take the object: {message}; correct clientCA or planeID");
        return Verdict::fails(reason::AGENT_REFUSED, message);
    }
    if plane.bundle.is_none() {
        return Verdict::fails(reason::NO_AGENT_CONNECTED, "no agent can connect until clientCA is valid");
    }
    match (&applied.registered, &applied.gateway) {
        (_, GatewayState::Unreachable(why)) => return unreachable(why),
        (Err(error), _) if !told.connected => return unreachable(&chain(error)),
        (_, GatewayState::Connecting) if !told.connected => {
            let message = "the controller is about to connect to the gateway";
            return Verdict::unknown(reason::GATEWAY_UNREACHABLE, message);
        }
        (_, GatewayState::Connecting | GatewayState::Connected) => {}
    }
    if told.connected { connected(applied, told, now) } else { not_connected(object, plane, applied) }
}

fn connected(applied: &Applied, told: &AgentConnectionStatus, now: Timestamp) -> Verdict {
    let mut message = told.message.clone().unwrap_or_default();
    if !matches!(applied.registered, Ok(Registered::Everywhere)) {
        message.push_str("; not every gateway replica could be told of the object yet");
    }
    if is_shared_unnarrowed(applied) {
        message.push_str(
            "; other objects share the plane, and its owner did not narrow whom its agents serve (allowedPlanes)",
        );
    }
    match soonest_end(applied) {
        Some((agent, end)) if end.duration_since(now) < EXPIRY_WARNING => Verdict::holds(
            reason::AGENT_CERTIFICATE_EXPIRING,
            format!(
                "{message}; the certificate of agent {} ends at {end} and was not renewed: read the agent's log, and \
                 check that it may update its Secret cluster-agent-tls",
                agent.instance
            ),
        ),
        _ => Verdict::holds(reason::AGENT_CONNECTED, message),
    }
}

/// The agent whose certificate ends first.
pub(super) fn soonest_end(applied: &Applied) -> Option<(&Agent, Timestamp)> {
    let agents = applied.connection.iter().flat_map(|connection| &connection.agents);
    agents.filter_map(|agent| Some((agent, agent.certificate_not_after?))).min_by_key(|(_, end)| *end)
}

/// Whether several objects use the plane, and an agent serves them all because nobody said otherwise.
pub(super) fn is_shared_unnarrowed(applied: &Applied) -> bool {
    let connected = applied.connection.as_ref().filter(|connection| connection.connected);
    applied.siblings.n > 0
        && connected.is_some_and(|connection| connection.agents.iter().any(|agent| !agent.narrowed))
}

fn not_connected<P: PlaneApi>(object: &P, plane: &Validated, applied: &Applied) -> Verdict {
    let id = plane.plane_id.as_ref().map(ToString::to_string).unwrap_or_default();
    if let Some(unadmitted) = applied.connection.as_ref().and_then(|told| told.unadmitted.first()) {
        let (pattern, entry) = object.cr_ref().map(|cr| (cr.to_string(), entry(&cr))).unwrap_or_default();
        let said =
            if unadmitted.message.is_empty() { String::new() } else { format!(" ({})", unadmitted.message) };
        return Verdict::fails(
            reason::NOT_ADMITTED_BY_PLANE,
            format!(
                "an agent of plane id {id} is connected and clientCA verifies it, but it may not serve this object{said}; \
                 ask the owner of the build cluster to add {entry}, or the pattern {pattern}, to allowedPlanes in the \
                 agent's configuration"
            ),
        );
    }
    let refusal = applied.connection.as_ref().and_then(|told| told.refusal.as_ref());
    if let Some(conflict) = refusal.filter(|refusal| refusal.reason == CLUSTER_CONFLICT) {
        return Verdict::fails(reason::CLUSTER_CONFLICT, cluster_conflict(&conflict.message));
    }
    if applied.siblings.any_connected {
        return Verdict::fails(
            reason::AGENT_NOT_VERIFIED,
            format!(
                "an agent of plane id {id} is connected, but clientCA does not verify its certificate; extract ca.crt \
                 from Secret cluster-agent-tls in namespace openchoreo-build-plane of the build cluster and put it into \
                 clientCA"
            ),
        );
    }
    if let Some(refusal) = refusal.or(applied.refusal.as_ref()) {
        return Verdict::fails(
            reason::AGENT_REFUSED,
            format!(
                "the gateway turned an agent of plane id {id} away ({}): {}; if it is yours, compare clientCA with \
                 ca.crt of its Secret cluster-agent-tls",
                refusal.reason, refusal.message
            ),
        );
    }
    Verdict::fails(
        reason::NO_AGENT_CONNECTED,
        format!(
            "no agent with plane id {id} is connected whose certificate clientCA verifies; check that the agent runs, its \
             clusterAgent.planeId and its gateway address"
        ),
    )
}

/// What the owner of a build cluster adds to admit an object.
fn entry(cr: &CrRef) -> String {
    let kind = cr.kind().kind();
    match cr.namespace() {
        Some(namespace) => format!("{{kind: {kind}, namespace: {namespace}, name: {}}}", cr.name()),
        None => format!("{{kind: {kind}, name: {}}}", cr.name()),
    }
}

/// What is told of an agent of a second cluster.
pub(super) fn cluster_conflict(message: &str) -> String {
    format!(
        "an agent of another cluster than the plane's was turned away ({message}); a plane is served by one cluster: stop \
         the agent of the copy, or give it a plane id and a Secret of its own. If the plane moved on purpose, set the \
         annotation openchoreo.dev/cluster-id to the uid of namespace kube-system of the new cluster"
    )
}

fn unreachable(why: &str) -> Verdict {
    let message = format!("the gateway cannot be asked ({why}); check that it runs");
    Verdict::unknown(reason::GATEWAY_UNREACHABLE, message)
}

/// `status.agentConnection`.
pub(super) fn agent_connection(
    before: Option<&AgentConnectionStatus>,
    plane: &Validated,
    applied: &Applied,
    now: Timestamp,
) -> AgentConnectionStatus {
    let before = before.cloned().unwrap_or_default();
    let nobody = Connection::default();
    let told = match &applied.connection {
        _ if plane.bundle.is_none() || plane.plane_id.is_err() => Some(&nobody),
        told => told.as_ref(),
    };
    // Nothing told yet, as after a restart of the gateway: what was known stands until it is.
    let Some(told) = told else {
        let message = before.message.clone().or_else(|| Some(message(before.connected_agents)));
        return AgentConnectionStatus { message, ..before };
    };
    let n_agents = if told.connected { i64::from(told.n_agents.max(1)) } else { 0 };
    let connects = told.connected && !before.connected;
    let disconnects = !told.connected && before.connected;
    let seen = before.last_heartbeat_time.map(|time| time.0).max(told.last_seen);
    AgentConnectionStatus {
        connected: told.connected,
        connected_agents: n_agents,
        last_connected_time: if connects { Some(Time(now)) } else { before.last_connected_time },
        last_disconnected_time: if disconnects { Some(Time(now)) } else { before.last_disconnected_time },
        last_heartbeat_time: seen.map(Time),
        agents: if told.connected {
            told.agents.iter().take(MAX_LISTED_AGENTS).map(listed).collect()
        } else {
            Vec::new()
        },
        message: Some(message(n_agents)),
    }
}

fn listed(agent: &Agent) -> ConnectedAgent {
    ConnectedAgent {
        instance: agent.instance.clone(),
        version: Some(agent.version.clone()).filter(|version| !version.is_empty()),
        certificate_not_after: agent.certificate_not_after.map(Time),
        connected_time: agent.connected_at.map(Time),
        narrowed: agent.narrowed,
    }
}

fn message(n_agents: i64) -> String {
    match n_agents {
        0 => "No agents connected".to_owned(),
        1 => "1 agent connected".to_owned(),
        n => format!("{n} agents connected (HA mode)"),
    }
}
