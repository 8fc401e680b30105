//! Whether a set of RBAC rules allows a request. Pure: which rules bind to whom is the API server's business.

use serde::{Deserialize, Serialize};

/// One `rules[]` entry of a Role or ClusterRole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// Verbs; `*` is every verb.
    pub verbs: Vec<String>,
    /// API groups; `""` is the core group, `*` every group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// Resources, `pods/log` with a subresource, `*/scale` that subresource of all, `*` everything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Names the rule is confined to; empty is every name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// URL paths outside the resources, a `*` at the end is a prefix.
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
}

/// What a request wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attributes<'a> {
    /// A request to a resource.
    Resource {
        /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, …
        verb: &'a str,
        /// API group, empty for the core group.
        group: &'a str,
        /// Plural of the resource.
        resource: &'a str,
        /// Subresource, empty for none.
        subresource: &'a str,
        /// Name of the object, empty for a collection and for create.
        name: &'a str,
    },
    /// A request to any other path.
    Path {
        /// The lower-case HTTP method.
        verb: &'a str,
        /// The path, beginning with `/`.
        path: &'a str,
    },
}

/// Whether any rule allows the request.
pub fn allows<'a>(rules: impl IntoIterator<Item = &'a Rule>, attributes: Attributes<'_>) -> bool {
    rules.into_iter().any(|rule| rule.allows(attributes))
}

/// Whether everything `wanted` allows is allowed by `held` too: nobody may grant more than they have.
///
/// As in Kubernetes each combination of one verb, group, resource and name is looked up on its own.
pub fn covers(held: &[Rule], wanted: &Rule) -> bool {
    let any = [String::new()];
    let names = if wanted.resource_names.is_empty() { &any[..] } else { &wanted.resource_names };
    let resources = wanted.verbs.iter().all(|verb| {
        wanted.api_groups.iter().all(|group| {
            wanted.resources.iter().all(|resource| {
                names.iter().all(|name| held.iter().any(|rule| rule.grants(verb, group, resource, name)))
            })
        })
    });
    let urls = wanted.non_resource_urls.iter().all(|url| {
        wanted
            .verbs
            .iter()
            .all(|verb| held.iter().any(|rule| has(&rule.verbs, verb) && rule.matches_url(url)))
    });
    resources && urls
}

impl Rule {
    /// Whether this rule alone allows the request.
    pub fn allows(&self, attributes: Attributes<'_>) -> bool {
        match attributes {
            Attributes::Resource { verb, group, resource, subresource, name } => {
                has(&self.verbs, verb)
                    && has(&self.api_groups, group)
                    && self.matches_resource(resource, subresource)
                    && (self.resource_names.is_empty() || self.resource_names.iter().any(|n| n == name))
            }
            Attributes::Path { verb, path } => has(&self.verbs, verb) && self.matches_url(path),
        }
    }

    fn matches_resource(&self, resource: &str, subresource: &str) -> bool {
        self.resources.iter().any(|held| {
            if held == "*" {
                return true;
            }
            match held.split_once('/') {
                None => subresource.is_empty() && held == resource,
                Some((held_resource, held_subresource)) => {
                    held_subresource == subresource
                        && !subresource.is_empty()
                        && (held_resource == "*" || held_resource == resource)
                }
            }
        })
    }

    fn matches_url(&self, path: &str) -> bool {
        self.non_resource_urls.iter().any(|held| {
            held == "*"
                || held == path
                || held.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
        })
    }

    /// One elementary grant, wildcards in it taken literally: only `*` covers `*`.
    fn grants(&self, verb: &str, group: &str, resource: &str, name: &str) -> bool {
        let (base, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        has(&self.verbs, verb)
            && has(&self.api_groups, group)
            && (self.resources.iter().any(|held| held == resource)
                || self.matches_resource(base, subresource))
            && (self.resource_names.is_empty()
                || self.resource_names.iter().any(|n| n == name && !name.is_empty()))
    }
}

fn has(held: &[String], wanted: &str) -> bool {
    held.iter().any(|entry| entry == "*" || entry == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]) -> Rule {
        let strings = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        Rule {
            verbs: strings(verbs),
            api_groups: strings(groups),
            resources: strings(resources),
            resource_names: strings(names),
            non_resource_urls: Vec::new(),
        }
    }

    fn wants<'a>(verb: &'a str, group: &'a str, resource: &'a str, name: &'a str) -> Attributes<'a> {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        Attributes::Resource { verb, group, resource, subresource, name }
    }

    #[test]
    fn rules_allow_what_they_name_and_no_more() {
        let check = |rule: &Rule, attributes, expected| {
            assert_eq!(rule.allows(attributes), expected, "{rule:?} {attributes:?}");
        };
        let pods = rule(&["get", "list"], &[""], &["pods"], &[]);
        check(&pods, wants("get", "", "pods", "a"), true);
        check(&pods, wants("list", "", "pods", ""), true);
        check(&pods, wants("delete", "", "pods", "a"), false);
        check(&pods, wants("get", "apps", "pods", "a"), false);
        check(&pods, wants("get", "", "pods/log", "a"), false);
        check(&pods, wants("get", "", "secrets", "a"), false);

        let logs = rule(&["get"], &[""], &["pods/log", "*/status"], &[]);
        check(&logs, wants("get", "", "pods/log", "a"), true);
        check(&logs, wants("get", "", "pods", "a"), false);
        check(&logs, wants("get", "", "namespaces/status", "a"), true);
        check(&logs, wants("get", "", "namespaces", "a"), false);

        let named = rule(&["get", "create"], &[""], &["secrets"], &["mine"]);
        check(&named, wants("get", "", "secrets", "mine"), true);
        check(&named, wants("get", "", "secrets", "other"), false);
        check(&named, wants("list", "", "secrets", ""), false);
        check(&named, wants("create", "", "secrets", ""), false);

        let all = rule(&["*"], &["*"], &["*"], &[]);
        check(&all, wants("impersonate", "x", "y/z", ""), true);
        check(&all, Attributes::Path { verb: "get", path: "/metrics" }, false);
    }

    #[test]
    fn paths_match_exactly_or_by_prefix() {
        let held = Rule {
            verbs: vec!["get".into()],
            non_resource_urls: vec!["/healthz".into(), "/api/*".into()],
            ..Rule::default()
        };
        let check = |path, expected| {
            assert_eq!(held.allows(Attributes::Path { verb: "get", path }), expected, "{path}");
        };
        check("/healthz", true);
        check("/healthz/etcd", false);
        check("/api/v1", true);
        check("/api", false);
        assert!(!held.allows(wants("get", "", "healthz", "")));
    }

    #[test]
    fn nobody_grants_more_than_they_hold() {
        let check =
            |held: &[Rule], wanted: &Rule, expected| assert_eq!(covers(held, wanted), expected, "{wanted:?}");
        let held =
            [rule(&["get", "list"], &[""], &["pods"], &[]), rule(&["get"], &[""], &["secrets"], &["mine"])];
        check(&held, &rule(&["get"], &[""], &["pods"], &["one"]), true);
        check(&held, &rule(&["get", "list"], &[""], &["pods"], &[]), true);
        check(&held, &rule(&["get"], &[""], &["pods", "secrets"], &[]), false);
        check(&held, &rule(&["get"], &[""], &["pods", "secrets"], &["mine"]), true);
        check(&held, &rule(&["*"], &[""], &["pods"], &[]), false);
        check(&held, &rule(&["get"], &[""], &["*"], &[]), false);
        check(&[rule(&["*"], &["*"], &["*"], &[])], &rule(&["*"], &["*"], &["*"], &[]), true);
    }

    #[test]
    fn rules_read_from_an_object() {
        let text = r#"{"verbs":["get"],"nonResourceURLs":["/version"]}"#;
        let parsed: Rule = serde_json::from_str(text).unwrap();
        assert_eq!(parsed.non_resource_urls, ["/version"]);
        assert_eq!(serde_json::to_string(&parsed).unwrap(), text);
    }
}
