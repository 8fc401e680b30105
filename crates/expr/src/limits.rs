/// What one evaluation may use.
///
/// Cost is counted, not timed, so that the same expression on the same data always has the same answer. A unit is
/// about one step of the evaluator or 16 bytes of text handled: 10 to 100 ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most units of cost.
    pub cost: u64,
    /// Most bytes of text and structure in the result.
    pub output_bytes: usize,
    /// Most levels of nesting in the result.
    pub output_depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { cost: 1_000_000, output_bytes: 4 << 20, output_depth: 128 }
    }
}
