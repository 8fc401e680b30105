//! Who is asking: taken from a verified client certificate, or given by whoever asks in process.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use buildplane_tls::{AnchorStore, Fingerprint, PeerCertificates, verify_client};

/// Members of this group may do everything.
pub const MASTERS: &str = "system:masters";
const AUTHENTICATED: &str = "system:authenticated";

/// A user and the groups it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// User name.
    pub user: String,
    /// Groups; every authenticated identity is in `system:authenticated`.
    pub groups: Vec<String>,
}

impl Identity {
    /// A user in some groups.
    pub fn new(user: impl Into<String>, groups: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut groups: Vec<String> = groups.into_iter().map(Into::into).collect();
        if !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.to_owned());
        }
        Self { user: user.into(), groups }
    }

    /// A user who may do everything.
    pub fn master(user: impl Into<String>) -> Self {
        Self::new(user, [MASTERS])
    }

    pub(crate) fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == MASTERS)
    }
}

/// How long a verified certificate is not verified again; a removed CA takes effect within it.
const TRUST_FOR: Duration = Duration::from_secs(10);
const MAX_REMEMBERED: usize = 4_096;

/// Turns certificates into identities and remembers the answer for moments, because checking a signature costs more
/// than answering a get.
#[derive(Default)]
pub(crate) struct Authenticator {
    remembered: Mutex<HashMap<Fingerprint, (SystemTime, Identity)>>,
}

impl Authenticator {
    pub(crate) fn identify(
        &self,
        anchors: Option<&AnchorStore>,
        peer: &PeerCertificates,
    ) -> Option<Identity> {
        let anchors = anchors?;
        let now = SystemTime::now();
        let fingerprint = peer.fingerprint();
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((until, identity)) = remembered.get(&fingerprint)
            && now < *until
        {
            return Some(identity.clone());
        }
        drop(remembered);
        let verified = match verify_client(&anchors.current(), peer, now) {
            Ok(verified) => verified,
            Err(error) => {
                tracing::info!(user = peer.common_name(), %error, "refused a client certificate");
                return None;
            }
        };
        let user = peer.common_name().filter(|name| !name.is_empty())?;
        let identity = Identity::new(user, peer.organizations().iter().cloned());
        let until = (now + TRUST_FOR).min(verified.valid_until);
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= MAX_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(fingerprint, (until, identity.clone()));
        Some(identity)
    }
}
