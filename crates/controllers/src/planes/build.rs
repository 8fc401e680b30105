//! What the gateway should know about a plane object.

use super::validate::Validated;
use crate::gateway::Registration;

/// The registration; none where nobody could be verified, which also ends what is connected.
pub(super) fn build(plane: &Validated) -> Option<Registration> {
    match (&plane.plane_id, &plane.bundle) {
        (Ok(plane_id), Some(bundle)) => {
            Some(Registration { plane_id: plane_id.clone(), pem: bundle.pem.clone() })
        }
        (Err(_), _) | (_, None) => None,
    }
}
