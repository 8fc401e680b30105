//! What can be chosen about a server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use buildplane_tls::AnchorStore;

use crate::podlogs::PodLogs;
use crate::tokens::TokenKey;

/// How one API server behaves.
#[derive(Clone)]
pub struct Config {
    /// Host names clients may use beside the loopback names and addresses.
    pub hosts: Vec<String>,
    /// The CAs whose client certificates name users (CN) and groups (O). Without them nobody is authenticated over the
    /// network.
    pub client_anchors: Option<Arc<AnchorStore>>,
    /// What the tokens of ServiceAccounts are signed with. Without one the server makes its own, and its tokens end with it.
    pub token_key: Option<TokenKey>,
    /// Who issues tokens, and the audience of those that are meant for this server.
    pub token_issuer: String,
    /// Tokens that are asked for longer than this live this long.
    pub max_token_lifetime: Duration,
    /// Where pod logs come from; without it `pods/log` is not found.
    pub pod_logs: Option<Arc<dyn PodLogs>>,
    /// Sizes and counts.
    pub limits: Limits,
    /// How long an Event is kept.
    pub event_lifetime: Duration,
    /// How often a watch that asks for bookmarks gets one.
    pub bookmark_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            client_anchors: None,
            token_key: None,
            token_issuer: "https://kubernetes.default.svc.cluster.local".to_owned(),
            max_token_lifetime: Duration::from_hours(24),
            pod_logs: None,
            limits: Limits::default(),
            event_lifetime: Duration::from_hours(1),
            bookmark_interval: Duration::from_secs(30),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("hosts", &self.hosts)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// What one request, or all of them together, may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Size of a request's body, as Kubernetes has it.
    pub body_bytes: usize,
    /// Size of a stored object; etcd's limit, which users of Kubernetes are used to.
    pub object_bytes: usize,
    /// Size of a request's path and query.
    pub uri_bytes: usize,
    /// Watches and followed logs open at once.
    pub watches: usize,
    /// Requests other than watches in progress at once; more are told to come back.
    pub requests: usize,
    /// How long a body may take to arrive and a request to be answered.
    pub request_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 3 << 20,
            object_bytes: 1_572_864,
            uri_bytes: 32 << 10,
            watches: 4_096,
            requests: 1_024,
            request_timeout: Duration::from_mins(1),
        }
    }
}
