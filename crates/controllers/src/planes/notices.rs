//! Events on planes: what an operator wants to know of, once.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use buildplane_api::conditions::plane::{self, event, reason};
use buildplane_api::names::CrRef;
use buildplane_api::plane::PlaneStatus;

use super::agents::{CLUSTER_CONFLICT, cluster_conflict, is_shared_unnarrowed};
use super::apply::Applied;
use super::validate::Validated;
use crate::conditions::{Change, Truth};
use crate::gateway::Registration;

/// More agents than this that come or go at once are counted, not named.
const MAX_NAMED: usize = 3;

/// Something to tell by an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) is_warning: bool,
    pub(super) reason: &'static str,
    pub(super) note: String,
}

impl Notice {
    fn normal(reason: &'static str, note: impl Into<String>) -> Self {
        Self { is_warning: false, reason, note: note.into() }
    }

    fn warning(reason: &'static str, note: impl Into<String>) -> Self {
        Self { is_warning: true, reason, note: note.into() }
    }
}

/// What was told last of states that last: they are told when they begin, and when their words change.
#[derive(Default)]
pub(crate) struct Notices(Mutex<HashMap<CrRef, HashMap<&'static str, String>>>);

impl Notices {
    /// Gives those that are news, and notes that the others have ended.
    pub(super) fn begun(&self, cr: &CrRef, lasting: Vec<Notice>) -> Vec<Notice> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lasting.is_empty() {
            all.remove(cr);
            return lasting;
        }
        let told = all.entry(cr.clone()).or_default();
        told.retain(|reason, _| lasting.iter().any(|notice| notice.reason == *reason));
        let mut news = Vec::new();
        for notice in lasting {
            let before = told.insert(notice.reason, notice.note.clone());
            if before.is_none_or(|before| before != notice.note) {
                news.push(notice);
            }
        }
        news
    }

    /// The object is gone.
    pub(super) fn forget(&self, cr: &CrRef) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(cr);
    }
}

/// States of a plane that last and that no condition has as its reason.
pub(super) fn lasting(plane: &Validated, applied: &Applied) -> Vec<Notice> {
    let mut notices = Vec::new();
    if plane.secret_ignored {
        let note =
            "clientCA has both value and secretRef; value is taken, secretRef is ignored: remove one of them";
        notices.push(Notice::warning(event::SECRET_REF_IGNORED, note));
    }
    if is_shared_unnarrowed(applied) {
        let note = "other objects share this plane, and its agents serve every object whose clientCA verifies them; ask \
                    the owner of the build cluster to narrow allowedPlanes in the agent's configuration";
        notices.push(Notice::warning(event::SHARED_PLANE_NOT_NARROWED, note));
    }
    let served = applied.connection.as_ref().filter(|connection| connection.connected);
    let refusal = served.and_then(|connection| connection.refusal.as_ref());
    if let Some(conflict) = refusal.filter(|refusal| refusal.reason == CLUSTER_CONFLICT) {
        notices.push(Notice::warning(reason::CLUSTER_CONFLICT, cluster_conflict(&conflict.message)));
    }
    notices
}

/// What changed from one status to the next.
pub(super) fn changes(
    before: Option<&PlaneStatus>,
    after: &PlaneStatus,
    changed: &[Change],
    plane: &Validated,
    last: Option<&Registration>,
) -> Vec<Notice> {
    let mut notices: Vec<Notice> =
        changed.iter().filter(|change| is_worth_an_event(change)).map(of_change).collect();
    let Some(before) = before else { return notices };
    if let (Some(old), Some(new)) = (&before.plane_id, &after.plane_id)
        && old != new
    {
        let note =
            format!("the plane id changed from {old} to {new}; agents of {old} no longer serve this object");
        notices.push(Notice::normal(event::PLANE_ID_CHANGED, note));
    }
    if let (Some(old), Some(new)) = (&before.cluster_id, &after.cluster_id)
        && old != new
    {
        let note = format!("the plane is served by cluster {new}, before by {old}");
        notices.push(Notice::normal(event::CLUSTER_CHANGED, note));
    }
    if let (Some(last), Some(bundle)) = (last, &plane.bundle)
        && last.pem != bundle.pem
    {
        let note = format!("clientCA changed: {}", plane.client_ca.message);
        notices.push(Notice::normal(event::CLIENT_CA_ROTATED, note));
    }
    let told_already = changed.iter().any(|change| change.type_ == plane::AGENT_CONNECTED);
    if !told_already {
        notices.extend(comings_and_goings(before, after));
    }
    notices
}

/// Agents that came or left while others stayed.
fn comings_and_goings(before: &PlaneStatus, after: &PlaneStatus) -> Vec<Notice> {
    let instances = |status: &PlaneStatus| -> HashSet<String> {
        let agents = status.agent_connection.iter().flat_map(|connection| &connection.agents);
        agents.map(|agent| agent.instance.clone()).collect()
    };
    let n = after.agent_connection.as_ref().map(|connection| connection.connected_agents).unwrap_or_default();
    let (old, new) = (instances(before), instances(after));
    if new.is_empty() {
        return Vec::new();
    }
    let mut notices = Vec::new();
    let came = new.difference(&old).take(MAX_NAMED);
    notices.extend(came.map(|name| {
        Notice::normal(reason::AGENT_CONNECTED, format!("agent {name} connected; {n} are connected"))
    }));
    let left = old.difference(&new).take(MAX_NAMED);
    notices.extend(left.map(|name| {
        Notice::normal(event::AGENT_DISCONNECTED, format!("agent {name} disconnected; {n} are connected"))
    }));
    notices
}

fn of_change(change: &Change) -> Notice {
    let verdict = &change.verdict;
    let expires =
        [reason::CERTIFICATE_EXPIRING, reason::AGENT_CERTIFICATE_EXPIRING].contains(&verdict.reason);
    if verdict.truth == Truth::True && !expires {
        return Notice::normal(verdict.reason, verdict.message.clone());
    }
    let is_loss = change.type_ == plane::AGENT_CONNECTED
        && change.from.as_deref() == Some(Truth::True.as_str())
        && verdict.reason == reason::NO_AGENT_CONNECTED;
    if is_loss {
        let note = format!("the last agent disconnected; {}", verdict.message);
        return Notice::warning(event::AGENT_DISCONNECTED, note);
    }
    Notice::warning(verdict.reason, verdict.message.clone())
}

/// What an operator wants to be told of: every change but the summary, and at first sight only what is wrong in the
/// object itself. That a new plane has no agent yet is no news.
fn is_worth_an_event(change: &Change) -> bool {
    let first = change.from.is_none();
    let is_true = change.verdict.truth == Truth::True;
    let warns =
        [reason::CERTIFICATE_EXPIRING, reason::AGENT_CERTIFICATE_EXPIRING].contains(&change.verdict.reason);
    match change.type_ {
        plane::READY | plane::CREATED => false,
        plane::CLIENT_CA_VALID | plane::OBSERVABILITY_PLANE_RESOLVED => !first || !is_true || warns,
        plane::AGENT_CONNECTED => {
            let is_expected =
                [reason::NO_AGENT_CONNECTED, reason::GATEWAY_UNREACHABLE].contains(&change.verdict.reason);
            !first || !is_expected
        }
        _ => !first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_told_when_it_begins_and_when_it_changes() {
        let cr: CrRef = "buildplane/org/bp".parse().expect("a reference");
        let notices = Notices::default();
        let shared = || Notice::warning(event::SHARED_PLANE_NOT_NARROWED, "shared");
        let both = || Notice::warning(event::SECRET_REF_IGNORED, "both");
        assert_eq!(notices.begun(&cr, vec![shared()]), [shared()]);
        assert_eq!(notices.begun(&cr, vec![shared()]), []);
        assert_eq!(notices.begun(&cr, vec![shared(), both()]), [both()]);
        assert_eq!(notices.begun(&cr, vec![both()]), []);
        assert_eq!(notices.begun(&cr, vec![shared(), both()]), [shared()], "it ended and began again");
        let other = Notice::warning(event::SECRET_REF_IGNORED, "other words");
        assert_eq!(notices.begun(&cr, vec![other.clone()]), [other]);
        assert_eq!(notices.begun(&cr, Vec::new()), []);
        assert_eq!(notices.begun(&cr, vec![shared()]), [shared()]);
    }
}
