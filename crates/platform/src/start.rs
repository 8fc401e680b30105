//! The order in which a platform comes up.

/// What a platform is started with.
pub struct Options;
/// A running platform.
pub struct Platform;
/// How far a start has come.
pub enum Progress {}
