use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use sha2::{Digest as _, Sha256};

use buildplane_api::names::CrRef;
use buildplane_wire::Verb;

use super::{Caller, Denied};

/// The audience that tokens for the gateway are made for.
pub const AUDIENCE: &str = "openchoreo-gateway";

/// How long the API server may take over one question.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long an answer counts that lets somebody in. A right that is withdrawn, or a token that ends, does so this late.
const YES: Duration = Duration::from_secs(5);
/// How long one counts that keeps somebody out, who may try again as often as he likes.
const NO: Duration = Duration::from_secs(2);
/// Answers that are remembered.
const MAX_REMEMBERED: usize = 8192;
/// Longer tokens are not asked about.
const MAX_TOKEN: usize = 16 * 1024;

/// The control plane's API server, which knows who people are and what they may do.
pub struct ControlPlane {
    client: Client,
    audience: String,
    tokens: Remembered<[u8; 32], Option<Caller>>,
    rights: Remembered<Right, bool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Right {
    caller: Caller,
    cr: CrRef,
    verb: &'static str,
}

impl ControlPlane {
    /// Asks with these credentials, which must be allowed to create TokenReviews and SubjectAccessReviews. Tokens are
    /// believed when they were made for `audience`, and for nobody else.
    pub fn new(client: Client, audience: impl Into<String>) -> Self {
        Self { client, audience: audience.into(), tokens: Remembered::new(), rights: Remembered::new() }
    }

    /// Whose token this is; none where it is nobody's. The token itself is not kept.
    pub(crate) async fn review_token(&self, token: &str) -> Result<Option<Caller>, Denied> {
        if token.len() > MAX_TOKEN {
            return Ok(None);
        }
        let key: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(known) = self.tokens.get(&key) {
            return Ok(known);
        }
        let review = TokenReview {
            spec: TokenReviewSpec { token: token.to_owned(), audiences: Some(vec![self.audience.clone()]) },
            ..TokenReview::default()
        };
        let api = Api::<TokenReview>::all(self.client.clone());
        let status = ask(api.create(&PostParams::default(), &review)).await?.status.unwrap_or_default();
        // An API server that knows no audiences answers without them, and then the token may be for anybody.
        let is_for_us = status.audiences.unwrap_or_default().contains(&self.audience);
        let user = status.user.filter(|_| status.authenticated == Some(true) && is_for_us);
        let caller = user.and_then(|user| {
            let name = user.username.filter(|name| !name.trim().is_empty())?;
            Some(Caller {
                user: name,
                groups: user.groups.unwrap_or_default(),
                uid: user.uid,
                extra: user.extra.unwrap_or_default(),
            })
        });
        self.tokens.put(key, caller.clone(), if caller.is_some() { YES } else { NO });
        Ok(caller)
    }

    /// Whether RBAC lets the caller do this through the custom resource.
    pub(crate) async fn allows(&self, caller: &Caller, cr: &CrRef, verb: Verb) -> Result<bool, Denied> {
        let key = Right { caller: caller.clone(), cr: cr.clone(), verb: verb.as_str() };
        if let Some(known) = self.rights.get(&key) {
            return Ok(known);
        }
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(caller.user.clone()),
                groups: Some(caller.groups.clone()),
                uid: caller.uid.clone(),
                extra: Some(caller.extra.clone()).filter(|extra| !extra.is_empty()),
                resource_attributes: Some(ResourceAttributes {
                    group: Some("openchoreo.dev".to_owned()),
                    version: Some("v1alpha1".to_owned()),
                    resource: Some(plural(cr)),
                    subresource: Some("proxy".to_owned()),
                    namespace: cr.namespace().map(str::to_owned),
                    name: Some(cr.name().to_owned()),
                    verb: Some(verb.as_str().to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let api = Api::<SubjectAccessReview>::all(self.client.clone());
        let status = ask(api.create(&PostParams::default(), &review)).await?.status.unwrap_or_default();
        let allowed = status.allowed && status.denied != Some(true);
        self.rights.put(key, allowed, if allowed { YES } else { NO });
        Ok(allowed)
    }
}

impl fmt::Debug for ControlPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlPlane").field("audience", &self.audience).finish_non_exhaustive()
    }
}

/// The resource as RBAC names it.
pub(super) fn plural(cr: &CrRef) -> String {
    let scope = if cr.namespace().is_some() { "" } else { "cluster" };
    format!("{scope}{}s", cr.plane_type())
}

/// Whoever cannot be asked has not allowed anything.
async fn ask<T>(answer: impl Future<Output = kube::Result<T>>) -> Result<T, Denied> {
    let unavailable = || {
        let message =
            "the control plane's API server cannot be asked who you are and what you may do; try again";
        Denied::Unavailable(message.to_owned())
    };
    match tokio::time::timeout(DEADLINE, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "the control plane gave no review");
            Err(unavailable())
        }
        Err(_elapsed) => {
            tracing::warn!("the control plane took too long over a review");
            Err(unavailable())
        }
    }
}

/// Answers for a short time, at most so many.
struct Remembered<K, V> {
    answers: Mutex<HashMap<K, (V, Instant)>>,
}

impl<K: Eq + Hash, V: Clone> Remembered<K, V> {
    fn new() -> Self {
        Self { answers: Mutex::default() }
    }

    fn get(&self, key: &K) -> Option<V> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(key).filter(|(_, until)| Instant::now() < *until).map(|(answer, _)| answer.clone())
    }

    fn put(&self, key: K, answer: V, lifetime: Duration) {
        let now = Instant::now();
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= MAX_REMEMBERED {
            answers.retain(|_, (_, until)| now < *until);
        }
        // Whoever fills it faster than answers age makes everybody be asked about again, and no more.
        if answers.len() >= MAX_REMEMBERED {
            answers.clear();
        }
        answers.insert(key, (answer, now + lifetime));
    }
}

/// The extra fields that an authenticator may add.
pub(crate) type Extra = BTreeMap<String, Vec<String>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_forgotten_in_time_and_number() {
        let remembered = Remembered::new();
        remembered.put(1, true, Duration::from_mins(1));
        remembered.put(2, true, Duration::ZERO);
        assert_eq!((remembered.get(&1), remembered.get(&2)), (Some(true), None));
        for n in 0..MAX_REMEMBERED * 2 {
            remembered.put(n, true, Duration::from_mins(1));
        }
        assert!(remembered.answers.lock().unwrap().len() <= MAX_REMEMBERED);
    }

    #[test]
    fn resources_are_named_as_rbac_names_them() {
        for (cr, resource) in [
            ("buildplane/team/default", "buildplanes"),
            ("clusterbuildplane/_cluster/default", "clusterbuildplanes"),
            ("dataplane/team/x", "dataplanes"),
        ] {
            assert_eq!(plural(&cr.parse().unwrap()), resource);
        }
    }
}
