use std::time::Duration;

use jiff::Timestamp;

use buildplane_api::names::CrRef;

use crate::events::{RefusalStatus, excerpt, rfc3339};

use super::speaker::PlaneKey;

/// A refusal that repeats is told again after this long.
const REPEAT: Duration = Duration::from_secs(30);
/// Anybody can be turned away for a certificate of his own making; such a refusal replaces none younger than this.
const UNPROVEN: Duration = Duration::from_secs(5);

/// Why a connection may speak for nobody.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAdmitted {
    #[error("no custom resource with this plane id is registered")]
    NotRegistered,
    #[error("none of the {} custom resources of the plane accepts the certificate: {}", .errors.len(), first(.errors))]
    NotAccepted { errors: Vec<(CrRef, String)> },
    #[error(
        "{} is served by cluster {bound}, and this agent runs in cluster {stated}; if the plane has moved there, set the \
         annotation openchoreo.dev/cluster-id of the plane to {stated}, else give this cluster an identity of its own",
        names(.crs)
    )]
    ClusterConflict { crs: Vec<CrRef>, bound: String, stated: String },
    #[error("the certificate is for {named}, not for {}", claimed(.plane))]
    PlaneMismatch { plane: PlaneKey, named: String, crs: Vec<CrRef> },
    #[error("every custom resource that accepts the certificate has {limit} connections already")]
    PlaneFull { limit: usize },
}

impl NotAdmitted {
    /// The word for it, in the feed, in metrics and in logs.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::NotRegistered => "NotRegistered",
            Self::NotAccepted { .. } => "CertificateNotAccepted",
            Self::ClusterConflict { .. } => "ClusterConflict",
            Self::PlaneMismatch { .. } => "PlaneMismatch",
            Self::PlaneFull { .. } => "PlaneFull",
        }
    }

    /// The custom resources that this concerns, each with what its owner should read.
    pub(super) fn concerns(&self) -> Vec<(CrRef, String)> {
        match self {
            Self::NotAccepted { errors } => errors
                .iter()
                .map(|(cr, error)| {
                    (cr.clone(), format!("an agent's certificate is not accepted by clientCA: {error}"))
                })
                .collect(),
            Self::ClusterConflict { crs, .. } | Self::PlaneMismatch { crs, .. } => {
                let message = self.to_string();
                crs.iter().map(|cr| (cr.clone(), message.clone())).collect()
            }
            Self::NotRegistered | Self::PlaneFull { .. } => Vec::new(),
        }
    }

    /// Whether a custom resource's own CA vouched for the agent that was turned away.
    pub(super) fn is_proven(&self) -> bool {
        matches!(self, Self::ClusterConflict { .. } | Self::PlaneMismatch { .. })
    }
}

fn first(errors: &[(CrRef, String)]) -> &str {
    errors.first().map_or("", |(_, error)| error)
}

fn names(crs: &[CrRef]) -> String {
    match crs {
        [] => "the plane".to_owned(),
        [one] => one.to_string(),
        [one, rest @ ..] => format!("{one} (and {} more)", rest.len()),
    }
}

fn claimed(plane: &PlaneKey) -> String {
    format!("openchoreo:plane:{}:{}", plane.plane_type, plane.id)
}

/// The last refusal that concerns one custom resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    reason: &'static str,
    message: String,
    at: Timestamp,
    is_proven: bool,
}

impl Refusal {
    pub(super) fn new(reason: &'static str, message: &str, is_proven: bool, at: Timestamp) -> Self {
        Self { reason, message: excerpt(message), at, is_proven }
    }

    /// Whether this one is news to whoever knows of `before`.
    pub(super) fn replaces(&self, before: &Self) -> bool {
        let age = Duration::try_from(self.at.duration_since(before.at)).unwrap_or(Duration::ZERO);
        if !self.is_proven && age < UNPROVEN {
            return false;
        }
        let is_same = self.reason == before.reason && self.message == before.message;
        !is_same || age >= REPEAT
    }

    pub(super) fn status(&self) -> RefusalStatus {
        RefusalStatus { reason: self.reason, message: self.message.clone(), at: rfc3339(self.at) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_when_it_is_news() {
        let begun: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let after = |seconds: u64| begun + Duration::from_secs(seconds);
        let refusal = |reason, is_proven, at| Refusal::new(reason, "m", is_proven, at);
        let before = refusal("ClusterConflict", true, begun);
        for (next, replaces) in [
            (refusal("ClusterConflict", true, after(1)), false),
            (refusal("ClusterConflict", true, after(30)), true),
            (refusal("PlaneMismatch", true, after(0)), true),
            (refusal("CertificateNotAccepted", false, after(4)), false),
            (refusal("CertificateNotAccepted", false, after(5)), true),
        ] {
            assert_eq!(next.replaces(&before), replaces, "{next:?}");
        }
    }

    #[test]
    fn what_stands_in_a_certificate_cannot_flood_the_feed() {
        let told = Refusal::new(
            "PlaneMismatch",
            &format!("a\nb\u{1b}[{}", "x".repeat(10_000)),
            true,
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(told.message.chars().count(), 512);
        assert!(told.message.starts_with("ab["));
    }
}
