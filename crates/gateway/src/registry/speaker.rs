use std::sync::Arc;
use std::time::SystemTime;

use buildplane_api::names::{CrRef, PlaneId, PlaneType};
use buildplane_tls::{PeerCertificates, TrustAnchors, VerifiedPeer, VerifyError, verify_client};
use buildplane_wire::AllowedPlanes;

/// A physical plane. Several custom resources may share one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PlaneKey {
    pub(crate) plane_type: PlaneType,
    pub(crate) id: PlaneId,
}

/// Who is at the far end of a connection: what it has proven, and what it says of itself.
#[derive(Debug, Clone)]
pub(crate) struct Speaker {
    pub(crate) peer: Arc<PeerCertificates>,
    pub(crate) instance: String,
    pub(crate) version: String,
    /// The identity of its cluster, where it says one.
    pub(crate) cluster: Option<String>,
    /// Whom it serves. It enforces this itself; here it is believed, because it can only take away.
    pub(crate) allowed: AllowedPlanes,
}

/// Whether a speaker may speak for one custom resource.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It may.
    Admitted(VerifiedPeer),
    /// The custom resource accepts it, but the owner of the build cluster leaves the custom resource out.
    NotServed(VerifiedPeer),
    /// The custom resource accepts its certificate, but is served by another cluster.
    OtherCluster {
        /// The cluster that serves the custom resource.
        bound: String,
        /// Whether the speaker would serve it.
        is_served: bool,
    },
    /// The custom resource does not accept its certificate.
    NotAccepted(VerifyError),
}

impl Speaker {
    /// Judges this speaker for one custom resource: its certificate first, then its cluster, then whether it serves it.
    pub(crate) fn judge(
        &self,
        cr: &CrRef,
        anchors: &TrustAnchors,
        cluster: Option<&str>,
        now: SystemTime,
    ) -> Verdict {
        let verified = match verify_client(anchors, &self.peer, now) {
            Ok(verified) => verified,
            Err(error) => return Verdict::NotAccepted(error),
        };
        let is_served = self.allowed.permits(cr);
        if let (Some(bound), Some(stated)) = (cluster, self.cluster.as_deref())
            && bound != stated
        {
            return Verdict::OtherCluster { bound: bound.to_owned(), is_served };
        }
        if is_served { Verdict::Admitted(verified) } else { Verdict::NotServed(verified) }
    }
}
