//! What may be written where the URL does not say enough: the name of a new Namespace, and whom a Role gives what.
//!
//! Kubernetes keeps the agent from granting more than it may do itself. That is not enough: bound to an account of
//! somebody's choice, what the agent may do would outlive the connection, and pass by its policy.

use serde_json::{Map, Value};

use buildplane_api::names::CrRef;
use buildplane_wire::{Resource, Verb};

use super::{Allowed, Grant, Policy, build_namespaces, is_build_namespace};

/// What a body must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyRule {
    /// A Namespace of the custom resource's builds.
    Namespace,
    /// A Role that grants what the policy lists.
    Role,
    /// A RoleBinding of a Role to accounts of this namespace.
    RoleBinding {
        /// The namespace that it stands in.
        namespace: String,
    },
}

/// Labels and annotations under this prefix are ours; others configure the cluster (pod security, injected sidecars).
const OURS: &str = "openchoreo.dev/";
/// Kubernetes sets it to the name itself.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

const RBAC: &str = "rbac.authorization.k8s.io";

/// What of an allowed request is to be judged.
///
/// # Errors
/// It cannot be judged: a patch says only what changes.
pub(super) fn needed(resource: &Resource) -> Result<Allowed, String> {
    let rule = match (resource.group.as_str(), resource.qualified().as_str()) {
        ("", "namespaces") => BodyRule::Namespace,
        (RBAC, "roles") => BodyRule::Role,
        (RBAC, "rolebindings") => {
            BodyRule::RoleBinding { namespace: resource.namespace.clone().unwrap_or_default() }
        }
        _ => return Ok(Allowed::AsAsked),
    };
    match resource.verb {
        Verb::Create | Verb::Update => Ok(Allowed::WithBody(rule)),
        Verb::Patch => Err(format!(
            "rule bodies allows no patch of {}: what it leads to cannot be judged",
            resource.resource
        )),
        Verb::Get | Verb::List | Verb::Watch | Verb::Delete | Verb::DeleteCollection => Ok(Allowed::AsAsked),
    }
}

pub(super) fn judge(policy: &Policy, cr: &CrRef, rule: &BodyRule, body: &Value) -> Result<(), String> {
    match rule {
        BodyRule::Namespace => namespace(cr, body),
        BodyRule::Role => role(&policy.grants, body),
        BodyRule::RoleBinding { namespace } => role_binding(namespace, body),
    }
}

fn namespace(cr: &CrRef, body: &Value) -> Result<(), String> {
    let Some(metadata) = body.get("metadata").and_then(Value::as_object) else {
        return Err("rule bodies wants a Namespace with metadata".to_owned());
    };
    let name = metadata.get("name").and_then(Value::as_str).unwrap_or_default();
    if !is_build_namespace(cr, name) {
        let whose = build_namespaces(cr);
        return Err(format!("rule namespaces holds for {whose} only, and this is about namespace {name:?}"));
    }
    // A finalizer of its own would keep the namespace from ever going.
    if body.get("spec").is_some_and(|spec| !spec.is_null() && *spec != Value::Object(Map::new())) {
        return Err("rule bodies does not allow spec on a Namespace".to_owned());
    }
    for (key, value) in metadata {
        match key.as_str() {
            "name" | "creationTimestamp" | "resourceVersion" | "uid" => {}
            "labels" | "annotations" => ours(key, value, name)?,
            other => return Err(format!("rule bodies does not allow metadata.{other} on a Namespace")),
        }
    }
    Ok(())
}

fn ours(what: &str, entries: &Value, name: &str) -> Result<(), String> {
    let is_ours = |(key, value): (&String, &Value)| {
        key.starts_with(OURS) || (key == NAME_LABEL && value.as_str() == Some(name))
    };
    match entries {
        Value::Null => Ok(()),
        Value::Object(entries) => match entries.iter().find(|entry| !is_ours(*entry)) {
            None => Ok(()),
            Some((key, _)) => {
                Err(format!("rule bodies allows {what} under {OURS} on a Namespace only, not {key:?}"))
            }
        },
        _ => Err(format!("rule bodies wants {what} that are a map")),
    }
}

fn role(grants: &[Grant], body: &Value) -> Result<(), String> {
    let refused = |what: &str| Err(format!("rule grants does not allow a Role to grant {what}"));
    if let Some(key) = unknown(body, &["apiVersion", "kind", "metadata", "rules"]) {
        return refused(&format!("by the field {key:?}"));
    }
    for rule in list(body.get("rules"))? {
        if let Some(key) = unknown(rule, &["apiGroups", "resources", "resourceNames", "verbs"]) {
            return refused(&format!("by the field {key:?}"));
        }
        let groups = texts(rule.get("apiGroups"))?;
        let resources = texts(rule.get("resources"))?;
        let verbs = texts(rule.get("verbs"))?;
        // Each combination must be granted by one entry of the policy.
        for (group, resource) in
            groups.iter().flat_map(|group| resources.iter().map(move |resource| (group, resource)))
        {
            for verb in &verbs {
                let holds = |grant: &Grant| {
                    grant.groups.contains(group)
                        && grant.resources.contains(resource)
                        && grant.verbs.contains(verb)
                };
                if !grants.iter().any(holds) {
                    return refused(&format!("{verb:?} on {resource:?} of group {group:?}"));
                }
            }
        }
    }
    Ok(())
}

fn role_binding(namespace: &str, body: &Value) -> Result<(), String> {
    let role = body.get("roleRef");
    let text = |of: Option<&Value>, key: &str| {
        of.and_then(|of| of.get(key)).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    if text(role, "kind") != "Role" || text(role, "apiGroup") != RBAC {
        return Err("rule bodies allows a RoleBinding of a Role of its namespace only".to_owned());
    }
    for subject in list(body.get("subjects"))? {
        let subject = Some(subject);
        if text(subject, "kind") != "ServiceAccount" || text(subject, "namespace") != namespace {
            return Err(format!(
                "rule bodies allows a RoleBinding to service accounts of {namespace} only, not to {} {:?}",
                text(subject, "kind"),
                text(subject, "name")
            ));
        }
    }
    Ok(())
}

fn unknown(object: &Value, known: &[&str]) -> Option<String> {
    let fields: Option<&Map<String, Value>> = object.as_object();
    match fields {
        Some(fields) => fields.keys().find(|key| !known.contains(&key.as_str())).cloned(),
        None => Some("(no object)".to_owned()),
    }
}

fn list(value: Option<&Value>) -> Result<&[Value], String> {
    match value {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err("rule bodies wants a list".to_owned()),
    }
}

fn texts(value: Option<&Value>) -> Result<Vec<String>, String> {
    let item = |item: &Value| {
        item.as_str().map(ToOwned::to_owned).ok_or_else(|| "rule bodies wants texts in a Role".to_owned())
    };
    list(value)?.iter().map(item).collect()
}
