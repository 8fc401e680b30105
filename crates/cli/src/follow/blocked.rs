//! A run that waits for somebody to change something: no waiting of ours helps, so it is bounded.

use std::time::Duration;

use buildplane_api::WorkflowRun;
use tokio::time::Instant;

use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::output::sanitize::sanitize;

/// The option of every command that follows a run.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct BlockedArgs {
    /// How many seconds to wait for a run that cannot start until somebody changes something; 0 waits on
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    blocked_timeout: u64,
}

impl BlockedArgs {
    pub(crate) fn patience(self) -> Option<Duration> {
        (self.blocked_timeout > 0).then(|| Duration::from_secs(self.blocked_timeout))
    }
}

/// Since when a run is blocked, and why.
#[derive(Debug)]
pub(super) struct Blocked {
    patience: Option<Duration>,
    now: Option<(Instant, String)>,
}

impl Blocked {
    pub(super) fn new(patience: Option<Duration>) -> Self {
        Self { patience, now: None }
    }

    /// Takes the run's state. The time counts from when it was first blocked, whatever it says since.
    pub(super) fn run(&mut self, run: &WorkflowRun, now: Instant) {
        self.now = run.blocked().map(|condition| {
            let since = self.now.as_ref().map_or(now, |(since, _)| *since);
            let message = if condition.message.is_empty() { &condition.reason } else { &condition.message };
            (since, sanitize(message.as_bytes()))
        });
    }

    /// Ends when the patience does; never while nothing is blocked. Cancel-safe.
    pub(super) async fn too_long(&self, name: &str) -> Failure {
        match self.end() {
            Some((end, patience, message)) => {
                tokio::time::sleep_until(end).await;
                failure(name, patience, message)
            }
            None => std::future::pending().await,
        }
    }

    fn end(&self) -> Option<(Instant, Duration, &str)> {
        let (since, message) = self.now.as_ref()?;
        let patience = self.patience?;
        Some((*since + patience, patience, message))
    }
}

fn failure(name: &str, patience: Duration, message: &str) -> Failure {
    Failure::new(message)
        .context(format!("run {name} has not started within {} s", patience.as_secs()))
        .hint(format!(
            "once that is changed it starts by itself: `buildplane logs -f {name}` follows it, `buildplane cancel {name}` \
             ends it"
        ))
        .exit(ExitStatus::TimedOut)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(reason: &str) -> WorkflowRun {
        serde_json::from_value(json!({
            "apiVersion": "openchoreo.dev/v1alpha1", "kind": "WorkflowRun",
            "metadata": {"name": "r", "namespace": "default", "generation": 1},
            "spec": {"workflow": {"name": "docker"}},
            "status": {"phase": "Pending", "conditions": [{
                "type": "Ready", "status": "False", "reason": reason, "message": format!("it is {reason}\u{1b}[2J"),
                "observedGeneration": 1, "lastTransitionTime": "2026-11-21T03:00:04Z",
            }]},
        }))
        .expect("a run")
    }

    #[test]
    fn only_a_run_that_is_blocked_is_given_up_and_only_after_a_while() {
        let minute = Duration::from_mins(1);
        let began = Instant::now();
        let mut blocked = Blocked::new(Some(minute));
        assert!(blocked.end().is_none());
        blocked.run(&run("WorkflowNotFound"), began);
        blocked.run(&run("ParametersInvalid"), began + minute / 2);
        assert_eq!(blocked.end(), Some((began + minute, minute, "it is ParametersInvalid")));
        // One that waits for an agent or a slot is not blocked, and the time begins anew.
        blocked.run(&run("BuildPlaneNotReady"), began + minute / 2);
        assert!(blocked.end().is_none());
        blocked.run(&run("WorkflowNotFound"), began + minute);
        assert_eq!(blocked.end().map(|end| end.0), Some(began + 2 * minute));
        let mut patient = Blocked::new(None);
        patient.run(&run("WorkflowNotFound"), began);
        assert!(patient.end().is_none());
    }
}
