//! Test support: the real kubectl and helm, the real platform, other users, and patience with a deadline.
//!
//! Everything here drives real programs from the outside. It panics where a test has to fail, with all that a reader
//! of the failure needs; it never skips a test. Start reading at [`LocalPlatform`] and [`Kubectl`].
#![expect(clippy::panic, clippy::missing_panics_doc, reason = "a test fails by panicking")]

mod eventually;
mod kubectl;
mod manifests;
mod platform;
mod process;
mod user;

pub use eventually::{eventually, eventually_ok};
pub use kubectl::{Kubectl, Tools};
pub use manifests::{Manifest, documents};
pub use platform::{LocalPlatform, PlatformBuilder};
pub use process::{Finished, Running, finish};
pub use user::OrdinaryUser;
