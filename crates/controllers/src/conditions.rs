//! Conditions: what is told about one aspect of an object, and since when it is so.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The status of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Truth {
    True,
    False,
    Unknown,
}

impl Truth {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// What is told about one aspect: whether it holds, why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) truth: Truth,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// Messages longer than this are cut: the API refuses conditions beyond 32768 characters.
const MAX_MESSAGE: usize = 4096;

impl Verdict {
    pub(crate) fn holds(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Truth::True, reason, message.into())
    }

    pub(crate) fn fails(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Truth::False, reason, message.into())
    }

    pub(crate) fn unknown(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Truth::Unknown, reason, message.into())
    }

    fn new(truth: Truth, reason: &'static str, mut message: String) -> Self {
        if message.len() > MAX_MESSAGE {
            message.truncate(message.floor_char_boundary(MAX_MESSAGE));
            message.push('…');
        }
        Self { truth, reason, message }
    }
}

/// A condition that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) type_: &'static str,
    pub(crate) from: Option<String>,
    pub(crate) verdict: Verdict,
}

/// The conditions of an object, derived from what they were.
pub(crate) struct Conditions<'a> {
    previous: &'a [Condition],
    generation: Option<i64>,
    now: Timestamp,
    next: Vec<Condition>,
    changes: Vec<Change>,
}

impl<'a> Conditions<'a> {
    /// No conditions yet, for the given generation of the object.
    pub(crate) fn new(previous: &'a [Condition], generation: Option<i64>, now: Timestamp) -> Self {
        Self { previous, generation, now, next: Vec::new(), changes: Vec::new() }
    }

    /// Tells one aspect. The time of its last change is kept while its status stays.
    pub(crate) fn set(&mut self, type_: &'static str, verdict: Verdict) {
        let before = self.previous.iter().find(|condition| condition.type_ == type_);
        let status = verdict.truth.as_str();
        let since = match before {
            Some(before) if before.status == status => before.last_transition_time.clone(),
            _ => Time(self.now),
        };
        if before.is_none_or(|before| before.status != status || before.reason != verdict.reason) {
            let from = before.map(|before| before.status.clone());
            self.changes.push(Change { type_, from, verdict: verdict.clone() });
        }
        self.next.retain(|condition| condition.type_ != type_);
        self.next.push(Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: verdict.reason.to_owned(),
            message: verdict.message,
            observed_generation: self.generation,
            last_transition_time: since,
        });
    }

    /// Begins with the conditions as they were.
    pub(crate) fn keep_all(&mut self) {
        self.next = self.previous.to_vec();
    }

    /// The conditions, and which of them changed.
    pub(crate) fn finish(self) -> (Vec<Condition>, Vec<Change>) {
        (self.next, self.changes)
    }
}

/// The condition of a type.
pub(crate) fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn time_of_change_stays_while_the_status_stays() {
        let mut first = Conditions::new(&[], Some(1), at(10));
        first.set("Ready", Verdict::fails("A", "a"));
        let (first, changes) = first.finish();
        assert_eq!(changes.len(), 1);

        let mut second = Conditions::new(&first, Some(2), at(20));
        second.set("Ready", Verdict::fails("A", "other words"));
        let (second, changes) = second.finish();
        assert_eq!(changes, []);
        assert_eq!(second[0].last_transition_time, Time(at(10)));
        assert_eq!(second[0].observed_generation, Some(2));
        assert_eq!(second[0].message, "other words");

        let mut third = Conditions::new(&second, Some(2), at(30));
        third.set("Ready", Verdict::holds("B", ""));
        let (third, changes) = third.finish();
        assert_eq!(changes[0].from.as_deref(), Some("False"));
        assert_eq!(third[0].last_transition_time, Time(at(30)));
    }

    #[test]
    fn long_messages_are_cut_at_a_character() {
        let verdict = Verdict::fails("A", "é".repeat(MAX_MESSAGE));
        assert!(verdict.message.len() <= MAX_MESSAGE + '…'.len_utf8());
    }
}
