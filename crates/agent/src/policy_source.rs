//! The policy in force: fixed, or from a file that is looked at; with the flags that narrow it.

use std::path::PathBuf;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use buildplane_tunnel::BoxError;
use buildplane_wire::{AgentHello, AllowedPlanes, PlanePattern};

use crate::config::PolicySource;
use crate::error::Error;
use crate::followed::Followed;
use crate::health::{Health, Part, chain};
use crate::metrics::{Metrics, ReloadedFile};
use crate::policy::Policy;
use crate::service::LOOK;

/// What an agent says of itself must fit into the head of its handshake.
pub(crate) const HELLO_BYTES: usize = 32 * 1024;

/// The policy at the start, and the file to look at where there is one.
pub(crate) struct KeptPolicy {
    pub(crate) initial: Policy,
    file: Option<Followed<Policy>>,
}

impl KeptPolicy {
    /// # Errors
    ///
    /// When there is no sound policy to begin with. An agent without one would have to guess what its owner allows.
    pub(crate) fn new(source: PolicySource, allowed: Vec<PlanePattern>) -> Result<Self, Error> {
        match source {
            PolicySource::Fixed(policy) => {
                let initial = narrow(policy, &allowed)?;
                Ok(Self { initial, file: None })
            }
            PolicySource::File(path) => Self::from_file(path, allowed),
        }
    }

    fn from_file(path: PathBuf, allowed: Vec<PlanePattern>) -> Result<Self, Error> {
        let mut file = Followed::new(path, move |text| read(text, &allowed));
        // The first look always finds something.
        let initial = file.look().ok_or(Error::AllowedTwice)?.map_err(Error::Policy)?;
        Ok(Self { initial, file: Some(file) })
    }

    /// Tells each policy that the file holds, until `stop`.
    pub(crate) async fn keep(
        file: Option<Followed<Policy>>,
        tell: watch::Sender<Policy>,
        (health, metrics): (Health, Metrics),
        stop: CancellationToken,
    ) {
        let Some(file) = file else { return stop.cancelled().await };
        let changed = |found: Result<Policy, _>| match found {
            Ok(policy) => {
                health.right(Part::Policy);
                if tell.send_if_modified(|known| {
                    let other = *known != policy;
                    *known = policy;
                    other
                }) {
                    tracing::info!("the policy changed");
                }
            }
            Err(error) => {
                metrics.reload_failures.get_or_create(&ReloadedFile { file: "policy" }).inc();
                let message = format!("{}; the policy before it stays in force", chain(&error));
                tracing::warn!(message, "the changed policy is not used");
                health.wrong(Part::Policy, message);
            }
        };
        file.follow(LOOK, changed, stop).await;
    }

    pub(crate) fn into_parts(self) -> (Policy, Option<Followed<Policy>>) {
        (self.initial, self.file)
    }
}

fn read(text: &str, allowed: &[PlanePattern]) -> Result<Policy, BoxError> {
    Ok(narrow(Policy::from_yaml(text)?, allowed)?)
}

fn narrow(mut policy: Policy, allowed: &[PlanePattern]) -> Result<Policy, Error> {
    if !allowed.is_empty() {
        if policy.allowed_planes.is_narrowed() {
            return Err(Error::AllowedTwice);
        }
        policy.allowed_planes = AllowedPlanes::only(allowed.to_vec());
    }
    let hello = AgentHello { allowed: policy.allowed_planes.clone(), ..AgentHello::default() };
    let n_bytes = hello.headers().values().map(http::HeaderValue::len).sum();
    if n_bytes > HELLO_BYTES { Err(Error::TooManyPlanes { n_bytes }) } else { Ok(policy) }
}
