//! The cost of an evaluation, counted down.

use crate::error::{Error, LimitExceeded};

/// What is left of an evaluation's cost limit.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    left: u64,
}

/// Bytes of text that cost as much as one step.
const BYTES_PER_UNIT: usize = 16;

impl Budget {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, left: limit }
    }

    /// The units that are left.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Takes `units`. To be called *before* the work that they stand for.
    pub(crate) fn take(&mut self, units: usize) -> Result<(), Error> {
        let units = u64::try_from(units).unwrap_or(u64::MAX);
        let Some(left) = self.left.checked_sub(units) else {
            self.left = 0;
            return Err(Error::Limit(LimitExceeded::Cost { limit: self.limit }));
        };
        self.left = left;
        Ok(())
    }

    /// Takes what handling so many bytes of text costs.
    pub(crate) fn take_bytes(&mut self, bytes: usize) -> Result<(), Error> {
        self.take(1 + bytes / BYTES_PER_UNIT)
    }
}
