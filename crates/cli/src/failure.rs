//! What a user reads when something went wrong: one line, the causes below it, and a hint.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use crate::exit::ExitStatus;

/// A command's result.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// A failed command, ready to be printed. It is made of text, because printing is all that is left to do with it.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The message and its causes, outermost first.
    chain: Vec<String>,
    hint: Option<String>,
    exit: ExitStatus,
    /// The reader of our output went away: not worth a message.
    broken_pipe: bool,
}

impl Failure {
    /// A failure with no cause below it.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { chain: vec![message.into()], hint: None, exit: ExitStatus::Error, broken_pipe: false }
    }

    /// Says what the user can do about it. A hint that is already there, being closer to the cause, stays.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    pub(crate) fn exit(mut self, exit: ExitStatus) -> Self {
        self.exit = exit;
        self
    }

    /// Puts the operation that failed above its cause.
    pub(crate) fn context(mut self, message: impl Into<String>) -> Self {
        self.chain.insert(0, message.into());
        self
    }

    /// Adds a line below the causes there are.
    pub(crate) fn cause(mut self, message: impl Into<String>) -> Self {
        self.chain.insert(1.min(self.chain.len()), message.into());
        self
    }

    pub(crate) fn exit_status(&self) -> ExitStatus {
        if self.broken_pipe { ExitStatus::Success } else { self.exit }
    }

    pub(crate) fn is_broken_pipe(&self) -> bool {
        self.broken_pipe
    }

    /// The same failure as it crosses from a detached child to its parent.
    pub(crate) fn to_parts(&self) -> (Vec<String>, Option<String>, ExitStatus) {
        (self.chain.clone(), self.hint.clone(), self.exit)
    }

    /// The other end of [`Failure::to_parts`].
    pub(crate) fn from_parts(chain: Vec<String>, hint: Option<String>) -> Self {
        Self { chain, hint, exit: ExitStatus::Error, broken_pipe: false }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut causes = self.chain.iter();
        write!(out, "error: {}", causes.next().map_or("unknown failure", String::as_str))?;
        for cause in causes {
            write!(out, "\n  caused by: {cause}")?;
        }
        match &self.hint {
            Some(hint) => write!(out, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut failure =
            Self { chain: chain_of(&error), hint: None, exit: ExitStatus::Error, broken_pipe: false };
        let mut next: Option<&(dyn StdError + 'static)> = Some(&error);
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<io::Error>() {
                failure.broken_pipe |= error.kind() == io::ErrorKind::BrokenPipe;
            }
            if let Some(error) = error.downcast_ref::<kube::Error>() {
                return crate::connection::explain(error);
            }
            next = error.source();
        }
        failure
    }
}

/// An error's messages from the outside in. Some libraries repeat the source in their own text; what a message has
/// already said is cut from its end, so that nothing is printed twice.
pub(crate) fn chain_of(error: &(dyn StdError + 'static)) -> Vec<String> {
    let mut chain = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        chain.push(one_line(&error.to_string()));
        next = error.source();
    }
    for index in (1..chain.len()).rev() {
        let inner = chain[index].clone();
        let outer = &mut chain[index - 1];
        if let Some(cut) = outer.strip_suffix(&inner) {
            *outer = cut.trim_end_matches([':', ' ']).to_owned();
        }
    }
    chain.retain(|message| !message.is_empty());
    chain.dedup();
    chain
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Adds what only the caller knows to an error on its way up.
pub(crate) trait Explain<T> {
    fn context(self, message: impl Into<String>) -> Result<T>;
    fn hint(self, hint: impl Into<String>) -> Result<T>;
    fn exit(self, exit: ExitStatus) -> Result<T>;
}

impl<T, E: Into<Failure>> Explain<T> for std::result::Result<T, E> {
    fn context(self, message: impl Into<String>) -> Result<T> {
        self.map_err(|error| error.into().context(message))
    }

    fn hint(self, hint: impl Into<String>) -> Result<T> {
        self.map_err(|error| error.into().hint(hint))
    }

    fn exit(self, exit: ExitStatus) -> Result<T> {
        self.map_err(|error| error.into().exit(exit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Repeating(io::Error);

    impl fmt::Display for Repeating {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(out, "cannot read the file: {}", self.0)
        }
    }

    impl StdError for Repeating {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn a_cause_is_printed_once_even_if_the_library_repeats_it() {
        let failure = Failure::from(Repeating(io::Error::other("disk on\nfire")));
        let failure = failure.context("cannot start").hint("buy water");
        assert_eq!(
            failure.to_string(),
            "error: cannot start\n  caused by: cannot read the file\n  caused by: disk on fire\nhint: buy water"
        );
    }

    #[test]
    fn the_hint_nearest_to_the_cause_wins() {
        let failure = Failure::new("x").hint("near").context("y").hint("far");
        assert_eq!(failure.to_string(), "error: y\n  caused by: x\nhint: near");
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(failure.is_broken_pipe());
        assert_eq!(failure.exit_status(), ExitStatus::Success);
    }
}
