//! What is fixed for a connection: the certificate it presents, the gateway's CA it believes, what it says of the agent, and
//! the policy its requests are held against. A change of any of these is a new connection.

use std::sync::Arc;

use tokio::sync::watch;

use buildplane_tls::{CertifiedKey, ClientIdentity, TrustAnchors};
use buildplane_wire::AgentHello;

use crate::cluster::Cluster;
use crate::policy::Policy;
use crate::requests::Requests;
use crate::roster::Generation;

/// The terms of a connection.
pub(crate) struct Terms {
    pub(crate) generation: Generation,
    pub(crate) identity: ClientIdentity,
    pub(crate) trust: Arc<TrustAnchors>,
    pub(crate) hello: AgentHello,
    pub(crate) requests: Arc<Requests>,
}

/// How long connections under older terms may last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Succession {
    /// Until the new connection stands, however long that takes.
    Patient,
    /// A few seconds at most: what they allow may not be allowed any more.
    Pressing,
}

/// Where the terms come from.
pub(crate) struct Sources {
    pub(crate) certificate: watch::Receiver<Option<CertifiedKey>>,
    pub(crate) trust: watch::Receiver<Option<Arc<TrustAnchors>>>,
    pub(crate) policy: watch::Receiver<Policy>,
    pub(crate) cluster: watch::Receiver<Cluster>,
}

impl Sources {
    /// Waits until something is different.
    ///
    /// # Cancel safety
    ///
    /// A change that was not returned is returned by the next call.
    pub(crate) async fn changed(&mut self) -> Succession {
        tokio::select! {
            Ok(()) = self.certificate.changed() => Succession::Patient,
            Ok(()) = self.cluster.changed() => Succession::Patient,
            Ok(()) = self.trust.changed() => Succession::Pressing,
            Ok(()) = self.policy.changed() => Succession::Pressing,
            // Nothing changes any more: the tasks that look have ended, and so will this one.
            else => std::future::pending().await,
        }
    }

    /// What holds now; none while something is missing without which nobody dials.
    pub(crate) fn terms(
        &self,
        generation: Generation,
        hello: &AgentHello,
        requests: impl FnOnce(Policy) -> Requests,
    ) -> Option<Terms> {
        let certificate = self.certificate.borrow().clone()?;
        let trust = self.trust.borrow().clone()?;
        let policy = self.policy.borrow().clone();
        let cluster = match &*self.cluster.borrow() {
            Cluster::Unasked => return None,
            Cluster::Unknown => None,
            Cluster::Known(uid) => Some(uid.clone()),
        };
        Some(Terms {
            generation,
            identity: ClientIdentity::new(&certificate),
            trust,
            hello: AgentHello { cluster, allowed: policy.allowed_planes.clone(), ..hello.clone() },
            requests: Arc::new(requests(policy)),
        })
    }
}
