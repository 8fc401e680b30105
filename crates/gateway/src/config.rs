use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use buildplane_serve::Listener;
use buildplane_tls::{AnchorStore, ServerIdentity};
use buildplane_tunnel::{Settings, json};

use crate::authorize::{Authorizer, ControlPlane};
use crate::limits::Fairness;
use crate::metrics::Metrics;
use crate::peers::PeersConfig as Peers;

/// Where agents connect.
#[derive(Debug)]
pub struct AgentListener<L = TcpListener> {
    /// Bound already, so that a taken port is found before anything starts.
    pub listener: L,
    /// The certificate that agents verify.
    pub identity: ServerIdentity,
}

/// Where the control plane's own parts connect.
pub struct InternalListener<L = TcpListener> {
    /// Bound already.
    pub listener: L,
    /// The certificate that callers verify.
    pub identity: ServerIdentity,
    /// The CA of the callers' client certificates.
    pub callers: Arc<AnchorStore>,
    /// What each caller may do.
    pub authorizer: Arc<dyn Authorizer>,
    /// The control plane's API server: it knows bearer tokens, and RBAC of what `authorizer` does not allow to be sent to
    /// planes. Without it only certificates are known, and only what `authorizer` allows is.
    pub control_plane: Option<Arc<ControlPlane>>,
}

impl<L: fmt::Debug> fmt::Debug for InternalListener<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InternalListener").field("listener", &self.listener).finish_non_exhaustive()
    }
}

/// What a gateway needs.
#[derive(Debug)]
pub struct Config<L: Listener = TcpListener> {
    /// Where agents connect.
    pub agents: AgentListener<L>,
    /// Where the control plane's own parts connect.
    pub internal: InternalListener<L>,
    /// Health, readiness and metrics, without TLS.
    pub health: Option<TcpListener>,
    /// The host names under which the TLS listeners answer, beside IP addresses; requests for any other are misdirected.
    pub hosts: Vec<String>,
    /// How to find the other replicas; none where this one is alone.
    pub peers: Option<Peers>,
    /// Where agents reach this replica and no other, `wss://host:port/ws`; none where there is only the address that all
    /// replicas share.
    pub advertise: Option<String>,
    /// The tunnel's limits and timing.
    pub tunnel: Settings,
    /// Limits and timing of agents of OpenChoreo v0.16 and v0.17, which speak another protocol; absent, they are refused.
    pub upstream_agents: Option<json::Settings>,
    /// Limits of the gateway itself.
    pub limits: Limits,
    /// What is counted.
    pub metrics: Metrics,
}

/// Limits of the gateway.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open agent connections.
    pub agents: usize,
    /// Open agent connections that the CA of one custom resource vouches for.
    pub agents_per_plane: usize,
    /// Custom resources registered.
    pub registrations: usize,
    /// Size of a request's body.
    pub request_bytes: u64,
    /// What one tenant and one caller may take.
    pub fairness: Fairness,
    /// How long an agent may take to begin its answer.
    pub response_head: Duration,
    /// How long a stream may stand still because one of its ends takes nothing.
    pub stalled: Duration,
    /// After the start, how long an agent whose plane nobody has registered yet is asked to come again soon, rather than
    /// refused: controllers register their planes anew in this time.
    pub settle: Duration,
    /// How long, after readiness has gone, work is still taken: until balancers have noticed, and agents have found another
    /// replica.
    pub notice: Duration,
    /// How often admissions are compared with the clock.
    pub sweep: Duration,
    /// How often watchers are told when the connected agents were last heard of.
    pub heartbeat: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            agents: 10_000,
            agents_per_plane: 64,
            registrations: 10_000,
            request_bytes: 10 * 1024 * 1024,
            fairness: Fairness::default(),
            response_head: Duration::from_mins(1),
            stalled: Duration::from_mins(5),
            settle: Duration::from_secs(10),
            notice: Duration::ZERO,
            // A certificate that expires is to have ended its streams within five seconds.
            sweep: Duration::from_secs(2),
            heartbeat: Duration::from_secs(10),
        }
    }
}
