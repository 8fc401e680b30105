use std::collections::BTreeSet;

use futures::future::BoxFuture;

use buildplane_api::names::CrRef;
use buildplane_tls::PeerCertificates;
use buildplane_wire::Verb;

/// Who calls the internal listener, proven by a client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The certificate's common name.
    pub user: String,
    /// The certificate's organizations.
    pub groups: Vec<String>,
}

impl Caller {
    /// The caller that a verified client certificate names; none when it names nobody.
    pub(crate) fn of(peer: &PeerCertificates) -> Option<Self> {
        let user = peer.common_name().filter(|name| !name.trim().is_empty())?;
        Some(Self { user: user.to_owned(), groups: peer.organizations().to_vec() })
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

/// A refusal, with the reason that the caller is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Denied(pub String);

/// Decides what callers may do. Asynchronous, because the answer may stand in another API server.
pub trait Authorizer: Send + Sync {
    /// Allows by returning `Ok`.
    fn authorize<'a>(&'a self, caller: &'a Caller, action: Action<'a>) -> BoxFuture<'a, Result<(), Denied>>;
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
    fn decide(&self, caller: &Caller, action: Action<'_>) -> Result<(), Denied> {
        let is_one_of = |names: &BTreeSet<String>| {
            names.contains(&caller.user) || caller.groups.iter().any(|group| names.contains(group))
        };
        let allowed = match action {
            Action::Register(_) | Action::ReadPlanes => is_one_of(&self.controllers),
            Action::Proxy { .. } => is_one_of(&self.controllers) || is_one_of(&self.users),
        };
        let what = match action {
            Action::Register(_) => "register planes",
            Action::ReadPlanes => "read the state of planes",
            Action::Proxy { .. } => "send requests to planes",
        };
        if allowed { Ok(()) } else { Err(Denied(format!("user {:?} may not {what}", caller.user))) }
    }
}

impl Authorizer for Roles {
    fn authorize<'a>(&'a self, caller: &'a Caller, action: Action<'a>) -> BoxFuture<'a, Result<(), Denied>> {
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
        let caller = |user: &str, group: &str| Caller { user: user.into(), groups: vec![group.into()] };
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
