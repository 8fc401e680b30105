//! What custom resources may do on this cluster. Pure: a request's attributes in, a decision out; nothing is allowed
//! that no rule allows.

use serde::Deserialize;

use buildplane_api::names::{CiNamespace, CrRef};
use buildplane_wire::{AllowedPlanes, Attributes, Resource, Verb};

mod shipped;

/// Rules of the build cluster's owner. What no rule allows is refused.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// The custom resources that may use this plane at all; every admitted one where this is absent.
    #[serde(default)]
    pub allowed_planes: AllowedPlanes,
    /// What may be done with resources.
    pub rules: Vec<Rule>,
    /// Paths outside the resources that may be read: exact, or a prefix that ends in `*`.
    #[serde(default)]
    pub paths: Vec<String>,
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

/// Where a rule holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// In the namespace of the custom resource's builds; for a cluster-scoped one in every `openchoreo-ci-*`.
    BuildNamespaces,
    /// For the Namespace objects of these namespaces themselves.
    BuildNamespaceObjects,
    /// For cluster-scoped objects, which every custom resource sees alike.
    Cluster,
}

/// A refusal. The text names the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the agent's policy refuses this to {cr}: {reason}")]
pub struct Refusal {
    cr: String,
    reason: String,
}

/// What a decision leaves to be checked in the request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// Nothing.
    AsAsked,
    /// A Namespace is created: its name stands in the body alone, and must be that of a build namespace.
    NamespaceInBody,
}

impl Policy {
    /// Decides about one request.
    pub fn decide(&self, cr: &CrRef, attributes: &Attributes) -> Result<Allowed, Refusal> {
        let refuse = |reason: String| Err(Refusal { cr: cr.to_string(), reason });
        if !self.allowed_planes.permits(cr) {
            return refuse("rule allowedPlanes does not list it".to_owned());
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
            match rule.allows(cr, resource) {
                Ok(allowed) => return Ok(allowed),
                Err(reason) => nearest = Some(reason),
            }
        }
        refuse(nearest.unwrap_or_else(|| format!("no rule allows to {resource}")))
    }

    /// Whether a Namespace of this name may be created for the custom resource.
    pub fn decide_namespace(&self, cr: &CrRef, name: &str) -> Result<(), Refusal> {
        if is_build_namespace(cr, name) {
            Ok(())
        } else {
            let reason = format!("namespace {name:?} is not one of its build namespaces");
            Err(Refusal { cr: cr.to_string(), reason })
        }
    }
}

impl Rule {
    fn covers(&self, resource: &Resource) -> bool {
        self.groups.contains(&resource.group) && self.resources.contains(&resource.qualified())
    }

    fn allows(&self, cr: &CrRef, resource: &Resource) -> Result<Allowed, String> {
        let Self { name, scope, verbs, .. } = self;
        if !verbs.contains(&resource.verb) {
            let verbs: Vec<&str> = verbs.iter().map(|verb| verb.as_str()).collect();
            return Err(format!("rule {name} allows {} only, and this would {resource}", verbs.join(", ")));
        }
        let within = |namespace: Option<&str>| namespace.is_some_and(|found| is_build_namespace(cr, found));
        match scope {
            Scope::Cluster if resource.namespace.is_none() => Ok(Allowed::AsAsked),
            Scope::BuildNamespaces if within(resource.namespace.as_deref()) => Ok(Allowed::AsAsked),
            Scope::BuildNamespaceObjects if within(resource.name.as_deref()) => Ok(Allowed::AsAsked),
            Scope::BuildNamespaceObjects if resource.verb == Verb::Create && resource.name.is_none() => {
                Ok(Allowed::NamespaceInBody)
            }
            Scope::Cluster => {
                Err(format!("rule {name} is for cluster-scoped objects, and this would {resource}"))
            }
            Scope::BuildNamespaces | Scope::BuildNamespaceObjects => {
                Err(format!("rule {name} holds in {} only, and this would {resource}", build_namespaces(cr)))
            }
        }
    }
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
