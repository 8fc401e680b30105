//! Events: what happened, for whoever looks at an object with `kubectl describe`.
//!
//! Nobody waits for an event to be written. They are queued, those that repeat are left out, and an object that changes
//! to and fro all the time cannot fill the API with them.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// An event takes no longer than this; it is lost then.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest note that the API takes.
const MAX_NOTE: usize = 1000;
/// Events that may wait to be written; further ones are lost.
const QUEUE: usize = 4096;
/// The same event is told again only after this time.
const REPEAT: Duration = Duration::from_mins(2);
/// So many events about one object may come together,
const BURST: f64 = 25.0;
/// and one more each time this has passed.
const REFILL: Duration = Duration::from_secs(20);
/// Events about all objects, in a second: what comes faster waits in the queue.
const PER_SECOND: u32 = 25;
/// Objects whose events are remembered.
const MAX_OBJECTS: usize = 16 * 1024;
/// How long what is queued may be written after the shutdown.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Publishes events. One per process, so that repeated ones are counted instead of listed.
#[derive(Clone)]
pub(crate) struct Events {
    queue: mpsc::Sender<Queued>,
}

struct Queued {
    object: ObjectReference,
    is_warning: bool,
    reason: String,
    note: String,
}

/// Writes what is queued.
pub(crate) struct Publisher {
    recorder: Recorder,
    queue: mpsc::Receiver<Queued>,
    limits: Limits,
}

impl Events {
    pub(crate) fn new(client: Client, instance: Option<String>) -> (Self, Publisher) {
        let reporter = Reporter { controller: "buildplane-controller".to_owned(), instance };
        let (queue, queued) = mpsc::channel(QUEUE);
        let recorder = Recorder::new(client, reporter);
        (Self { queue }, Publisher { recorder, queue: queued, limits: Limits::default() })
    }

    /// Tells of something that went as it should.
    pub(crate) fn normal(&self, object: &ObjectReference, reason: &str, note: &str) {
        self.publish(object, false, reason, note);
    }

    /// Tells of something that needs attention.
    pub(crate) fn warning(&self, object: &ObjectReference, reason: &str, note: &str) {
        self.publish(object, true, reason, note);
    }

    /// Tells of something. Never waits.
    pub(crate) fn publish(&self, object: &ObjectReference, is_warning: bool, reason: &str, note: &str) {
        let queued = Queued {
            object: object.clone(),
            is_warning,
            reason: reason.to_owned(),
            note: note[..note.floor_char_boundary(MAX_NOTE)].to_owned(),
        };
        if self.queue.try_send(queued).is_err() {
            tracing::debug!(reason, "an event is lost, too many wait");
        }
    }
}

impl Publisher {
    /// Writes events until `shutdown`, and for a moment longer what is queued then.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let pace = Duration::from_secs(1) / PER_SECOND;
        loop {
            let event = tokio::select! {
                biased;
                event = self.queue.recv() => event,
                () = shutdown.cancelled() => break,
            };
            let Some(event) = event else { break };
            if self.limits.admits(&event, Instant::now()) {
                write(&self.recorder, &event).await;
                tokio::select! {
                    () = shutdown.cancelled() => break,
                    () = tokio::time::sleep(pace) => {}
                }
            }
        }
        let rest = async {
            while let Ok(event) = self.queue.try_recv() {
                if self.limits.admits(&event, Instant::now()) {
                    write(&self.recorder, &event).await;
                }
            }
        };
        if tokio::time::timeout(LAST_WORDS, rest).await.is_err() {
            tracing::debug!("events were not written in time and are lost");
        }
        // Whoever asked for the task ends it; that there is nobody left to write for is no end of its own.
        shutdown.cancelled().await;
    }
}

async fn write(recorder: &Recorder, queued: &Queued) {
    let event = Event {
        type_: if queued.is_warning { EventType::Warning } else { EventType::Normal },
        reason: queued.reason.clone(),
        note: Some(queued.note.clone()),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    let kind = queued.object.kind.as_deref().unwrap_or_default();
    let name = queued.object.name.as_deref().unwrap_or_default();
    let reason = &queued.reason;
    match tokio::time::timeout(PATIENCE, recorder.publish(&event, &queued.object)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(kind, name, reason, %error, "event was not taken"),
        Err(_elapsed) => tracing::debug!(kind, name, reason, "event took too long"),
    }
}

/// Which events are told.
#[derive(Default)]
struct Limits {
    objects: HashMap<Object, Told>,
}

type Object = (Option<String>, Option<String>, Option<String>, Option<String>);

struct Told {
    tokens: f64,
    since: Instant,
    /// When what was told last, by reason and note.
    notes: HashMap<(String, String), Instant>,
}

impl Limits {
    fn admits(&mut self, event: &Queued, now: Instant) -> bool {
        let object = &event.object;
        let key = (object.uid.clone(), object.kind.clone(), object.namespace.clone(), object.name.clone());
        if self.objects.len() >= MAX_OBJECTS && !self.objects.contains_key(&key) {
            self.forget(now);
        }
        let told = self.objects.entry(key).or_insert_with(|| Told {
            tokens: BURST,
            since: now,
            notes: HashMap::new(),
        });
        told.tokens = told.tokens_at(now);
        told.since = now;
        told.notes.retain(|_, at| now.duration_since(*at) < REPEAT);
        let note = (event.reason.clone(), event.note.clone());
        if told.tokens < 1.0 || told.notes.contains_key(&note) {
            return false;
        }
        told.tokens -= 1.0;
        told.notes.insert(note, now);
        true
    }

    /// Forgets the objects that nothing holds back any more; all of them, should there be none.
    fn forget(&mut self, now: Instant) {
        self.objects.retain(|_, told| now.duration_since(told.since) < REPEAT || told.tokens_at(now) < BURST);
        if self.objects.len() >= MAX_OBJECTS {
            self.objects.clear();
        }
    }
}

impl Told {
    fn tokens_at(&self, now: Instant) -> f64 {
        let refilled = now.duration_since(self.since).as_secs_f64() / REFILL.as_secs_f64();
        (self.tokens + refilled).min(BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, note: &str) -> Queued {
        let object = ObjectReference { name: Some(name.into()), ..ObjectReference::default() };
        Queued { object, is_warning: false, reason: "R".into(), note: note.into() }
    }

    #[tokio::test(start_paused = true)]
    async fn what_repeats_is_told_once_in_a_while() {
        let mut limits = Limits::default();
        assert!(limits.admits(&event("a", "x"), Instant::now()));
        assert!(!limits.admits(&event("a", "x"), Instant::now()));
        assert!(limits.admits(&event("a", "y"), Instant::now()));
        assert!(limits.admits(&event("b", "x"), Instant::now()));
        tokio::time::advance(REPEAT).await;
        assert!(limits.admits(&event("a", "x"), Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_that_never_rests_is_told_of_now_and_then() {
        let mut limits = Limits::default();
        let mut n = 0;
        for round in 0..1000 {
            n += u32::from(limits.admits(&event("a", &round.to_string()), Instant::now()));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!((70..=76).contains(&n), "25 at once and one each 20 s: {n}");
        assert!(limits.admits(&event("b", "x"), Instant::now()), "others are told of");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded() {
        let mut limits = Limits::default();
        for index in 0..=MAX_OBJECTS {
            assert!(limits.admits(&event(&index.to_string(), "x"), Instant::now()));
        }
        assert!(limits.objects.len() <= MAX_OBJECTS);
    }
}
