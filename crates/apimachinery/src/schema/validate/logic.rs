//! `allOf`, `anyOf`, `oneOf`, `not`. What they say carries no field in Kubernetes, which prints `<nil>` for it.

use serde_json::Value;

use super::{Ratchet, Walk};
use crate::field::{FieldError, Location};
use crate::schema::Node;
use crate::schema::model::{Checks, NodeId};

/// A value held against one of several schemas.
struct Attempt {
    errors: Vec<FieldError>,
    n_matches: u32,
}

impl Attempt {
    fn is_valid(&self) -> bool {
        self.errors.is_empty()
    }
}

impl Walk {
    pub(super) fn logic(&mut self, node: Node<'_>, checks: &Checks, value: &Value, at: &Location<'_>) {
        let attempt = |id: &NodeId| {
            // Whether an alternative fits is asked of the value as it is; only its place as a whole is tolerated.
            let mut inner = Self::new(Ratchet::Off);
            inner.changed_value(node.at(*id), value, None, at);
            Attempt { errors: inner.errors, n_matches: inner.n_matches }
        };
        if !checks.any_of.is_empty() {
            let mut attempts = Vec::with_capacity(checks.any_of.len());
            for id in &checks.any_of {
                let attempt = attempt(id);
                let is_valid = attempt.is_valid();
                attempts.push(attempt);
                if is_valid {
                    break;
                }
            }
            self.any_of(attempts, at);
        }
        if !checks.one_of.is_empty() {
            let attempts = checks.one_of.iter().map(attempt).collect();
            self.one_of(attempts, at);
        }
        if !checks.all_of.is_empty() {
            let attempts = checks.all_of.iter().map(attempt).collect();
            self.all_of(attempts, at);
        }
        if let Some(id) = &checks.not
            && attempt(id).is_valid()
        {
            self.composite(format!("{:?} must not validate the schema (not)", at.to_string()));
        }
    }

    fn any_of(&mut self, mut attempts: Vec<Attempt>, at: &Location<'_>) {
        if let Some(success) = attempts.pop_if(|last| last.is_valid()) {
            self.take(success);
        } else {
            self.composite(format!("{:?} must validate at least one schema (anyOf)", at.to_string()));
            self.take_closest(attempts);
        }
    }

    fn one_of(&mut self, attempts: Vec<Attempt>, at: &Location<'_>) {
        let n_valid = attempts.iter().filter(|attempt| attempt.is_valid()).count();
        let found = match n_valid {
            1 => {
                attempts.into_iter().filter(Attempt::is_valid).for_each(|attempt| self.take(attempt));
                return;
            }
            0 => "Found none valid".to_owned(),
            several => format!("Found {several} valid alternatives"),
        };
        let place = at.to_string();
        self.composite(format!("{place:?} must validate one and only one schema (oneOf). {found}"));
        if n_valid == 0 {
            self.take_closest(attempts);
        }
    }

    fn all_of(&mut self, attempts: Vec<Attempt>, at: &Location<'_>) {
        let n_valid = attempts.iter().filter(|attempt| attempt.is_valid()).count();
        let n_all = attempts.len();
        for attempt in attempts {
            self.take(attempt);
        }
        if n_valid != n_all {
            let none = if n_valid == 0 { ". None validated" } else { "" };
            self.composite(format!("{:?} must validate all the schemas (allOf){none}", at.to_string()));
        }
    }

    fn take(&mut self, attempt: Attempt) {
        self.n_matches += attempt.n_matches;
        for error in attempt.errors {
            self.push(error);
        }
    }

    /// The errors of the alternative of which most was right, the first of several.
    fn take_closest(&mut self, attempts: Vec<Attempt>) {
        let best = attempts
            .into_iter()
            .reduce(|best, next| if next.n_matches > best.n_matches { next } else { best });
        if let Some(best) = best {
            self.take(best);
        }
    }

    fn composite(&mut self, detail: String) {
        self.push(FieldError::invalid("<nil>", "", detail));
    }
}
