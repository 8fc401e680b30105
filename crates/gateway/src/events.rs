//! What the planes API says about planes, as JSON.

use std::time::SystemTime;

use bytes::Bytes;
use jiff::{Timestamp, Unit};
use serde::Serialize;

use buildplane_api::names::{CrRef, PlaneId, PlaneType};

use crate::registry::PlaneKey;

/// The most of a message that is told, in characters.
const MAX_MESSAGE: usize = 512;

/// One line of the watch.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type")]
pub(crate) enum Event<'a> {
    Hello { instance: &'a str, replicas: &'a [ReplicaEntry] },
    Replicas { replicas: &'a [ReplicaEntry] },
    Removed(Removed<'a>),
    Status(Box<Status>),
    Refused(Refused<'a>),
    Ping {},
}

impl Event<'_> {
    /// The event as a line of NDJSON.
    pub(crate) fn line(&self) -> Bytes {
        // Strings, numbers and lists always serialize.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line.into()
    }
}

/// A replica of the gateway that is alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ReplicaEntry {
    pub(crate) instance: String,
    /// The base URL of its internal API, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    /// Where agents reach it alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
}

/// A custom resource was removed.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Removed<'a> {
    plane_type: &'static str,
    #[serde(rename = "planeID")]
    plane_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    name: &'a str,
}

impl<'a> Removed<'a> {
    pub(crate) fn new(plane_id: &'a PlaneId, cr: &'a CrRef) -> Self {
        Self {
            plane_type: cr.plane_type().as_str(),
            plane_id: plane_id.as_str(),
            namespace: cr.namespace(),
            name: cr.name(),
        }
    }
}

/// Since when a custom resource is bound to its cluster, and what its CA was then: replicas agree on the oldest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct BindingStatus {
    pub(crate) since: String,
    pub(crate) trust: String,
}

/// Who is connected for one custom resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    pub(crate) plane_type: &'static str,
    #[serde(rename = "planeID")]
    pub(crate) plane_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    pub(crate) connected: bool,
    pub(crate) connected_agents: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_seen: Option<String>,
    /// The cluster that serves it: the one it is pinned to, or that of the first agent.
    #[serde(rename = "clusterID", skip_serializing_if = "Option::is_none")]
    pub(crate) cluster_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) binding: Option<BindingStatus>,
    pub(crate) agents: Vec<Agent>,
    pub(crate) unadmitted: Vec<Unadmitted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refusal: Option<RefusalStatus>,
}

impl Status {
    pub(crate) fn new(
        plane_id: &PlaneId,
        cr: &CrRef,
        agents: Vec<Agent>,
        last_seen: Option<Timestamp>,
    ) -> Self {
        Self {
            plane_type: cr.plane_type().as_str(),
            plane_id: plane_id.to_string(),
            namespace: cr.namespace().map(ToOwned::to_owned),
            name: cr.name().to_owned(),
            connected: !agents.is_empty(),
            connected_agents: agents.len(),
            last_seen: last_seen.map(rfc3339),
            cluster_id: None,
            binding: None,
            agents,
            unadmitted: Vec::new(),
            refusal: None,
        }
    }
}

/// One agent process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Agent {
    pub(crate) instance: String,
    pub(crate) version: String,
    pub(crate) certificate_not_after: String,
    pub(crate) connected_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cluster: Option<String>,
    /// Whether the owner of its cluster narrowed whom it serves.
    pub(crate) narrowed: bool,
}

/// An agent that the custom resource's CA vouches for, and that does not serve it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Unadmitted {
    pub(crate) instance: String,
    pub(crate) version: String,
    pub(crate) message: String,
}

/// The last refusal that concerns one custom resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RefusalStatus {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) at: String,
}

/// An agent was turned away.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Refused<'a> {
    pub(crate) plane_type: &'static str,
    #[serde(rename = "planeID")]
    pub(crate) plane_id: &'a str,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) at: String,
}

impl<'a> Refused<'a> {
    pub(crate) fn new(plane: &'a PlaneKey, reason: &'static str, message: &str) -> Self {
        Self {
            plane_type: plane.plane_type.as_str(),
            plane_id: plane.id.as_str(),
            reason,
            message: excerpt(message),
            at: rfc3339(Timestamp::now()),
        }
    }
}

/// A message as it is told: parts of it may come out of a certificate.
pub(crate) fn excerpt(message: &str) -> String {
    message.chars().filter(|c| !c.is_control()).take(MAX_MESSAGE).collect()
}

/// What upstream answers about a plane as a whole, or about one custom resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlaneStatus {
    pub(crate) plane_type: &'static str,
    #[serde(rename = "planeID")]
    pub(crate) plane_id: String,
    pub(crate) connected: bool,
    pub(crate) connected_agents: usize,
    pub(crate) last_seen: String,
}

impl PlaneStatus {
    pub(crate) fn new(
        plane_type: PlaneType,
        plane_id: &PlaneId,
        connected_agents: usize,
        last_seen: Option<Timestamp>,
    ) -> Self {
        Self {
            plane_type: plane_type.as_str(),
            plane_id: plane_id.to_string(),
            connected: connected_agents > 0,
            connected_agents,
            // Go's zero time, which upstream's clients know as "never".
            last_seen: last_seen.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), rfc3339),
        }
    }
}

pub(crate) fn rfc3339(time: Timestamp) -> String {
    time.round(Unit::Second).unwrap_or(time).to_string()
}

pub(crate) fn rfc3339_system(time: SystemTime) -> String {
    Timestamp::try_from(time).map(rfc3339).unwrap_or_default()
}
