//! Directories for claims: each PersistentVolumeClaim has one, from when it is seen to when it is gone.

use std::collections::HashSet;

use buildplane_executor::VolumeId;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tracing::{debug, warn};

use crate::resolve::claim_volume;
use crate::volumes::Volumes;

/// The directories of all claims there are.
pub(crate) async fn all(client: &Client) -> Result<HashSet<VolumeId>, kube::Error> {
    let claims = Api::<PersistentVolumeClaim>::all(client.clone()).list(&ListParams::default()).await?;
    Ok(claims.iter().filter_map(volume_of).collect())
}

/// The directory of a claim.
pub(crate) fn volume_of(claim: &PersistentVolumeClaim) -> Option<VolumeId> {
    claim_volume(claim.metadata.uid.as_deref()?)
}

/// Makes a claim's directory and says so in its status.
pub(crate) async fn bind(client: Client, volumes: Volumes, claim: PersistentVolumeClaim) {
    let bound = claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
    let (Some(id), Some(namespace)) = (volume_of(&claim), claim.namespace()) else { return };
    if bound || claim.metadata.deletion_timestamp.is_some() {
        return;
    }
    if let Err(error) = volumes.create(&id).await {
        warn!(%namespace, claim = claim.name_any(), %error, "failed to make a claim's directory");
        return;
    }
    let spec = claim.spec.clone().unwrap_or_default();
    let capacity = spec.resources.and_then(|resources| resources.requests);
    let patch = json!({
        "metadata": { "uid": claim.metadata.uid },
        "status": { "phase": "Bound", "accessModes": spec.access_modes, "capacity": capacity },
    });
    let claims = Api::<PersistentVolumeClaim>::namespaced(client, &namespace);
    let params = PatchParams { field_manager: Some("buildplane-node".to_owned()), ..PatchParams::default() };
    match claims.patch_status(&claim.name_any(), &params, &Patch::Merge(&patch)).await {
        Ok(_) => debug!(%namespace, claim = claim.name_any(), "bound"),
        // It has gone while its directory was made.
        Err(kube::Error::Api(status)) if status.code == 404 => remove(volumes, id).await,
        // The next change of the claim brings another try; Pods do not wait for the status.
        Err(error) => {
            warn!(%namespace, claim = claim.name_any(), %error, "failed to say that a claim is bound");
        }
    }
}

/// Removes a claim's directory once no step uses it.
pub(crate) async fn remove(volumes: Volumes, id: VolumeId) {
    if let Err(error) = volumes.remove(&id).await {
        warn!(%id, %error, "left a claim's directory behind");
    }
}
