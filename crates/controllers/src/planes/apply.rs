//! Tells the gateway, and looks at what it says.

use std::time::Duration;

use buildplane_api::names::{CrRef, PlaneId, is_subdomain};
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use serde_json::Value;

use super::kind::Context;
use crate::error::chain;
use crate::gateway::{Connection, GatewayError, GatewayState, Refusal, Registration};

/// A store is asked within this time; an agent that hangs must not hold up the plane's status.
const STORE_PATIENCE: Duration = Duration::from_secs(3);

/// What is so, after the gateway was told.
#[derive(Debug)]
pub(super) struct Applied {
    /// Whether the gateway knows what it should.
    pub(super) registered: Result<(), GatewayError>,
    pub(super) gateway: GatewayState,
    pub(super) connection: Option<Connection>,
    pub(super) refusal: Option<Refusal>,
    pub(super) store: Option<SecretStore>,
}

/// A ClusterSecretStore on the plane.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SecretStore {
    Ready,
    NotReady(String),
    NotFound,
    NotInstalled,
    Unreachable(String),
}

pub(super) async fn apply(
    context: &Context,
    cr: &CrRef,
    wanted: Option<&Registration>,
    store: Option<&str>,
) -> Applied {
    let registered = context.registrations.ensure(cr, wanted).await;
    let gateway = context.feed.gateway();
    let plane_id = wanted.map(|wanted| &wanted.plane_id);
    let connection = plane_id.and_then(|plane_id| context.feed.connection(plane_id, cr));
    let refusal = plane_id.and_then(|plane_id| context.feed.refusal(cr.plane_type(), plane_id));
    let connected = connection.as_ref().is_some_and(|connection| connection.connected);
    let store = match (store, plane_id) {
        (Some(store), Some(plane_id)) if connected => Some(ask_store(context, plane_id, cr, store).await),
        (Some(_), _) => Some(SecretStore::Unreachable("no agent is connected".to_owned())),
        (None, _) => None,
    };
    Applied { registered, gateway, connection, refusal, store }
}

async fn ask_store(context: &Context, plane_id: &PlaneId, cr: &CrRef, store: &str) -> SecretStore {
    let client = context.gateway.plane(plane_id, cr);
    match tokio::time::timeout(STORE_PATIENCE, read_store(client, store)).await {
        Ok(answer) => answer,
        Err(_elapsed) => {
            SecretStore::Unreachable(format!("the plane did not answer within {STORE_PATIENCE:?}"))
        }
    }
}

async fn read_store(client: Client, store: &str) -> SecretStore {
    let kind = GroupVersionKind::gvk("external-secrets.io", "v1", "ClusterSecretStore");
    let api: Api<DynamicObject> =
        Api::all_with(client, &ApiResource::from_gvk_with_plural(&kind, "clustersecretstores"));
    if !is_subdomain(store) {
        return SecretStore::NotFound;
    }
    match api.get(store).await {
        Ok(found) => readiness(&found.data),
        Err(kube::Error::Api(status)) if status.code == 404 => {
            // Where the kind is not served, the answer does not name the object.
            if status.details.as_ref().is_some_and(|details| details.name == store) {
                SecretStore::NotFound
            } else {
                SecretStore::NotInstalled
            }
        }
        Err(error) => SecretStore::Unreachable(chain(&error)),
    }
}

fn readiness(store: &Value) -> SecretStore {
    let conditions = store.pointer("/status/conditions").and_then(Value::as_array);
    let ready = conditions.and_then(|all| all.iter().find(|condition| condition["type"] == "Ready"));
    match ready {
        Some(ready) if ready["status"] == "True" => SecretStore::Ready,
        Some(ready) => SecretStore::NotReady(ready["message"].as_str().unwrap_or("no message").to_owned()),
        None => SecretStore::NotReady("it has not been looked at yet".to_owned()),
    }
}
