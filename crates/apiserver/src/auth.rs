//! Who may do what: RBAC objects of the store, compiled when they change.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use buildplane_apimachinery::rbac::{Attributes, Rule};
use buildplane_apimachinery::selector::LabelSelector;
use http::{HeaderMap, Method};
use serde_json::Value;

use crate::call::{Call, Verb};
use crate::error::{ApiError, ApiResult};
use crate::identity::Identity;
use crate::object;
use crate::server::Api;

/// A question: may `identity` do this in `namespace`?
pub(crate) struct Access<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) attributes: Attributes<'a>,
}

/// Rules by the subject they are bound to.
#[derive(Default)]
pub(crate) struct Authorizer {
    compiled: ArcSwapOption<Grants>,
    generation: AtomicU64,
}

struct Grants {
    generation: u64,
    users: HashMap<String, Vec<Grant>>,
    groups: HashMap<String, Vec<Grant>>,
}

#[derive(Clone)]
struct Grant {
    /// Where it holds; everywhere when absent.
    namespace: Option<String>,
    rules: Arc<Vec<Rule>>,
}

impl Authorizer {
    /// The objects changed.
    pub(crate) fn forget(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    fn grants(&self, api: &Api) -> Arc<Grants> {
        // Read before the store is, so that a change in between makes what is compiled here stale.
        let generation = self.generation.load(Ordering::Acquire);
        match self.compiled.load_full() {
            Some(grants) if grants.generation == generation => grants,
            _ => {
                let grants = Arc::new(Grants::compile(api, generation));
                self.compiled.store(Some(Arc::clone(&grants)));
                grants
            }
        }
    }

    pub(crate) fn allows(&self, api: &Api, access: &Access<'_>) -> bool {
        if access.identity.is_master() {
            return true;
        }
        let grants = self.grants(api);
        grants
            .of(access.identity)
            .filter(|grant| grant.namespace.is_none() || grant.namespace.as_deref() == access.namespace)
            .any(|grant| grant.rules.iter().any(|rule| rule.allows(access.attributes)))
    }

    /// All rules an identity has in a namespace.
    pub(crate) fn rules(&self, api: &Api, identity: &Identity, namespace: Option<&str>) -> Vec<Rule> {
        if identity.is_master() {
            return everything();
        }
        let grants = self.grants(api);
        grants
            .of(identity)
            .filter(|grant| grant.namespace.is_none() || grant.namespace.as_deref() == namespace)
            .flat_map(|grant| grant.rules.iter().cloned())
            .collect()
    }
}

fn everything() -> Vec<Rule> {
    let all = || vec!["*".to_owned()];
    vec![
        Rule { verbs: all(), api_groups: all(), resources: all(), ..Rule::default() },
        Rule { verbs: all(), non_resource_urls: all(), ..Rule::default() },
    ]
}

impl Grants {
    fn of<'a>(&'a self, identity: &'a Identity) -> impl Iterator<Item = &'a Grant> {
        let users = self.users.get(&identity.user).into_iter().flatten();
        users.chain(identity.groups.iter().filter_map(|group| self.groups.get(group)).flatten())
    }

    fn compile(api: &Api, generation: u64) -> Self {
        let cluster_roles = cluster_roles(api);
        let roles: HashMap<(String, String), Arc<Vec<Rule>>> = objects(api, "roles")
            .into_iter()
            .map(|role| {
                let key = (object::namespace(&role).to_owned(), object::name(&role).to_owned());
                (key, Arc::new(rules(&role)))
            })
            .collect();
        let mut grants = Self { generation, users: HashMap::new(), groups: HashMap::new() };
        for binding in objects(api, "clusterrolebindings") {
            let role = binding["roleRef"]["name"].as_str().unwrap_or_default();
            if let Some(rules) = cluster_roles.get(role) {
                grants.bind(&binding, &Grant { namespace: None, rules: Arc::clone(rules) });
            }
        }
        for binding in objects(api, "rolebindings") {
            let namespace = object::namespace(&binding).to_owned();
            let role = binding["roleRef"]["name"].as_str().unwrap_or_default().to_owned();
            let bound = match binding["roleRef"]["kind"].as_str() {
                Some("ClusterRole") => cluster_roles.get(&role),
                _ => roles.get(&(namespace.clone(), role)),
            };
            if let Some(rules) = bound {
                grants.bind(&binding, &Grant { namespace: Some(namespace), rules: Arc::clone(rules) });
            }
        }
        grants
    }

    fn bind(&mut self, binding: &Value, grant: &Grant) {
        for subject in binding["subjects"].as_array().into_iter().flatten() {
            let name = subject["name"].as_str().unwrap_or_default();
            let bound = match subject["kind"].as_str() {
                Some("User") => self.users.entry(name.to_owned()),
                Some("Group") => self.groups.entry(name.to_owned()),
                Some("ServiceAccount") => {
                    let namespace = subject["namespace"].as_str().unwrap_or_default();
                    self.users.entry(format!("system:serviceaccount:{namespace}:{name}"))
                }
                _ => continue,
            };
            bound.or_default().push(grant.clone());
        }
    }
}

/// The rules of each ClusterRole, those it aggregates included.
fn cluster_roles(api: &Api) -> HashMap<String, Arc<Vec<Rule>>> {
    let roles = objects(api, "clusterroles");
    roles
        .iter()
        .map(|role| {
            let mut all = rules(role);
            let selectors = role["aggregationRule"]["clusterRoleSelectors"].as_array();
            for selector in selectors.into_iter().flatten() {
                let Ok(selector) = LabelSelector::from_object(selector) else { continue };
                all.extend(roles.iter().filter(|other| selector.matches_object(other)).flat_map(rules));
            }
            (object::name(role).to_owned(), Arc::new(all))
        })
        .collect()
}

fn rules(role: &Value) -> Vec<Rule> {
    serde_json::from_value(role["rules"].clone()).unwrap_or_default()
}

fn objects(api: &Api, plural: &str) -> Vec<Value> {
    let entries = api.store.entries(&format!("/rbac.authorization.k8s.io/{plural}/"));
    entries.iter().filter_map(|(_, entry)| object::decode(entry).ok()).collect()
}

/// Everybody who is authenticated may ask what there is and what they may do themselves.
fn is_public(group: &str, resource: &str, verb: &str) -> bool {
    verb == "create"
        && matches!(
            (group, resource),
            ("authorization.k8s.io", "selfsubjectaccessreviews" | "selfsubjectrulesreviews")
                | ("authentication.k8s.io", "selfsubjectreviews")
        )
}

pub(crate) fn allows(api: &Api, access: &Access<'_>) -> bool {
    match access.attributes {
        Attributes::Resource { verb, group, resource, subresource: "", .. }
            if is_public(group, resource, verb) =>
        {
            true
        }
        Attributes::Path { verb: "get", path } if is_discovery(path) => true,
        _ => api.authorizer.allows(api, access),
    }
}

fn is_discovery(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    matches!(first, "" | "api" | "apis" | "openapi" | "version" | "healthz" | "livez" | "readyz")
}

pub(crate) fn authorize_path(api: &Api, identity: &Identity, method: &Method, path: &str) -> ApiResult<()> {
    let verb = method.as_str().to_ascii_lowercase();
    let verb = if verb == "head" { "get" } else { verb.as_str() };
    let attributes = Attributes::Path { verb, path };
    if allows(api, &Access { identity, namespace: None, attributes }) {
        return Ok(());
    }
    let message = format!("forbidden: User \"{}\" cannot {verb} path \"{path}\"", identity.user);
    Err(ApiError::forbidden_plain(message))
}

pub(crate) fn authorize_call(call: &Call, verb: Verb) -> ApiResult<()> {
    authorize(call, verb.as_str())
}

/// Checks another verb than the method says, such as create for an apply that makes the object.
pub(crate) fn authorize(call: &Call, verb: &str) -> ApiResult<()> {
    // The name of a Namespace is its namespace too, as far as roles in it go.
    let own_namespace =
        (call.kind.is("", "namespaces") && !call.name.is_empty()).then_some(call.name.as_str());
    let namespace = call.namespace.as_deref().or(own_namespace);
    let attributes = Attributes::Resource {
        verb,
        group: &call.kind.group,
        resource: &call.kind.plural,
        subresource: &call.subresource,
        name: &call.name,
    };
    if allows(&call.api, &Access { identity: &call.identity, namespace, attributes }) {
        return Ok(());
    }
    let slash = if call.subresource.is_empty() { "" } else { "/" };
    let resource = format!("{}{slash}{}", call.kind.plural, call.subresource);
    let place = match namespace {
        Some(namespace) => format!("in the namespace \"{namespace}\""),
        None => "at the cluster scope".to_owned(),
    };
    let why = format!(
        "User \"{}\" cannot {verb} resource \"{resource}\" in API group \"{}\" {place}",
        call.identity.user, call.kind.group
    );
    Err(ApiError::forbidden(&call.kind, &call.name, &why))
}

/// Who the request is to be taken for (`kubectl --as`), if its sender may `impersonate` them.
pub(crate) fn impersonated(api: &Api, identity: Identity, headers: &HeaderMap) -> ApiResult<Identity> {
    let texts = |name: &str| -> Vec<String> {
        headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned).collect()
    };
    let mut others =
        headers.keys().map(http::HeaderName::as_str).filter(|name| name.starts_with("impersonate-"));
    if let Some(other) = others.find(|name| !matches!(*name, "impersonate-user" | "impersonate-group")) {
        return Err(ApiError::forbidden_plain(format!("impersonation by {other} is not supported")));
    }
    let (user, mut groups) = (texts("impersonate-user").into_iter().next(), texts("impersonate-group"));
    let Some(user) = user.filter(|user| !user.is_empty()) else {
        if groups.is_empty() {
            return Ok(identity);
        }
        return Err(ApiError::bad_request("requested groups without impersonating a user"));
    };
    let account = user.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
    let (resource, namespace, name) = match account {
        Some((namespace, name)) => ("serviceaccounts", Some(namespace), name),
        None => ("users", None, user.as_str()),
    };
    may_impersonate(api, &identity, (resource, namespace, name))?;
    for group in &groups {
        may_impersonate(api, &identity, ("groups", None, group))?;
    }
    if let Some((namespace, _)) = account.filter(|_| groups.is_empty()) {
        groups = vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
    }
    Ok(Identity::new(user, groups))
}

fn may_impersonate(
    api: &Api,
    identity: &Identity,
    (resource, namespace, name): (&str, Option<&str>, &str),
) -> ApiResult<()> {
    let attributes = Attributes::Resource { verb: "impersonate", group: "", resource, subresource: "", name };
    if allows(api, &Access { identity, namespace, attributes }) {
        return Ok(());
    }
    Err(ApiError::forbidden_plain(format!(
        "{resource} \"{name}\" is forbidden: User \"{}\" cannot impersonate resource \"{resource}\" in API group \"\" at the cluster scope",
        identity.user
    )))
}

/// Nobody may grant by a role more than they have, unless they may `escalate` (roles) or `bind` (bindings).
pub(crate) fn no_escalation(call: &Call, object: &Value) -> ApiResult<()> {
    use buildplane_apimachinery::rbac::covers;
    if call.kind.group != crate::kinds::RBAC_GROUP || call.identity.is_master() {
        return Ok(());
    }
    let (verb, resource, name, wanted) = match call.kind.plural.as_str() {
        "roles" | "clusterroles" => {
            ("escalate", call.kind.plural.as_str(), object::name(object), rules(object))
        }
        _ => {
            let role = object["roleRef"]["name"].as_str().unwrap_or_default();
            let of_cluster = object["roleRef"]["kind"] == "ClusterRole";
            let wanted = if of_cluster {
                cluster_roles(&call.api).get(role).map(|rules| rules.to_vec()).unwrap_or_default()
            } else {
                let namespace = call.namespace.as_deref().unwrap_or_default();
                let key = format!("/rbac.authorization.k8s.io/roles/{namespace}/{role}");
                let role = call.api.store.get(&key).and_then(|entry| object::decode(&entry).ok());
                role.map(|role| rules(&role)).unwrap_or_default()
            };
            ("bind", if of_cluster { "clusterroles" } else { "roles" }, role, wanted)
        }
    };
    let attributes =
        Attributes::Resource { verb, group: crate::kinds::RBAC_GROUP, resource, subresource: "", name };
    let namespace = call.namespace.as_deref();
    if allows(&call.api, &Access { identity: &call.identity, namespace, attributes }) {
        return Ok(());
    }
    let held = call.api.authorizer.rules(&call.api, &call.identity, namespace);
    let missing: Vec<String> =
        wanted.iter().filter(|rule| !covers(&held, rule)).map(|rule| format!("{rule:?}")).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let why = format!(
        "user \"{}\" (groups={:?}) is attempting to grant RBAC permissions not currently held:\n{}",
        call.identity.user,
        call.identity.groups,
        missing.join("\n")
    );
    Err(ApiError::forbidden(&call.kind, object::name(object), &why))
}
