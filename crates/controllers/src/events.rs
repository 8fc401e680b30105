//! Events: what happened, for whoever looks at an object with `kubectl describe`.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

/// An event takes no longer than this; it is lost rather than that a reconcile waits for it.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest note that the API takes.
const MAX_NOTE: usize = 1000;

/// Publishes events. One per process, so that repeated ones are counted instead of listed.
#[derive(Clone)]
pub(crate) struct Events {
    recorder: Recorder,
}

impl Events {
    pub(crate) fn new(client: Client, instance: Option<String>) -> Self {
        let reporter = Reporter { controller: "buildplane-controller".to_owned(), instance };
        Self { recorder: Recorder::new(client, reporter) }
    }

    /// Tells of something that went as it should.
    pub(crate) async fn normal(&self, object: &ObjectReference, reason: &str, note: &str) {
        self.publish(EventType::Normal, object, reason, note).await;
    }

    /// Tells of something that needs attention.
    pub(crate) async fn warning(&self, object: &ObjectReference, reason: &str, note: &str) {
        self.publish(EventType::Warning, object, reason, note).await;
    }

    async fn publish(&self, type_: EventType, object: &ObjectReference, reason: &str, note: &str) {
        let note = &note[..note.floor_char_boundary(MAX_NOTE)];
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note.to_owned()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        let kind = object.kind.as_deref().unwrap_or_default();
        let name = object.name.as_deref().unwrap_or_default();
        match tokio::time::timeout(PATIENCE, self.recorder.publish(&event, object)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(kind, name, reason, %error, "event was not taken"),
            Err(_elapsed) => tracing::debug!(kind, name, reason, "event took too long"),
        }
    }
}
