//! Which plane objects the gateway was told of, so that it is told again only when something changed.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use buildplane_api::names::{CrRef, PlaneId};

use super::client::{GatewayClient, GatewayError};
use super::feed::Feed;

/// What the gateway should know about one plane object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Registration {
    pub(crate) plane_id: PlaneId,
    /// The CA bundle.
    pub(crate) pem: String,
}

/// What the gateway was told.
pub(crate) struct Registrations {
    client: GatewayClient,
    feed: Arc<Feed>,
    known: Mutex<HashMap<CrRef, Known>>,
    /// Objects that are gone without that the gateway could be told.
    orphans: Mutex<HashSet<(PlaneId, CrRef)>>,
}

#[derive(Clone)]
struct Known {
    registration: Registration,
    /// During which connection to the gateway it was told; it may have forgotten since.
    epoch: u64,
}

impl Registrations {
    pub(crate) fn new(client: GatewayClient, feed: Arc<Feed>) -> Self {
        Self { client, feed, known: Mutex::default(), orphans: Mutex::default() }
    }

    fn known(&self, cr: &CrRef) -> Option<Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(cr).cloned()
    }

    /// Makes the gateway know exactly `wanted` about an object; nothing, where that is none.
    ///
    /// Also removes what it knows about the object under another plane id, of which the feed tells.
    pub(crate) async fn ensure(&self, cr: &CrRef, wanted: Option<&Registration>) -> Result<(), GatewayError> {
        let epoch = self.feed.epoch();
        let known = self.known(cr);
        let mut elsewhere = self.feed.planes_of(cr);
        elsewhere.extend(known.as_ref().map(|known| known.registration.plane_id.clone()));
        elsewhere.retain(|plane_id| wanted.is_none_or(|wanted| *plane_id != wanted.plane_id));
        for plane_id in elsewhere {
            self.client.remove(&plane_id, cr).await?;
            self.feed.forget(&plane_id, cr);
        }
        let Some(wanted) = wanted else {
            self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(cr);
            return Ok(());
        };
        if known.is_some_and(|known| known.epoch == epoch && known.registration == *wanted) {
            return Ok(());
        }
        self.orphans().remove(&(wanted.plane_id.clone(), cr.clone()));
        self.client.register(&wanted.plane_id, cr, &wanted.pem).await?;
        let known = Known { registration: wanted.clone(), epoch };
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(cr.clone(), known);
        Ok(())
    }

    /// Makes the gateway forget an object, under the given plane id and any other.
    pub(crate) async fn remove(&self, plane_id: Option<&PlaneId>, cr: &CrRef) -> Result<(), GatewayError> {
        if let Some(plane_id) = plane_id {
            self.client.remove(plane_id, cr).await?;
            self.feed.forget(plane_id, cr);
        }
        self.ensure(cr, None).await
    }

    fn orphans(&self) -> std::sync::MutexGuard<'_, HashSet<(PlaneId, CrRef)>> {
        self.orphans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that an object is gone although the gateway could not be told.
    pub(crate) fn orphan(&self, plane_id: PlaneId, cr: CrRef) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&cr);
        self.orphans().insert((plane_id, cr));
    }

    /// Tells the gateway of the objects that are gone. What fails is kept for the next time.
    pub(crate) async fn sweep(&self) {
        let orphans: Vec<_> = self.orphans().iter().cloned().collect();
        for orphan in orphans {
            let (plane_id, cr) = &orphan;
            match self.client.remove(plane_id, cr).await {
                Ok(()) => {
                    self.feed.forget(plane_id, cr);
                    self.orphans().remove(&orphan);
                }
                Err(error) => {
                    tracing::debug!(%cr, error = crate::error::chain(&error), "the gateway cannot be told yet");
                }
            }
        }
    }
}
