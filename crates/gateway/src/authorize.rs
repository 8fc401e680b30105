use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::BoxFuture;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use buildplane_api::names::CrRef;
use buildplane_tls::PeerCertificates;
use buildplane_wire::Verb;

use crate::peers::GATEWAYS;
use crate::status::Failure;

mod reviews;

pub use reviews::{AUDIENCE, ControlPlane};

/// Who calls the internal listener, proven by a client certificate or by a token that the control plane knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Caller {
    /// The certificate's common name, or the user of the token.
    pub user: String,
    /// The certificate's organizations, or the groups of the token.
    pub groups: Vec<String>,
    /// The user's uid, where the control plane says one.
    #[serde(default)]
    pub uid: Option<String>,
    /// What else it says of the user.
    #[serde(default)]
    pub extra: reviews::Extra,
}

impl Caller {
    /// The caller that a verified client certificate names; none when it names nobody.
    pub(crate) fn of(peer: &PeerCertificates) -> Option<Self> {
        let user = peer.common_name().filter(|name| !name.trim().is_empty())?;
        Some(Self {
            user: user.to_owned(),
            groups: peer.organizations().to_vec(),
            uid: None,
            extra: reviews::Extra::new(),
        })
    }
}

impl Caller {
    /// Being a replica of the gateway is proven by a certificate alone: no token and nobody's word puts a caller into
    /// their group.
    pub(crate) fn disown_replicas(&mut self) {
        self.groups.retain(|group| group != GATEWAYS);
    }
}

/// What a caller wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action<'a> {
    /// Register or remove a custom resource and its CA.
    Register(&'a CrRef),
    /// Read who is connected.
    ReadPlanes,
    /// Send a request to a plane in the name of a custom resource.
    Proxy {
        /// The custom resource.
        cr: &'a CrRef,
        /// The agent's local target.
        target: &'a str,
        /// What the request does there.
        verb: Verb,
    },
}

/// Why a caller may not do what he wants to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// He has no right to it.
    #[error("{0}")]
    Forbidden(String),
    /// Nobody could be asked whether he has.
    #[error("{0}")]
    Unavailable(String),
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        let code = match denied {
            Denied::Forbidden(_) => StatusCode::FORBIDDEN,
            Denied::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(code, denied.to_string())
    }
}

/// Who is allowed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// A part of the control plane, which works for everybody.
    Part,
    /// Somebody who works for himself: what he may take is limited.
    Person,
}

/// Decides what callers may do. Asynchronous, because the answer may stand in another API server.
pub trait Authorizer: Send + Sync {
    /// Allows by returning `Ok`.
    fn authorize<'a>(
        &'a self,
        caller: &'a Caller,
        action: Action<'a>,
    ) -> BoxFuture<'a, Result<Grant, Denied>>;
}

/// Asks names first, and for what they do not allow to be sent to planes the control plane's RBAC: the verb of the
/// request on `buildplanes/proxy` or `clusterbuildplanes/proxy`.
pub(crate) struct Access {
    pub(crate) names: Arc<dyn Authorizer>,
    pub(crate) control_plane: Option<Arc<ControlPlane>>,
}

impl Authorizer for Access {
    fn authorize<'a>(
        &'a self,
        caller: &'a Caller,
        action: Action<'a>,
    ) -> BoxFuture<'a, Result<Grant, Denied>> {
        Box::pin(async move {
            let denied = match self.names.authorize(caller, action).await {
                Err(denied @ Denied::Forbidden(_)) => denied,
                decided => return decided,
            };
            let (Action::Proxy { cr, verb, .. }, Some(control_plane)) = (action, &self.control_plane) else {
                return Err(denied);
            };
            if control_plane.allows(caller, cr, verb).await? {
                return Ok(Grant::Person);
            }
            let within = cr.namespace().map(|found| format!(" in namespace {found:?}")).unwrap_or_default();
            Err(Denied::Forbidden(format!(
                "user {:?} cannot {verb} {}/proxy {:?}{within}: a Role of the control plane has to allow it",
                caller.user,
                reviews::plural(cr),
                cr.name(),
            )))
        })
    }
}

/// Authorization by user and group names: controllers may do everything, users may proxy.
#[derive(Debug, Clone, Default)]
pub struct Roles {
    /// Users or groups that register planes.
    pub controllers: BTreeSet<String>,
    /// Users or groups that only proxy.
    pub users: BTreeSet<String>,
}

impl Roles {
    fn decide(&self, caller: &Caller, action: Action<'_>) -> Result<Grant, Denied> {
        let is_one_of = |names: &BTreeSet<String>| {
            names.contains(&caller.user) || caller.groups.iter().any(|group| names.contains(group))
        };
        if is_one_of(&self.controllers) {
            return Ok(Grant::Part);
        }
        if matches!(action, Action::Proxy { .. }) && is_one_of(&self.users) {
            return Ok(Grant::Person);
        }
        let what = match action {
            Action::Register(_) => "register planes",
            Action::ReadPlanes => "read the state of planes",
            Action::Proxy { .. } => "send requests to planes",
        };
        Err(Denied::Forbidden(format!("user {:?} may not {what}", caller.user)))
    }
}

impl Authorizer for Roles {
    fn authorize<'a>(
        &'a self,
        caller: &'a Caller,
        action: Action<'a>,
    ) -> BoxFuture<'a, Result<Grant, Denied>> {
        Box::pin(std::future::ready(self.decide(caller, action)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_held_by_name_or_group_and_by_nobody_else() {
        let set = |name: &str| BTreeSet::from([name.to_owned()]);
        let roles = Roles { controllers: set("controllers"), users: set("alice") };
        let caller = |user: &str, group: &str| Caller {
            user: user.into(),
            groups: vec![group.into()],
            uid: None,
            extra: reviews::Extra::new(),
        };
        let cr: CrRef = "buildplane/team/default".parse().unwrap();
        let proxy = Action::Proxy { cr: &cr, target: "k8s", verb: Verb::Get };
        for (who, action, allowed) in [
            (caller("manager", "controllers"), Action::Register(&cr), true),
            (caller("manager", "controllers"), proxy, true),
            (caller("manager", "controllers"), Action::ReadPlanes, true),
            (caller("alice", "people"), proxy, true),
            (caller("alice", "people"), Action::Register(&cr), false),
            (caller("alice", "people"), Action::ReadPlanes, false),
            (caller("bob", "people"), proxy, false),
            (caller("bob", ""), proxy, false),
            (caller("Alice", "Controllers"), proxy, false),
        ] {
            assert_eq!(roles.decide(&who, action).is_ok(), allowed, "{who:?} {action:?}");
        }
    }
}
