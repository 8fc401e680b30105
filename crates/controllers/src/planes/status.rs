//! What is told of a plane.

use buildplane_api::conditions::plane::{self, reason};
use buildplane_api::names::NameError;
use buildplane_api::plane::{AgentConnectionStatus, PlaneStatus};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use std::time::Duration;

use super::access::PlaneApi;
use super::apply::{Applied, SecretStore};
use super::validate::Validated;
use crate::conditions::{Change, Conditions, Truth, Verdict};
use crate::error::chain;
use crate::gateway::{GatewayError, GatewayState, is_heartbeat_due};

/// The status to write, and what changed with it.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) status: PlaneStatus,
    pub(super) changes: Vec<Change>,
}

pub(super) fn tell<P: PlaneApi>(object: &P, plane: &Validated, applied: &Applied, now: Timestamp) -> Told {
    let before = object.status().cloned().unwrap_or_default();
    let generation = object.meta().generation;
    let connection = agent_connection(before.agent_connection.as_ref(), plane, applied, now);

    let mut aspects =
        vec![(plane::CREATED, Verdict::holds(P::CREATED_REASON, format!("{} is created", P::KIND.kind())))];
    aspects.push((plane::CLIENT_CA_VALID, plane.client_ca.clone()));
    aspects.push((plane::AGENT_CONNECTED, agent_connected(plane, applied, &connection)));
    if let Some(observability) = &plane.observability {
        aspects.push((plane::OBSERVABILITY_PLANE_RESOLVED, observability.clone()));
    }
    if let (Some(store), Some(name)) = (&applied.store, object.secret_store()) {
        aspects.push((plane::SECRET_STORE_READY, secret_store(store, name)));
    }
    let ready = ready(plane.plane_id.as_ref().err(), &aspects);

    let mut conditions = Conditions::new(&before.conditions, generation, now);
    for (type_, verdict) in aspects {
        conditions.set(type_, verdict);
    }
    conditions.set(plane::READY, ready);
    let (conditions, changes) = conditions.finish();
    let status = PlaneStatus {
        observed_generation: generation.unwrap_or_default(),
        plane_id: plane.plane_id.as_ref().ok().map(ToString::to_string),
        cluster_id: before.cluster_id,
        conditions,
        agent_connection: Some(connection),
    };
    Told { status, changes }
}

/// Ready is the conjunction of the others; it gives the reason of the first that does not hold, False before Unknown.
fn ready(plane_id: Option<&NameError>, aspects: &[(&'static str, Verdict)]) -> Verdict {
    if let Some(error) = plane_id {
        let message = format!("the object's name cannot be its plane id: {error}; set spec.planeID");
        return Verdict::fails(reason::INVALID_PLANE_ID, message);
    }
    let first =
        |truth| aspects.iter().map(|(_, verdict)| verdict).find(move |verdict| verdict.truth == truth);
    match first(Truth::False).or_else(|| first(Truth::Unknown)) {
        Some(failing) => failing.clone(),
        None => Verdict::holds(reason::READY, "builds can run on the plane"),
    }
}

fn agent_connected(plane: &Validated, applied: &Applied, connection: &AgentConnectionStatus) -> Verdict {
    match (&applied.registered, &applied.gateway) {
        (Err(GatewayError::Refused(message)), _) => {
            return Verdict::fails(
                reason::AGENT_REFUSED,
                format!("the gateway does not take the object: {message}; correct clientCA or planeID"),
            );
        }
        (Err(error), _) => return unreachable(&chain(error)),
        (Ok(()), GatewayState::Unreachable(why)) => return unreachable(why),
        (Ok(()), GatewayState::Connecting) if !connection.connected => {
            return Verdict::unknown(
                reason::GATEWAY_UNREACHABLE,
                "the controller is about to connect to the gateway",
            );
        }
        (Ok(()), GatewayState::Connecting | GatewayState::Connected) => {}
    }
    if connection.connected {
        return Verdict::holds(reason::AGENT_CONNECTED, connection.message.clone().unwrap_or_default());
    }
    if plane.bundle.is_none() {
        return Verdict::fails(reason::NO_AGENT_CONNECTED, "no agent can connect until clientCA is valid");
    }
    if let Some(refusal) = &applied.refusal {
        Verdict::fails(
            reason::AGENT_REFUSED,
            format!(
                "the gateway turned an agent of this plane away ({}): {}",
                refusal.reason, refusal.message
            ),
        )
    } else {
        let id = plane.plane_id.as_ref().map(ToString::to_string).unwrap_or_default();
        Verdict::fails(
            reason::NO_AGENT_CONNECTED,
            format!(
                "no agent with plane id {id} is connected whose certificate clientCA verifies; check that the \
                 agent runs, its clusterAgent.planeId and its gateway address"
            ),
        )
    }
}

fn unreachable(why: &str) -> Verdict {
    let message = format!("the gateway cannot be asked ({why}); check that it runs");
    Verdict::unknown(reason::GATEWAY_UNREACHABLE, message)
}

fn secret_store(store: &SecretStore, name: &str) -> Verdict {
    match store {
        SecretStore::Ready => Verdict::holds(
            reason::SECRET_STORE_READY,
            format!("ClusterSecretStore {name} is ready on the plane"),
        ),
        SecretStore::NotReady(message) => Verdict::fails(
            reason::SECRET_STORE_NOT_READY,
            format!("ClusterSecretStore {name} is not ready on the plane: {message}"),
        ),
        SecretStore::NotFound => Verdict::fails(
            reason::SECRET_STORE_NOT_FOUND,
            format!(
                "ClusterSecretStore {name} does not exist on the plane; create it, or change secretStoreRef"
            ),
        ),
        SecretStore::NotInstalled => Verdict::fails(
            reason::EXTERNAL_SECRETS_NOT_INSTALLED,
            format!(
                "the plane knows no ClusterSecretStore, so that {name} cannot exist; install External Secrets"
            ),
        ),
        SecretStore::Unreachable(why) => Verdict::unknown(
            reason::PLANE_UNREACHABLE,
            format!("ClusterSecretStore {name} cannot be looked up on the plane: {why}"),
        ),
    }
}

fn agent_connection(
    before: Option<&AgentConnectionStatus>,
    plane: &Validated,
    applied: &Applied,
    now: Timestamp,
) -> AgentConnectionStatus {
    let before = before.cloned().unwrap_or_default();
    let told = match &applied.connection {
        _ if plane.bundle.is_none() || plane.plane_id.is_err() => Some((false, 0, None)),
        Some(connection) => Some((connection.connected, connection.n_agents, connection.last_seen)),
        None => None,
    };
    // Nothing told yet, as after a restart of the gateway: what was known stands until it is.
    let Some((connected, n_agents, last_seen)) = told else {
        let message = before.message.clone().or_else(|| Some(message(before.connected_agents)));
        return AgentConnectionStatus { message, ..before };
    };
    let n_agents = if connected { i64::from(n_agents.max(1)) } else { 0 };
    let connects = connected && !before.connected;
    let disconnects = !connected && before.connected;
    AgentConnectionStatus {
        connected,
        connected_agents: n_agents,
        last_connected_time: if connects { Some(Time(now)) } else { before.last_connected_time },
        last_disconnected_time: if disconnects { Some(Time(now)) } else { before.last_disconnected_time },
        last_heartbeat_time: last_seen.map(Time).or(before.last_heartbeat_time),
        agents: Vec::new(),
        message: Some(message(n_agents)),
    }
}

fn message(n_agents: i64) -> String {
    match n_agents {
        0 => "No agents connected".to_owned(),
        1 => "1 agent connected".to_owned(),
        n => format!("{n} agents connected (HA mode)"),
    }
}

/// Whether a status has to be written: not when only a heartbeat is new, and the last one is not long ago.
pub(super) fn is_worth_writing(
    before: Option<&PlaneStatus>,
    after: &PlaneStatus,
    heartbeat: Duration,
) -> bool {
    let Some(before) = before else { return true };
    let seen = |status: &PlaneStatus| Some(status.agent_connection.as_ref()?.last_heartbeat_time.as_ref()?.0);
    let mut quiet = after.clone();
    if let (Some(connection), Some(old)) = (&mut quiet.agent_connection, &before.agent_connection) {
        connection.last_heartbeat_time.clone_from(&old.last_heartbeat_time);
    }
    if !same(before, &quiet) {
        return true;
    }
    is_heartbeat_due(seen(before), seen(after), heartbeat)
}

/// Equality as the API sees it: times in whole seconds.
fn same(a: &PlaneStatus, b: &PlaneStatus) -> bool {
    let seconds = |time: &Option<Time>| time.as_ref().map(|time| time.0.as_second());
    let condition = |c: &Condition| {
        let since = c.last_transition_time.0.as_second();
        (c.type_.clone(), c.status.clone(), c.reason.clone(), c.message.clone(), c.observed_generation, since)
    };
    let connection = |status: &PlaneStatus| {
        status.agent_connection.as_ref().map(|c| {
            let times =
                [&c.last_connected_time, &c.last_disconnected_time, &c.last_heartbeat_time].map(seconds);
            (c.connected, c.connected_agents, times, c.message.clone())
        })
    };
    a.observed_generation == b.observed_generation
        && a.plane_id == b.plane_id
        && a.conditions.iter().map(condition).eq(b.conditions.iter().map(condition))
        && connection(a) == connection(b)
}

#[cfg(test)]
mod tests;
