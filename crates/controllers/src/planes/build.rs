//! What the gateways should know about a plane object.

use buildplane_api::names::CrRef;

use super::access::PlaneApi;
use super::binding::Bindings;
use super::validate::Validated;
use crate::gateway::Registration;

/// The registration; none where nobody could be verified, which also ends what is connected.
pub(super) fn build<P: PlaneApi>(
    object: &P,
    cr: &CrRef,
    plane: &Validated,
    bindings: &Bindings,
) -> Option<Registration> {
    let (Ok(plane_id), Some(bundle)) = (&plane.plane_id, &plane.bundle) else { return None };
    let cluster_id = bindings.pinned(object, cr, plane_id, &bundle.pem);
    Some(Registration { plane_id: plane_id.clone(), pem: bundle.pem.clone(), cluster_id })
}
