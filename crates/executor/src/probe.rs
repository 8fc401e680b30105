//! What a machine must have before a step may run on it.

/// Something this machine lacks, and how to get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What is missing, as a fragment: `bubblewrap is not installed`.
    pub what: String,
    /// What to do about it, a command where there is one.
    pub remedy: String,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.what, self.remedy)
    }
}
