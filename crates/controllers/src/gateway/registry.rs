//! Which plane objects each gateway replica was told of, so that it is told again only when something changed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use buildplane_api::names::{CrRef, PlaneId};
use futures::future::join_all;

use super::client::GatewayError;
use super::feed::{Feed, GatewayState, Target};

/// What the gateways should know about one plane object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Registration {
    pub(crate) plane_id: PlaneId,
    /// The CA bundle.
    pub(crate) pem: String,
    /// The cluster that the plane is pinned to.
    pub(crate) cluster_id: Option<String>,
}

/// What the gateways were told.
pub(crate) struct Registrations {
    feed: Arc<Feed>,
    known: Mutex<HashMap<CrRef, Known>>,
}

#[derive(Clone)]
struct Known {
    registration: Registration,
    /// The replicas that know it, and during which life of theirs they were told.
    replicas: HashMap<String, u64>,
}

/// How far the gateways know about an object what they should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Registered {
    /// Every replica does.
    Everywhere,
    /// Some replica could not be told.
    InPart,
}

impl Registrations {
    pub(crate) fn new(feed: Arc<Feed>) -> Self {
        Self { feed, known: Mutex::default() }
    }

    /// What the gateways were last told about an object.
    pub(crate) fn last(&self, cr: &CrRef) -> Option<Registration> {
        self.lock().get(cr).map(|known| known.registration.clone())
    }

    /// Makes every replica know exactly `wanted` about an object; nothing, where that is none.
    ///
    /// Also removes what a replica knows about the object under another plane id, of which the feed tells.
    pub(crate) async fn ensure(
        &self,
        cr: &CrRef,
        wanted: Option<&Registration>,
    ) -> Result<Registered, GatewayError> {
        let targets = self.feed.targets();
        if targets.is_empty() {
            return match self.feed.gateway() {
                GatewayState::Unreachable(why) => Err(GatewayError::Away(why)),
                GatewayState::Connecting | GatewayState::Connected => Ok(Registered::InPart),
            };
        }
        let before = self.lock().get(cr).cloned();
        let told = targets.iter().map(|target| self.tell(target, cr, wanted, before.as_ref()));
        let told: Vec<Result<(), GatewayError>> = join_all(told).await;
        let mut known = Known::of(wanted, before);
        let mut errors = Vec::new();
        for (target, told) in targets.iter().zip(told) {
            match told {
                Ok(()) => {
                    if let Some(known) = &mut known {
                        known.replicas.insert(target.instance.clone(), target.epoch);
                    }
                }
                Err(error) => {
                    if let Some(known) = &mut known {
                        known.replicas.remove(&target.instance);
                    }
                    errors.push(error);
                }
            }
        }
        {
            let mut all = self.lock();
            match known {
                Some(mut known) => {
                    known.replicas.retain(|instance, _| targets.iter().any(|t| t.instance == *instance));
                    all.insert(cr.clone(), known);
                }
                None => drop(all.remove(cr)),
            }
        }
        let failed_everywhere = errors.len() == targets.len();
        // What a gateway will not take, none of them will: that is told first.
        let refused = errors.iter().position(|error| matches!(error, GatewayError::Refused(_)));
        match refused.or_else(|| failed_everywhere.then_some(0)) {
            Some(index) => Err(errors.swap_remove(index)),
            None if errors.is_empty() => Ok(Registered::Everywhere),
            None => Ok(Registered::InPart),
        }
    }

    /// Makes one replica know what it should.
    async fn tell(
        &self,
        target: &Target,
        cr: &CrRef,
        wanted: Option<&Registration>,
        before: Option<&Known>,
    ) -> Result<(), GatewayError> {
        let mut elsewhere = self.feed.planes_of(&target.instance, cr);
        elsewhere.extend(before.map(|known| known.registration.plane_id.clone()));
        elsewhere.retain(|plane_id| wanted.is_none_or(|wanted| *plane_id != wanted.plane_id));
        for plane_id in elsewhere {
            target.client.remove(&plane_id, cr).await?;
            self.feed.forget(&target.instance, &plane_id, cr);
        }
        let Some(wanted) = wanted else { return Ok(()) };
        let is_known = before.is_some_and(|known| {
            known.registration == *wanted && known.replicas.get(&target.instance) == Some(&target.epoch)
        });
        if is_known { Ok(()) } else { target.client.register(cr, wanted).await }
    }

    /// Makes every replica forget an object, under the given plane id and any other.
    pub(crate) async fn remove(&self, plane_id: Option<&PlaneId>, cr: &CrRef) -> Result<(), GatewayError> {
        if let Some(plane_id) = plane_id {
            let targets = self.feed.targets();
            let removals = targets.iter().map(async |target| {
                target.client.remove(plane_id, cr).await?;
                self.feed.forget(&target.instance, plane_id, cr);
                Ok(())
            });
            join_all(removals).await.into_iter().collect::<Result<(), GatewayError>>()?;
        }
        match self.ensure(cr, None).await? {
            Registered::Everywhere => Ok(()),
            Registered::InPart => Err(GatewayError::Away("not every gateway could be told".to_owned())),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CrRef, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Where a replica stands before it is told of `wanted`: those that know something else know nothing.
    fn of(wanted: Option<&Registration>, before: Option<Self>) -> Option<Self> {
        let wanted = wanted?;
        match before {
            Some(before) if before.registration == *wanted => Some(before),
            _ => Some(Self { registration: wanted.clone(), replicas: HashMap::new() }),
        }
    }
}
