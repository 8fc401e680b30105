//! What another replica's feed says.

use jiff::Timestamp;
use serde::Deserialize;

use buildplane_api::names::{CLUSTER_SEGMENT, CrRef, NameError, PlaneId, PlaneType};

use crate::registry::PlaneKey;

#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
pub(super) enum Line {
    Hello(Hello),
    Status(StatusLine),
    Removed(StatusLine),
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
pub(super) struct Hello {
    pub(super) instance: String,
    #[serde(default)]
    pub(super) replicas: Vec<HelloReplica>,
}

#[derive(Debug, Deserialize)]
pub(super) struct HelloReplica {
    pub(super) instance: String,
    pub(super) address: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusLine {
    plane_type: String,
    #[serde(rename = "planeID")]
    plane_id: String,
    namespace: Option<String>,
    name: String,
    #[serde(default)]
    pub(super) connected: bool,
    #[serde(rename = "clusterID")]
    pub(super) cluster_id: Option<String>,
    pub(super) binding: Option<BindingLine>,
}

#[derive(Debug, Deserialize)]
pub(super) struct BindingLine {
    pub(super) since: Timestamp,
    pub(super) trust: String,
}

impl StatusLine {
    pub(super) fn subject(&self) -> Result<(PlaneKey, CrRef), NameError> {
        let namespace = self.namespace.as_deref().unwrap_or(CLUSTER_SEGMENT);
        let plane_type: PlaneType = self.plane_type.parse()?;
        let cr = CrRef::from_segments(plane_type, namespace, &self.name)?;
        Ok((PlaneKey { plane_type, id: PlaneId::parse(&self.plane_id)? }, cr))
    }
}
