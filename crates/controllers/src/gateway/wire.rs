//! The lines of the gateway's watch stream.

use buildplane_api::names::{CrRef, NameError, PlaneId, PlaneType};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The body of a registration.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RegistrationBody<'a> {
    #[serde(rename = "clientCA")]
    pub(super) client_ca: &'a str,
}

/// One line. Unknown types are skipped, so that the gateway may learn new ones first.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(tag = "type")]
pub(super) enum Line {
    Hello {
        instance: String,
    },
    Status(StatusLine),
    Refused(RefusedLine),
    Ping,
    #[serde(other)]
    Unknown,
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
    #[serde(default)]
    pub(super) agents: Vec<Agent>,
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
    #[serde(default)]
    pub(crate) instance: String,
    #[serde(default)]
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) certificate_not_after: String,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(super) struct RefusedLine {
    plane_type: String,
    #[serde(rename = "planeID")]
    plane_id: String,
    #[serde(default)]
    pub(super) reason: String,
    #[serde(default)]
    pub(super) message: String,
    #[serde(default)]
    pub(super) at: Option<Timestamp>,
}

impl RefusedLine {
    /// Which plane the agent claimed to be of.
    pub(super) fn subject(&self) -> Result<(PlaneType, PlaneId), NameError> {
        Ok((self.plane_type.parse()?, PlaneId::parse(&self.plane_id)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_the_gateway_writes_them() {
        let line = |text: &str| serde_json::from_str::<Line>(text).expect("a line");
        assert_eq!(line(r#"{"type":"Hello","instance":"x"}"#), Line::Hello { instance: "x".into() });
        assert_eq!(line(r#"{"type":"Ping"}"#), Line::Ping);
        assert_eq!(line(r#"{"type":"News","of":"tomorrow"}"#), Line::Unknown);
        let Line::Status(status) = line(
            r#"{"type":"Status","planeType":"buildplane","planeID":"shared","namespace":"org","name":"bp",
                "connected":true,"connectedAgents":2,"lastSeen":"2026-01-02T03:04:05Z",
                "agents":[{"instance":"a","version":"0.1.0","certificateNotAfter":"2026-04-01T00:00:00Z"}]}"#,
        ) else {
            panic!("not a status");
        };
        let (plane, cr) = status.subject().expect("a subject");
        assert_eq!((plane.as_str(), cr.to_string().as_str()), ("shared", "buildplane/org/bp"));
        assert_eq!((status.connected, status.connected_agents, status.agents.len()), (true, 2, 1));
    }

    #[test]
    fn a_status_without_namespace_is_of_a_cluster_scoped_object() {
        let line =
            r#"{"type":"Status","planeType":"buildplane","planeID":"p","name":"bp","connected":false}"#;
        let Ok(Line::Status(status)) = serde_json::from_str(line) else { panic!("not a status") };
        assert_eq!(
            status.subject().map(|(_, cr)| cr.to_string()),
            Ok("clusterbuildplane/_cluster/bp".into())
        );
    }
}
