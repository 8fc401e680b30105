//! Tells the gateways, and looks at what they say.

use std::time::Duration;

use buildplane_api::names::CrRef;

use super::kind::Context;
use super::stores::SecretStore;
use crate::gateway::{Connection, GatewayError, GatewayState, Refusal, Registered, Registration, Siblings};

/// How long a plane's status waits for a gateway to tell of it.
const FIRST_WORD: Duration = Duration::from_millis(100);

/// What is so, after the gateways were told.
#[derive(Debug)]
pub(super) struct Applied {
    /// Whether the gateways know what they should.
    pub(super) registered: Result<Registered, GatewayError>,
    pub(super) gateway: GatewayState,
    pub(super) connection: Option<Connection>,
    /// The last refusal of an agent of the plane as a whole.
    pub(super) refusal: Option<Refusal>,
    /// Who else uses the plane.
    pub(super) siblings: Siblings,
    /// The cluster that the object is bound to.
    pub(super) cluster_id: Option<String>,
    pub(super) store: Option<SecretStore>,
}

pub(super) async fn apply(
    context: &Context,
    cr: &CrRef,
    wanted: Option<&Registration>,
    store: Option<&str>,
) -> Applied {
    let last = context.registrations.last(cr);
    // What is told right after a change may still be about what was before, and must not bind the object anew.
    let is_settled = last.is_none() || last.as_ref() == wanted;
    let registered = context.registrations.ensure(cr, wanted).await;
    let gateway = context.feed.gateway();
    let plane_id = wanted.map(|wanted| &wanted.plane_id);
    let connection = match plane_id {
        // Whoever registers an object is told in a moment who is connected for it; that saves a status in between.
        Some(plane_id) if registered.is_ok() => context.feed.told(plane_id, cr, FIRST_WORD).await,
        Some(plane_id) => context.feed.connection(plane_id, cr),
        None => None,
    };
    let refusal = plane_id.and_then(|plane_id| context.feed.refusal(cr.plane_type(), plane_id));
    let siblings = plane_id.map(|plane_id| context.feed.siblings(plane_id, cr)).unwrap_or_default();
    let served = connection.as_ref().filter(|connection| connection.connected);
    let cluster_id = wanted.and_then(|wanted| wanted.cluster_id.clone());
    let serving = served.filter(|_| is_settled).and_then(|connection| connection.cluster_id.clone());
    if let Some(cluster) = &serving {
        context.bindings.served_by(cr, cluster);
    }
    let cluster_id = cluster_id.or(serving);
    let store = match (store, plane_id) {
        (Some(store), Some(plane_id)) if served.is_some() => {
            Some(context.stores.look(cr, plane_id, store).await)
        }
        (store, _) => {
            context.stores.release(cr);
            store.map(|_| SecretStore::Unreachable("no agent is connected".to_owned()))
        }
    };
    Applied { registered, gateway, connection, refusal, siblings, cluster_id, store }
}
