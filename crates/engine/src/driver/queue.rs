//! What is to be worked on, and when.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use crate::driver::cache::Key;

/// The first pause after a failure; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause after a failure.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// How long to sleep when nothing is due.
const IDLE: Duration = Duration::from_hours(1);

/// Workflows that are due, under way, or due later. Each is in it at most once, so it is as long as there are workflows.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    due: VecDeque<Key>,
    is_due: HashSet<Key>,
    /// Workflows being worked on, and whether something happened to them since.
    busy: HashMap<Key, bool>,
    later: BTreeSet<(Timestamp, Key)>,
    wakes: HashMap<Key, Timestamp>,
    failures: HashMap<Key, u32>,
    /// Workflows that may not begin yet, in the order they came.
    waiting: VecDeque<Key>,
    is_waiting: HashSet<Key>,
    /// Workflows that waited and may begin now.
    admitted: HashSet<Key>,
}

impl Queue {
    /// Something happened to a workflow.
    pub(crate) fn push(&mut self, key: Key) {
        if let Some(changed) = self.busy.get_mut(&key) {
            *changed = true;
        } else if self.is_due.insert(key.clone()) {
            self.due.push_back(key);
        }
    }

    /// The next workflow to work on.
    pub(crate) fn pop(&mut self) -> Option<Key> {
        let key = self.due.pop_front()?;
        self.is_due.remove(&key);
        Some(key)
    }

    /// Work on a workflow begins.
    pub(crate) fn started(&mut self, key: &Key) {
        self.busy.insert(key.clone(), false);
        self.cancel_wake(key);
    }

    /// Work on a workflow is over; what happened in the meantime makes it due again.
    pub(crate) fn ended(&mut self, key: &Key) {
        if self.busy.remove(key) == Some(true) {
            self.push(key.clone());
        }
    }

    pub(crate) fn succeeded(&mut self, key: &Key) {
        self.failures.remove(key);
    }

    /// Work on a workflow failed: it is due again after a pause.
    pub(crate) fn retry(&mut self, key: &Key, now: Timestamp) {
        let failures = self.failures.entry(key.clone()).or_default();
        let pause = FIRST_PAUSE.saturating_mul(1 << (*failures).min(12)).min(LONGEST_PAUSE);
        *failures = failures.saturating_add(1);
        // Workflows that failed together do not all come back together.
        let spread =
            key.name.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % 100;
        let pause = pause + pause * spread / 200;
        if !self.is_due.contains(key) {
            self.wake_at(key, now.checked_add(pause).unwrap_or(now));
        }
    }

    /// Makes a workflow due at some time.
    pub(crate) fn wake_at(&mut self, key: &Key, at: Timestamp) {
        self.cancel_wake(key);
        self.wakes.insert(key.clone(), at);
        self.later.insert((at, key.clone()));
    }

    /// How long until something becomes due by itself.
    pub(crate) fn next_wake(&self, now: Timestamp) -> Duration {
        let Some((at, _)) = self.later.first() else { return IDLE };
        let left = at.duration_since(now);
        Duration::try_from(left).unwrap_or(Duration::ZERO).min(IDLE)
    }

    /// Makes everything due whose time has come.
    pub(crate) fn wake(&mut self, now: Timestamp) {
        while let Some((at, _)) = self.later.first() {
            if *at > now {
                return;
            }
            let Some((_, key)) = self.later.pop_first() else { return };
            self.wakes.remove(&key);
            self.push(key);
        }
    }

    /// A workflow may not begin yet.
    pub(crate) fn wait(&mut self, key: &Key) {
        if self.is_waiting.insert(key.clone()) {
            self.waiting.push_back(key.clone());
        }
    }

    /// There is room for this many, counting those already admitted.
    pub(crate) fn admit_waiting(&mut self, room: usize) {
        while self.admitted.len() < room {
            let Some(key) = self.waiting.pop_front() else { return };
            self.is_waiting.remove(&key);
            self.admitted.insert(key.clone());
            self.push(key);
        }
    }

    /// Whether a workflow that has not begun may do so: it was admitted, or nobody waits before it.
    pub(crate) fn may_begin(&mut self, key: &Key) -> bool {
        self.admitted.remove(key) || (self.waiting.is_empty() && self.admitted.is_empty())
    }

    /// A workflow is gone.
    pub(crate) fn forget(&mut self, key: &Key) {
        self.cancel_wake(key);
        self.failures.remove(key);
        self.admitted.remove(key);
        if self.is_waiting.remove(key) {
            self.waiting.retain(|waiting| waiting != key);
        }
    }

    fn cancel_wake(&mut self, key: &Key) {
        if let Some(at) = self.wakes.remove(key) {
            self.later.remove(&(at, key.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key { namespace: "ci".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn a_workflow_is_worked_on_by_one_at_a_time_and_again_after_a_change() {
        let mut queue = Queue::default();
        queue.push(key("a"));
        queue.push(key("a"));
        assert_eq!(queue.pop(), Some(key("a")));
        queue.started(&key("a"));
        queue.push(key("a"));
        assert_eq!(queue.pop(), None);
        queue.ended(&key("a"));
        assert_eq!(queue.pop(), Some(key("a")));
        queue.started(&key("a"));
        queue.ended(&key("a"));
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn pauses_grow_to_a_limit() {
        let mut queue = Queue::default();
        let now = Timestamp::UNIX_EPOCH;
        let mut last = Duration::ZERO;
        for _ in 0..40 {
            queue.retry(&key("a"), now);
            let pause = queue.next_wake(now);
            assert!(pause >= last && pause <= LONGEST_PAUSE * 2);
            last = pause;
        }
        assert!(last >= LONGEST_PAUSE);
        queue.wake(now + last);
        assert_eq!(queue.pop(), Some(key("a")));
    }

    #[test]
    fn waiting_workflows_begin_in_the_order_they_came() {
        let mut queue = Queue::default();
        for name in ["a", "b", "a", "c"] {
            queue.wait(&key(name));
        }
        queue.forget(&key("b"));
        assert!(!queue.may_begin(&key("new")));
        queue.admit_waiting(5);
        assert!(queue.may_begin(&key("a")));
        assert!(!queue.may_begin(&key("new")), "c was promised a place");
        assert_eq!((queue.pop(), queue.pop(), queue.pop()), (Some(key("a")), Some(key("c")), None));
    }
}
