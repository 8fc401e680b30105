//! What custom resources may do on this cluster. Pure: a request's attributes in, a decision out; nothing is allowed
//! that no rule allows.

use serde::Deserialize;
use serde_json::Value;

use buildplane_api::meta::label;
use buildplane_api::names::{CiNamespace, CrRef};
use buildplane_wire::{AllowedPlanes, Attributes, CanonicalQuery, Resource, Verb};

mod body;
mod options;

pub use body::BodyRule;

/// The shipped policy as it is printed and documented.
const SHIPPED: &str = include_str!("policy/shipped.yaml");

/// A policy with more rules than this is refused: each request is held against all of them.
const MAX_RULES: usize = 256;

/// Rules of the build cluster's owner. What no rule allows is refused.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "PolicyFile")]
pub struct Policy {
    /// The custom resources that may use this plane at all; every admitted one where this is absent.
    pub allowed_planes: AllowedPlanes,
    /// What may be done with resources.
    pub rules: Vec<Rule>,
    /// All that Roles made through the tunnel may grant.
    pub grants: Vec<Grant>,
    /// Paths outside the resources that may be read: exact, or a prefix that ends in `*`.
    pub paths: Vec<String>,
}

/// A policy as it is written. One that only says who may use the plane leaves what they may do to the shipped one, so that
/// narrowing a plane does not freeze the rest.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PolicyFile {
    allowed_planes: Option<AllowedPlanes>,
    rules: Option<Vec<Rule>>,
    grants: Option<Vec<Grant>>,
    paths: Option<Vec<String>>,
}

impl TryFrom<PolicyFile> for Policy {
    type Error = InvalidPolicy;

    fn try_from(file: PolicyFile) -> Result<Self, InvalidPolicy> {
        let PolicyFile { allowed_planes, rules, grants, paths } = file;
        match rules {
            Some(rules) => Ok(Self {
                allowed_planes: allowed_planes.unwrap_or_default(),
                rules,
                grants: grants.unwrap_or_default(),
                paths: paths.unwrap_or_default(),
            }),
            None if grants.is_none() && paths.is_none() => {
                let allowed_planes = allowed_planes.ok_or(InvalidPolicy::NoRules)?;
                Ok(Self { allowed_planes, ..Self::builds() })
            }
            None => Err(InvalidPolicy::NoRules),
        }
    }
}

/// One permission.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Named in refusals.
    pub name: String,
    /// Where it holds.
    pub scope: Scope,
    /// API groups; the core group is the empty text.
    pub groups: Vec<String>,
    /// Resources, `pods` or with a subresource `pods/log`.
    pub resources: Vec<String>,
    /// Verbs.
    pub verbs: Vec<Verb>,
}

/// What a Role may grant.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grant {
    /// API groups.
    pub groups: Vec<String>,
    /// Resources, with their subresources.
    pub resources: Vec<String>,
    /// Verbs, as Roles spell them.
    pub verbs: Vec<String>,
}

/// Where a rule holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// In the namespace of the custom resource's builds; for a cluster-scoped one in every `openchoreo-ci-*`.
    BuildNamespaces,
    /// For the Namespace objects of these namespaces themselves.
    BuildNamespaceObjects,
    /// Over all namespaces at once, for cluster-scoped custom resources alone, and only under a label selector that
    /// requires our managed-by label.
    Managed,
    /// For requests without a namespace: cluster-scoped objects, which every custom resource sees alike.
    Cluster,
}

/// A refusal. The text names the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the agent's policy refuses this to {cr}: {reason}")]
pub struct Refusal {
    cr: String,
    reason: String,
}

impl Refusal {
    fn new(cr: &CrRef, reason: String) -> Self {
        Self { cr: cr.to_string(), reason }
    }
}

/// A text that is no policy.
#[derive(Debug, thiserror::Error)]
pub enum InvalidPolicy {
    /// It cannot be read.
    #[error("the policy cannot be read: {0}")]
    Text(String),
    /// It has neither rules nor allowedPlanes alone.
    #[error("the policy has no rules; begin with a copy of the shipped policy, or give allowedPlanes alone")]
    NoRules,
    /// It has too many rules.
    #[error("the policy has more than {MAX_RULES} rules")]
    TooLong,
}

/// What a decision leaves to be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// Nothing.
    AsAsked,
    /// What is written stands in the body alone, and must be held against this before it is sent.
    WithBody(BodyRule),
}

impl Policy {
    /// The shipped policy: what builds need, in the namespaces of builds, and nothing else. No Secret is read, no command
    /// runs in a pod, and no role reaches beyond a namespace.
    ///
    /// # Panics
    /// If the file that is compiled in were no policy, which a test rules out.
    pub fn builds() -> Self {
        Self::from_yaml(SHIPPED).expect("the shipped file is a policy, as a test says")
    }

    /// The shipped policy as a file, with its comments.
    pub const fn shipped_yaml() -> &'static str {
        SHIPPED
    }

    /// Reads a policy file. Unknown keys are errors: a misspelled rule must not silently allow or refuse anything.
    pub fn from_yaml(text: &str) -> Result<Self, InvalidPolicy> {
        let policy: Self =
            serde_saphyr::from_str(text).map_err(|error| InvalidPolicy::Text(error.to_string()))?;
        if policy.rules.len() > MAX_RULES || policy.grants.len() > MAX_RULES || policy.paths.len() > MAX_RULES
        {
            return Err(InvalidPolicy::TooLong);
        }
        Ok(policy)
    }

    /// Decides about one request.
    pub fn decide(
        &self,
        cr: &CrRef,
        attributes: &Attributes,
        query: &CanonicalQuery,
    ) -> Result<Allowed, Refusal> {
        let refuse = |reason: String| Err(Refusal::new(cr, reason));
        if !self.allowed_planes.permits(cr) {
            return refuse("rule allowedPlanes does not list it".to_owned());
        }
        if let Err(reason) = options::judge(attributes, query) {
            return refuse(reason);
        }
        let resource = match attributes {
            Attributes::Path { verb, path } => {
                return if *verb == Verb::Get && self.paths.iter().any(|allowed| matches_path(allowed, path)) {
                    Ok(Allowed::AsAsked)
                } else {
                    refuse(format!("no rule allows to {verb} the path {path}"))
                };
            }
            Attributes::Resource(resource) => resource,
        };
        let mut nearest = None;
        for rule in self.rules.iter().filter(|rule| rule.covers(resource)) {
            match rule.allows(cr, resource, query) {
                Ok(()) => return body::needed(resource).map_err(|reason| Refusal::new(cr, reason)),
                Err(reason) => nearest = Some(reason),
            }
        }
        refuse(nearest.unwrap_or_else(|| format!("no rule allows to {resource}")))
    }

    /// Decides about what a request writes.
    pub fn decide_body(&self, cr: &CrRef, rule: &BodyRule, body: &Value) -> Result<(), Refusal> {
        body::judge(self, cr, rule, body).map_err(|reason| Refusal::new(cr, reason))
    }
}

impl Rule {
    fn covers(&self, resource: &Resource) -> bool {
        let is_meant =
            self.scope != Scope::Managed || (resource.namespace.is_none() && resource.name.is_none());
        is_meant && self.groups.contains(&resource.group) && self.resources.contains(&resource.qualified())
    }

    fn allows(&self, cr: &CrRef, resource: &Resource, query: &CanonicalQuery) -> Result<(), String> {
        let Self { name, scope, verbs, .. } = self;
        if !verbs.contains(&resource.verb) {
            let verbs: Vec<&str> = verbs.iter().map(|verb| verb.as_str()).collect();
            return Err(format!("rule {name} allows {} only, and this would {resource}", verbs.join(", ")));
        }
        let within = |namespace: Option<&str>| namespace.is_some_and(|found| is_build_namespace(cr, found));
        match scope {
            Scope::Cluster if resource.namespace.is_none() => Ok(()),
            Scope::Cluster => {
                Err(format!("rule {name} is for cluster-scoped objects, and this would {resource}"))
            }
            Scope::BuildNamespaces if within(resource.namespace.as_deref()) => Ok(()),
            Scope::BuildNamespaceObjects if within(resource.name.as_deref()) => Ok(()),
            // The name stands in the body, which is judged as well.
            Scope::BuildNamespaceObjects if resource.verb == Verb::Create && resource.name.is_none() => {
                Ok(())
            }
            Scope::BuildNamespaces | Scope::BuildNamespaceObjects => {
                Err(format!("rule {name} holds in {} only, and this would {resource}", build_namespaces(cr)))
            }
            Scope::Managed if cr.namespace().is_some() => Err(format!(
                "rule {name} is for cluster-scoped custom resources alone, and this would {resource} in all namespaces"
            )),
            Scope::Managed if requires_our_label(query) => Ok(()),
            Scope::Managed => Err(format!(
                "rule {name} wants the label selector {}={}, and this would {resource} in all namespaces without it",
                label::MANAGED_BY,
                label::MANAGED_BY_RUNS
            )),
        }
    }
}

/// Whether nothing without our label can be seen. A selector is a conjunction, so that one requirement among others is
/// enough; one with parentheses is not taken apart, because commas inside them part values.
fn requires_our_label(query: &CanonicalQuery) -> bool {
    let mut selectors = query.values("labelSelector");
    let (Some(selector), None) = (selectors.next(), selectors.next()) else { return false };
    let ours = |requirement: &str| {
        let value = requirement.strip_prefix(label::MANAGED_BY).and_then(|rest| rest.strip_prefix('='));
        value.map(|value| value.strip_prefix('=').unwrap_or(value)) == Some(label::MANAGED_BY_RUNS)
    };
    !selector.contains(['(', ')']) && selector.split(',').any(ours)
}

fn is_build_namespace(cr: &CrRef, namespace: &str) -> bool {
    match cr.namespace() {
        Some(own) => CiNamespace::for_namespace(own).is_ok_and(|expected| expected.as_str() == namespace),
        None => CiNamespace::parse(namespace).is_some(),
    }
}

fn build_namespaces(cr: &CrRef) -> String {
    let whose = cr.namespace().unwrap_or("*");
    format!("namespace openchoreo-ci-{whose}")
}

fn matches_path(allowed: &str, path: &str) -> bool {
    match allowed.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => path == allowed,
    }
}

#[cfg(test)]
mod tests;
