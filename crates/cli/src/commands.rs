//! One module a command: its arguments and what it does with them.

pub(crate) mod base_image;
pub(crate) mod build;
pub(crate) mod cancel;
pub(crate) mod completion;
pub(crate) mod crds;
pub(crate) mod describe;
pub(crate) mod down;
pub(crate) mod get;
pub(crate) mod logs;
pub(crate) mod parts;
pub(crate) mod plane;
pub(crate) mod retry;
pub(crate) mod run;
pub(crate) mod status;
pub(crate) mod up;
pub(crate) mod version;
