use std::time::Duration;

use rand::Rng as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

const FIRST: Duration = Duration::from_millis(100);

/// Growing delays with jitter, so that agents which lost one gateway together do not return together.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    next: Duration,
    longest: Duration,
    random: StdRng,
}

impl Backoff {
    pub(crate) fn up_to(longest: Duration) -> Self {
        Self::seeded(longest, rand::random())
    }

    /// The same delays for the same seed.
    pub(crate) fn seeded(longest: Duration, seed: u64) -> Self {
        Self { next: FIRST, longest, random: StdRng::seed_from_u64(seed) }
    }

    /// Another one, whose jitter is its own.
    pub(crate) fn fork(&mut self) -> Self {
        Self::seeded(self.longest, self.random.random())
    }

    /// The next delay: between half and all of a duration that doubles each time.
    pub(crate) fn delay(&mut self) -> Duration {
        self.delay_within(self.longest)
    }

    /// As [`delay`](Self::delay), and no longer than `limit`, from which it goes on to grow.
    pub(crate) fn delay_within(&mut self, limit: Duration) -> Duration {
        let whole = self.next.min(limit).min(self.longest);
        self.next = whole * 2;
        self.jitter(whole)
    }

    /// Something between half and all of a duration.
    pub(crate) fn jitter(&mut self, whole: Duration) -> Duration {
        self.random.random_range(whole / 2..=whole)
    }

    pub(crate) fn reset(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(5);

    #[test]
    fn delays_double_up_to_a_limit_and_begin_anew() {
        let mut backoff = Backoff::up_to(LONGEST);
        let mut whole = FIRST;
        for _ in 0..12 {
            let delay = backoff.delay();
            assert!(delay >= whole / 2 && delay <= whole, "{delay:?} of {whole:?}");
            whole = (whole * 2).min(LONGEST);
        }
        assert!(backoff.delay_within(FIRST) <= FIRST);
        backoff.delay();
        backoff.reset();
        assert!(backoff.delay() <= FIRST);
    }

    #[test]
    fn a_seed_gives_its_delays_again() {
        let delays = |seed| {
            let mut backoff = Backoff::seeded(LONGEST, seed);
            (0..10).map(|_| backoff.delay()).collect::<Vec<_>>()
        };
        assert_eq!(delays(7), delays(7));
        assert_ne!(delays(7), delays(8));
    }
}
