//! The volumes of this node, and which of them are in use.
//!
//! A claim and the Pods that mount it are often deleted together. The directory goes when the last step that uses it
//! has ended, and no step starts on a directory that is going.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use buildplane_executor::{Executor, VolumeError, VolumeId};
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

/// The volumes of this node.
#[derive(Clone)]
pub(crate) struct Volumes {
    executor: Arc<dyn Executor>,
    locks: Arc<Mutex<HashMap<VolumeId, Arc<RwLock<()>>>>>,
}

/// Keeps a volume in place.
pub(crate) type InUse = OwnedRwLockReadGuard<()>;

impl Volumes {
    pub(crate) fn new(executor: Arc<dyn Executor>) -> Self {
        Self { executor, locks: Arc::default() }
    }

    /// Makes a volume where there is none.
    pub(crate) async fn create(&self, id: &VolumeId) -> Result<(), VolumeError> {
        let _in_use = self.lock(id).read_owned().await;
        self.executor.create_volume(id).await
    }

    /// Makes a volume where there is none, and keeps it until the guard is dropped.
    pub(crate) async fn take(&self, id: &VolumeId) -> Result<InUse, VolumeError> {
        let in_use = self.lock(id).read_owned().await;
        self.executor.create_volume(id).await?;
        Ok(in_use)
    }

    /// Removes a volume as soon as nobody uses it.
    pub(crate) async fn remove(&self, id: &VolumeId) -> Result<(), VolumeError> {
        let _alone = self.lock(id).write_owned().await;
        let result = self.executor.remove_volume(id).await;
        self.locks.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        result
    }

    /// Removes what a former life of this node has left, except these.
    pub(crate) async fn remove_all_but(&self, kept: &HashSet<VolumeId>) -> Result<(), VolumeError> {
        for id in self.executor.volumes()? {
            if !kept.contains(&id) {
                self.remove(&id).await?;
            }
        }
        Ok(())
    }

    fn lock(&self, id: &VolumeId) -> Arc<RwLock<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(locks.entry(id.clone()).or_default())
    }
}
