//! The statuses that were written last, for objects whose watch has not told of it yet.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use buildplane_api::names::CrRef;
use buildplane_api::plane::PlaneStatus;

/// Without this, an object that is looked at again before its own change came back would be written again, and what
/// changed be told twice.
#[derive(Default)]
pub(crate) struct Written(Mutex<HashMap<CrRef, (Option<String>, PlaneStatus)>>);

impl Written {
    /// A status was written to an object that was read in this version.
    pub(super) fn note(&self, cr: &CrRef, version: Option<&str>, status: &PlaneStatus) {
        let entry = (version.map(ToOwned::to_owned), status.clone());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(cr.clone(), entry);
    }

    /// What was written to an object since it was read in this version.
    pub(super) fn since(&self, cr: &CrRef, version: Option<&str>) -> Option<PlaneStatus> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (from, status) = all.get(cr)?;
        (from.as_deref() == version).then(|| status.clone())
    }

    /// The object is gone.
    pub(super) fn forget(&self, cr: &CrRef) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(cr);
    }
}
