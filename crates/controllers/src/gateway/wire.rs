//! The lines of a gateway's watch stream.

use buildplane_api::names::{CrRef, NameError, PlaneId, PlaneType};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

/// A longer text of somebody else's is cut.
const MAX_TEXT: usize = 512;

/// The body of a registration.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RegistrationBody<'a> {
    #[serde(rename = "clientCA")]
    pub(super) client_ca: &'a str,
    #[serde(rename = "clusterID", skip_serializing_if = "Option::is_none")]
    pub(super) cluster_id: Option<&'a str>,
}

/// One line. Unknown types are skipped, so that the gateway may learn new ones first.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(tag = "type")]
pub(super) enum Line {
    Hello {
        instance: String,
        #[serde(default)]
        replicas: Vec<ReplicaEntry>,
    },
    Replicas {
        replicas: Vec<ReplicaEntry>,
    },
    Status(StatusLine),
    Refused(RefusedLine),
    Ping,
    #[serde(other)]
    Unknown,
}

/// A gateway replica that is alive, as one of them says.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReplicaEntry {
    pub(super) instance: String,
    /// Where its internal API is; absent where nobody knows.
    #[serde(default)]
    pub(super) url: Option<String>,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusLine {
    plane_type: String,
    #[serde(rename = "planeID")]
    plane_id: String,
    #[serde(default)]
    namespace: Option<String>,
    name: String,
    pub(super) connected: bool,
    #[serde(default)]
    pub(super) connected_agents: u32,
    #[serde(default)]
    pub(super) last_seen: Option<Timestamp>,
    #[serde(rename = "clusterID", default, deserialize_with = "optional_text")]
    pub(super) cluster_id: Option<String>,
    #[serde(default)]
    pub(super) agents: Vec<Agent>,
    #[serde(default)]
    pub(super) unadmitted: Vec<Unadmitted>,
    #[serde(default)]
    pub(super) refusal: Option<Refusal>,
}

impl StatusLine {
    /// Which plane and object the line speaks of.
    pub(super) fn subject(&self) -> Result<(PlaneId, CrRef), NameError> {
        let plane_type: PlaneType = self.plane_type.parse()?;
        let namespace = self.namespace.as_deref().filter(|namespace| !namespace.is_empty());
        let kind = if namespace.is_some() { plane_type.namespaced_kind() } else { plane_type.cluster_kind() };
        Ok((PlaneId::parse(&self.plane_id)?, CrRef::try_new(kind, namespace, &self.name)?))
    }
}

/// One agent that is connected.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Agent {
    #[serde(default, deserialize_with = "text")]
    pub(crate) instance: String,
    #[serde(default, deserialize_with = "text")]
    pub(crate) version: String,
    #[serde(default, deserialize_with = "time")]
    pub(crate) certificate_not_after: Option<Timestamp>,
    #[serde(default, deserialize_with = "time")]
    pub(crate) connected_at: Option<Timestamp>,
    /// Whether the owner of the plane narrowed whom it serves. Agents that do not say so serve everybody.
    #[serde(default)]
    pub(crate) narrowed: bool,
}

/// An agent that the object's CA verifies and that may not serve it.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Unadmitted {
    #[serde(default, deserialize_with = "text")]
    pub(crate) instance: String,
    #[serde(default, deserialize_with = "text")]
    pub(crate) message: String,
}

/// An agent that the gateway turned away.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Refusal {
    #[serde(default, deserialize_with = "text")]
    pub(crate) reason: String,
    #[serde(default, deserialize_with = "text")]
    pub(crate) message: String,
    #[serde(default, deserialize_with = "time")]
    pub(crate) at: Option<Timestamp>,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(super) struct RefusedLine {
    plane_type: String,
    #[serde(rename = "planeID")]
    plane_id: String,
    #[serde(flatten)]
    pub(super) refusal: Refusal,
}

impl RefusedLine {
    /// Which plane the agent claimed to be of.
    pub(super) fn subject(&self) -> Result<(PlaneType, PlaneId), NameError> {
        Ok((self.plane_type.parse()?, PlaneId::parse(&self.plane_id)?))
    }
}

/// Text that goes into a status: without control characters, and short. Part of it is what agents say of themselves.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok(text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect())
}

fn optional_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    let text = text.map(|text| text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect::<String>());
    Ok(text.filter(|text| !text.is_empty()))
}

/// A time that cannot be read is one that is not told; the rest of the line still counts.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.and_then(|text| text.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        serde_json::from_str::<Line>(text).expect("a line")
    }

    #[test]
    fn lines_are_read_as_the_gateway_writes_them() {
        let hello = Line::Hello { instance: "x".into(), replicas: Vec::new() };
        assert_eq!(line(r#"{"type":"Hello","instance":"x"}"#), hello);
        let Line::Replicas { replicas } = line(
            r#"{"type":"Replicas","replicas":[{"instance":"a","url":"https://a:8444"},{"instance":"b"}]}"#,
        ) else {
            panic!("not the replicas");
        };
        assert_eq!(replicas[0].url.as_deref(), Some("https://a:8444"));
        assert_eq!(replicas[1].url, None);
        assert_eq!(line(r#"{"type":"Ping"}"#), Line::Ping);
        assert_eq!(line(r#"{"type":"News","of":"tomorrow"}"#), Line::Unknown);
        let Line::Status(status) = line(
            r#"{"type":"Status","planeType":"buildplane","planeID":"shared","namespace":"org","name":"bp",
                "connected":true,"connectedAgents":2,"lastSeen":"2026-01-02T03:04:05Z","clusterID":"6f1c",
                "agents":[{"instance":"a","version":"0.1.0","certificateNotAfter":"2026-04-01T00:00:00Z",
                           "connectedAt":"2026-01-01T00:00:00Z","cluster":"6f1c","narrowed":true}],
                "unadmitted":[{"instance":"b","version":"0.1.0","message":"m"}],
                "refusal":{"reason":"ClusterConflict","message":"two\nlines","at":"2026-01-01T00:00:00Z"}}"#,
        ) else {
            panic!("not a status");
        };
        let (plane, cr) = status.subject().expect("a subject");
        assert_eq!((plane.as_str(), cr.to_string().as_str()), ("shared", "buildplane/org/bp"));
        assert_eq!((status.connected, status.connected_agents, status.agents.len()), (true, 2, 1));
        assert_eq!(status.cluster_id.as_deref(), Some("6f1c"));
        assert!(status.agents[0].narrowed && status.agents[0].certificate_not_after.is_some());
        assert_eq!(status.unadmitted[0].instance, "b");
        assert_eq!(status.refusal.map(|refusal| refusal.message).as_deref(), Some("twolines"));
        let Line::Refused(refused) = line(
            r#"{"type":"Refused","planeType":"buildplane","planeID":"p","reason":"R","message":"m","at":"soon"}"#,
        ) else {
            panic!("not a refusal");
        };
        assert_eq!((refused.refusal.reason.as_str(), refused.refusal.at), ("R", None));
    }

    #[test]
    fn a_status_without_namespace_is_of_a_cluster_scoped_object() {
        let Line::Status(status) =
            line(r#"{"type":"Status","planeType":"buildplane","planeID":"p","name":"bp","connected":false}"#)
        else {
            panic!("not a status")
        };
        assert_eq!(
            status.subject().map(|(_, cr)| cr.to_string()),
            Ok("clusterbuildplane/_cluster/bp".into())
        );
    }
}
