//! What people want to know of a plane, of whichever kind.

use buildplane_api::conditions::plane::{READY, reason};
use buildplane_api::plane::{AgentConnectionStatus, ConnectedAgent, Plane, PlaneStatus};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// The status with everything absent made empty.
pub(super) struct Facts {
    pub(super) status: PlaneStatus,
    pub(super) agents: AgentConnectionStatus,
}

impl Facts {
    pub(super) fn of(plane: &impl Plane) -> Self {
        let status = plane.status().cloned().unwrap_or_default();
        let agents = status.agent_connection.clone().unwrap_or_default();
        Self { status, agents }
    }

    pub(super) fn ready(&self) -> Option<&Condition> {
        self.status.conditions.iter().find(|condition| condition.type_ == READY)
    }

    /// The versions of the connected agents, each once.
    pub(super) fn versions(&self) -> String {
        let mut versions: Vec<_> =
            self.agents.agents.iter().filter_map(|agent| agent.version.as_deref()).collect();
        versions.sort_unstable();
        versions.dedup();
        versions.join(",")
    }

    /// When the first certificate of a connected agent ends.
    pub(super) fn certificates_end(&self) -> Option<Timestamp> {
        self.agents
            .agents
            .iter()
            .filter_map(|agent| agent.certificate_not_after.as_ref())
            .map(|at| at.0)
            .min()
    }

    /// Whether the owner of the plane lets the object be served, as far as that is known.
    pub(super) fn admission(&self) -> String {
        let not_admitted =
            self.status.conditions.iter().find(|condition| condition.reason == reason::NOT_ADMITTED_BY_PLANE);
        if let Some(condition) = not_admitted {
            return format!("not admitted: {}", condition.message);
        }
        let agents: &[ConnectedAgent] = &self.agents.agents;
        if agents.is_empty() {
            return "unknown, no agent is connected".to_owned();
        }
        if agents.iter().all(|agent| agent.narrowed) {
            return "admitted by the plane's owner (allowedPlanes)".to_owned();
        }
        "admitted; the plane serves every object whose clientCA verifies its agent (allowedPlanes is not set)"
            .to_owned()
    }
}

/// `45s`, `12m`, `3h12m`, `89d`: as kubectl writes ages.
pub(super) fn span(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 if seconds % 60 > 0 => format!("{minutes}m{}s", seconds % 60),
        120..10_800 => format!("{minutes}m"),
        10_800..28_800 if minutes % 60 > 0 => format!("{hours}h{}m", minutes % 60),
        10_800..172_800 => format!("{hours}h"),
        172_800..691_200 if hours % 24 > 0 => format!("{days}d{}h", hours % 24),
        _ => format!("{days}d"),
    }
}

/// How long until then: `89d`, or that it is over.
pub(super) fn until(at: Timestamp, now: Timestamp) -> String {
    if at <= now { "ended".to_owned() } else { span(at.duration_since(now)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_written_as_kubectl_does() {
        for (seconds, text) in [
            (-5, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (600, "10m"),
            (10_799, "179m"),
            (11_520, "3h12m"),
            (28_800, "8h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (89 * 86_400, "89d"),
        ] {
            assert_eq!(span(SignedDuration::from_secs(seconds)), text, "{seconds}");
        }
    }
}
