//! Which cluster a plane object is bound to.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use buildplane_api::meta::annotation;
use buildplane_api::names::{CrRef, PlaneId};

use super::access::PlaneApi;

/// The clusters that plane objects are bound to. A status that was read may be older than what was written last, so that
/// this is the truth once an object was looked at.
#[derive(Default)]
pub(crate) struct Bindings(Mutex<HashMap<CrRef, Binding>>);

struct Binding {
    plane_id: PlaneId,
    /// The CA bundle in canonical PEM.
    pem: String,
    cluster: Option<String>,
}

impl Bindings {
    /// The cluster that an object is pinned to: the one that its annotation names, else the one that served it first.
    ///
    /// Another plane id is another plane, and so is a CA that shares no certificate with the one before: then it is bound
    /// anew, to whoever comes.
    pub(super) fn pinned<P: PlaneApi>(
        &self,
        object: &P,
        cr: &CrRef,
        plane_id: &PlaneId,
        pem: &str,
    ) -> Option<String> {
        let mut all = self.lock();
        let status = object.status();
        let binding = all.entry(cr.clone()).or_insert_with(|| {
            let told = status.filter(|status| status.plane_id.as_deref() == Some(plane_id.as_str()));
            let cluster = told.and_then(|status| status.cluster_id.clone());
            Binding { plane_id: plane_id.clone(), pem: pem.to_owned(), cluster }
        });
        if binding.plane_id != *plane_id || !shares_certificate(&binding.pem, pem) {
            binding.cluster = None;
        }
        binding.plane_id.clone_from(plane_id);
        pem.clone_into(&mut binding.pem);
        named(object).or_else(|| binding.cluster.clone())
    }

    /// An object is served by a cluster. Binds it, unless it is bound already.
    pub(super) fn served_by(&self, cr: &CrRef, cluster: &str) {
        if let Some(binding) = self.lock().get_mut(cr) {
            binding.cluster.get_or_insert_with(|| cluster.to_owned());
        }
    }

    /// The object is gone.
    pub(super) fn forget(&self, cr: &CrRef) {
        self.lock().remove(cr);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CrRef, Binding>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The cluster that an object's annotation names.
fn named<P: PlaneApi>(object: &P) -> Option<String> {
    let annotations = object.meta().annotations.as_ref()?;
    annotations.get(annotation::CLUSTER_ID).map(|id| id.trim().to_owned()).filter(|id| !id.is_empty())
}

/// Whether two bundles in canonical PEM have a certificate in common.
fn shares_certificate(a: &str, b: &str) -> bool {
    let blocks = |pem: &str| -> HashSet<String> {
        let blocks = pem.split_inclusive("-----END CERTIFICATE-----\n");
        blocks.map(|block| block.trim().to_owned()).filter(|block| !block.is_empty()).collect()
    };
    !blocks(a).is_disjoint(&blocks(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planes::certificates::Bundle;
    use crate::planes::testing::{ca, plane};
    use buildplane_api::plane::{PlaneStatus, ValueFrom};
    use std::collections::BTreeMap;

    #[test]
    fn a_plane_keeps_to_its_cluster_until_it_becomes_another_plane() {
        let pem = |text: &str| Bundle::parse(text.as_bytes()).expect("a bundle").pem;
        let (one, two) = (ca("one"), ca("two"));
        let (old, both, new) = (pem(&one), pem(&format!("{one}{two}")), pem(&two));
        let other = pem(&ca("other"));
        let id = |text: &str| PlaneId::parse(text).expect("an id");
        let mut object = plane(ValueFrom::default());
        let cr: CrRef = "buildplane/org/bp".parse().expect("a reference");
        let bindings = Bindings::default();
        let pinned = |object: &_, plane: &str, pem: &str| bindings.pinned(object, &cr, &id(plane), pem);

        assert_eq!(pinned(&object, "a", &old), None);
        bindings.served_by(&cr, "first");
        bindings.served_by(&cr, "second");
        assert_eq!(pinned(&object, "a", &old).as_deref(), Some("first"));
        assert_eq!(pinned(&object, "a", &both).as_deref(), Some("first"), "a rotation");
        assert_eq!(pinned(&object, "a", &new).as_deref(), Some("first"), "goes on");
        assert_eq!(pinned(&object, "a", &other), None, "another CA altogether");
        bindings.served_by(&cr, "second");
        assert_eq!(pinned(&object, "b", &other), None, "another plane");
        bindings.served_by(&cr, "third");

        let key = annotation::CLUSTER_ID.to_owned();
        object.metadata.annotations = Some(BTreeMap::from([(key, " pinned ".to_owned())]));
        assert_eq!(pinned(&object, "b", &other).as_deref(), Some("pinned"));
        object.metadata.annotations = None;

        let told = |plane: &str| PlaneStatus {
            plane_id: Some(plane.into()),
            cluster_id: Some("told".into()),
            ..PlaneStatus::default()
        };
        bindings.forget(&cr);
        object.status = Some(told("b"));
        assert_eq!(pinned(&object, "b", &other).as_deref(), Some("told"), "after a restart");
        bindings.forget(&cr);
        object.status = Some(told("a"));
        assert_eq!(pinned(&object, "b", &other), None, "what was told of another plane");
    }
}
