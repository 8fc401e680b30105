//! What can be judged about an object when it is written.
//!
//! Pure: a judgement takes an object and says what it may become, or everything that is wrong with it. The controllers
//! judge what templates rendered before they let it onto a build plane; webhooks judge the same way, earlier.
//!
//! Start reading at [`run`]: what may run. Then [`resource`]: what may stand beside it; [`workload`]: what may come back.

mod fold;
mod manifest;
pub mod resource;
pub mod run;
pub mod ttl;
mod violation;
mod walk;
pub mod workload;

pub use resource::{AdmittedResource, judge_resource};
pub use run::{AdmittedRun, SERVICE_ACCOUNT, judge_run};
pub use ttl::parse_ttl;
pub use violation::Violation;
pub use workload::{WorkloadRefusal, judge_workload};
