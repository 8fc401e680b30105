//! Randomness that can be had again.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

/// A number from which everything random follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seed(pub(crate) u64);

impl Seed {
    /// A seed of its own for a part.
    pub(crate) fn derive(self, part: u64) -> Self {
        Self(SmallRng::seed_from_u64(self.0 ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15)).random())
    }

    pub(crate) fn rng(self) -> SmallRng {
        SmallRng::seed_from_u64(self.0)
    }

    /// The n-th duration: mostly short, at times the longest.
    pub(crate) fn duration(self, n: u64, longest: Duration) -> Duration {
        let mut rng = self.derive(n).rng();
        if rng.random_bool(0.05) { longest } else { longest.mul_f64(rng.random::<f64>() * 0.1) }
    }
}
