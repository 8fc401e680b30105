use std::time::Duration;

use kube::Client;

use crate::leader::LeaderElection;

/// What the controllers need to know.
#[derive(Clone)]
pub struct Config {
    /// The control plane's API, as the controllers' own user.
    pub control_plane: Client,
    /// The gateway's internal listener, with the controllers' client certificate.
    pub gateway: kube::Config,
    /// The namespaces whose Secrets a `clientCA` may name; none means all. A plane's own namespace is not exempt.
    pub secret_namespaces: Option<Vec<String>>,
    /// Who reports events, where several instances run.
    pub instance: Option<String>,
    /// How one of several controller processes is chosen; none where there is only one.
    pub leader_election: Option<LeaderElection>,
    /// How long things may take.
    pub timings: Timings,
}

impl Config {
    /// A configuration with the usual times, all namespaces allowed, for the only controller process.
    pub fn new(control_plane: Client, gateway: kube::Config) -> Self {
        Self {
            control_plane,
            gateway,
            secret_namespaces: None,
            instance: None,
            leader_election: None,
            timings: Timings::default(),
        }
    }
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Timings {
    /// One request to an API.
    pub request: Duration,
    /// The shortest time between two status writes that tell of a heartbeat alone.
    pub heartbeat: Duration,
    /// How long the gateway may be away before planes say so.
    pub gateway_grace: Duration,
    /// How long the deletion of a plane waits for the gateway to forget it.
    pub plane_cleanup: Duration,
    /// How long the deletion of a run waits for its objects on the build plane to go.
    pub run_cleanup: Duration,
    /// The first wait after a failure; each further one is twice as long.
    pub retry_min: Duration,
    /// The longest wait after a failure.
    pub retry_max: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(10),
            heartbeat: Duration::from_secs(30),
            gateway_grace: Duration::from_secs(3),
            plane_cleanup: Duration::from_secs(15),
            run_cleanup: Duration::from_mins(1),
            retry_min: Duration::from_millis(200),
            retry_max: Duration::from_secs(30),
        }
    }
}
