use std::time::Duration;

use rand::Rng as _;

const FIRST: Duration = Duration::from_millis(100);
/// Short enough that a thousand agents are back within ten seconds of their gateway's return.
const LONGEST: Duration = Duration::from_secs(5);
/// A gateway that says "soon" is asked again soon.
const SOON: Duration = Duration::from_millis(500);

/// Growing delays with jitter, so that agents which lost one gateway together do not return together.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { next: FIRST }
    }

    /// The next delay: between half and all of a duration that doubles each time.
    pub(crate) fn delay(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(LONGEST);
        rand::rng().random_range(whole / 2..=whole)
    }

    /// As [`delay`](Self::delay), for a peer that is there and will be ready in a moment.
    pub(crate) fn short_delay(&mut self) -> Duration {
        self.next = self.next.min(SOON);
        self.delay()
    }

    pub(crate) fn reset(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_limit_and_begin_anew() {
        let mut backoff = Backoff::new();
        let mut whole = FIRST;
        for _ in 0..12 {
            let delay = backoff.delay();
            assert!(delay >= whole / 2 && delay <= whole, "{delay:?} of {whole:?}");
            whole = (whole * 2).min(LONGEST);
        }
        assert!(backoff.short_delay() <= SOON);
        backoff.reset();
        assert!(backoff.delay() <= FIRST);
    }
}
