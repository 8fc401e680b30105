//! What is told of a plane.

use buildplane_api::conditions::plane::{self, reason};
use buildplane_api::names::NameError;
use buildplane_api::plane::PlaneStatus;
use jiff::Timestamp;

use super::access::PlaneApi;
use super::agents::{agent_connected, agent_connection};
use super::apply::Applied;
use super::stores::SecretStore;
use super::validate::Validated;
use crate::conditions::{Change, Conditions, Truth, Verdict};

/// The status to write, and what changed with it.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) status: PlaneStatus,
    pub(super) changes: Vec<Change>,
}

pub(super) fn tell<P: PlaneApi>(
    object: &P,
    before: Option<&PlaneStatus>,
    plane: &Validated,
    applied: &Applied,
    now: Timestamp,
) -> Told {
    let before = before.cloned().unwrap_or_default();
    let generation = object.meta().generation;
    let connection = agent_connection(before.agent_connection.as_ref(), plane, applied, now);

    let mut aspects =
        vec![(plane::CREATED, Verdict::holds(P::CREATED_REASON, format!("{} is created", P::KIND.kind())))];
    aspects.push((plane::CLIENT_CA_VALID, plane.client_ca.clone()));
    aspects.push((plane::AGENT_CONNECTED, agent_connected(object, plane, applied, &connection, now)));
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
        cluster_id: applied.cluster_id.clone(),
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

/// Whether a status has to be written: where only a heartbeat is new, no more often than heartbeats are written.
pub(super) fn is_worth_writing(
    before: Option<&PlaneStatus>,
    after: &PlaneStatus,
    is_heartbeat_due: bool,
) -> bool {
    let Some(before) = before else { return true };
    let mut quiet = after.clone();
    if let (Some(connection), Some(old)) = (&mut quiet.agent_connection, &before.agent_connection) {
        connection.last_heartbeat_time.clone_from(&old.last_heartbeat_time);
    }
    !same(before, &quiet) || (is_heartbeat_due && !same(before, after))
}

/// Equality as the API sees it: times in whole seconds.
fn same(a: &PlaneStatus, b: &PlaneStatus) -> bool {
    serde_json::to_value(a).ok() == serde_json::to_value(b).ok()
}

#[cfg(test)]
mod tests;
