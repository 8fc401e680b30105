//! The end of a plane object: the gateway forgets it, in bounded time.

use jiff::Timestamp;
use kube::runtime::controller::Action;

use super::access::PlaneApi;
use super::kind::{Context, PlaneError};
use crate::error::chain;
use crate::finalizer;

pub(super) async fn finalize<P: PlaneApi>(object: &P, context: &Context) -> Result<Action, PlaneError> {
    if !finalizer::has(object, P::FINALIZER) {
        return Ok(Action::await_change());
    }
    let cr = object.cr_ref().map_err(PlaneError::Name)?;
    if let Err(error) = context.registrations.remove(object.plane_id().ok().as_ref(), &cr).await {
        let waited =
            object.meta().deletion_timestamp.as_ref().map(|since| Timestamp::now().duration_since(since.0));
        let waited = waited.and_then(|waited| std::time::Duration::try_from(waited).ok()).unwrap_or_default();
        if waited < context.timings.plane_cleanup {
            return Err(PlaneError::Gateway(error));
        }
        // The gateway asks nobody at its start: one that is down forgets by itself, and one that was merely out of
        // reach is told as soon as it is back, because its stream names the object.
        tracing::warn!(%cr, error = chain(&error), "the gateway was not told that the plane object is deleted");
        if let Ok(plane_id) = object.plane_id() {
            context.registrations.orphan(plane_id, cr.clone());
        }
        let note =
            "the gateway could not be told; its agents stay connected for this object until it is back";
        context.events.warning(&object.object_ref(&()), "GatewayUnreachable", note).await;
    }
    let api = P::api(context.client.clone(), object.meta().namespace.as_deref());
    finalizer::remove(&api, object, P::FINALIZER).await.map_err(PlaneError::Finalizer)?;
    Ok(Action::await_change())
}
