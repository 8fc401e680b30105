//! Who is asking: taken from a verified client certificate, or given by whoever asks in process.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use buildplane_tls::{AnchorStore, Fingerprint, PeerCertificates, verify_client};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::{Value, json};

use crate::error::{ApiError, ApiResult};

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
    /// Which of the users that had this name, where that is known.
    pub uid: Option<String>,
    /// What else is known, by key.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Identity {
    /// A user in some groups.
    pub fn new(user: impl Into<String>, groups: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut groups: Vec<String> = groups.into_iter().map(Into::into).collect();
        if !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.to_owned());
        }
        Self { user: user.into(), groups, uid: None, extra: BTreeMap::new() }
    }

    /// A user who may do everything.
    pub fn master(user: impl Into<String>) -> Self {
        Self::new(user, [MASTERS])
    }

    /// `authentication.k8s.io/v1` UserInfo
    pub(crate) fn info(&self) -> Value {
        let mut info = json!({"username": self.user, "groups": self.groups});
        if let Some(uid) = &self.uid {
            info["uid"] = uid.as_str().into();
        }
        if !self.extra.is_empty() {
            info["extra"] = json!(self.extra);
        }
        info
    }

    pub(crate) fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == MASTERS)
    }
}

/// The bearer token of a request, if it carries credentials. Credentials that are not exactly one bearer token are refused
/// rather than passed over: whoever sends them means to be somebody.
pub(crate) fn bearer(headers: &HeaderMap) -> ApiResult<Option<&str>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(ApiError::unauthorized());
    }
    let text = value.to_str().map_err(|_| ApiError::unauthorized())?;
    match text.split_once(' ') {
        Some((scheme, token))
            if scheme.eq_ignore_ascii_case("bearer")
                && !token.is_empty()
                && token.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',') =>
        {
            Ok(Some(token))
        }
        _ => Err(ApiError::unauthorized()),
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
