use buildplane_wire::{AllowedPlanes, Verb};

use super::{Policy, Rule, Scope};

const READ: &[Verb] = &[Verb::Get, Verb::List, Verb::Watch];
const ENSURE: &[Verb] = &[Verb::Get, Verb::Create];
const ALL: &[Verb] = &[
    Verb::Get,
    Verb::List,
    Verb::Watch,
    Verb::Create,
    Verb::Update,
    Verb::Patch,
    Verb::Delete,
    Verb::DeleteCollection,
];

impl Policy {
    /// The shipped policy: what builds need, in the namespaces of builds, and nothing else. No Secret is read, no command
    /// runs in a pod, and no role reaches beyond a namespace.
    pub fn builds() -> Self {
        let within = Scope::BuildNamespaces;
        Self {
            allowed_planes: AllowedPlanes::default(),
            rules: vec![
                rule("namespaces", Scope::BuildNamespaceObjects, "", &["namespaces"], ENSURE),
                rule("service-accounts", within, "", &["serviceaccounts"], ENSURE),
                rule("roles", within, "rbac.authorization.k8s.io", &["roles", "rolebindings"], ENSURE),
                rule("workflows", within, "argoproj.io", &["workflows"], ALL),
                rule("workflow-task-results", within, "argoproj.io", &["workflowtaskresults"], READ),
                rule(
                    "workflow-templates",
                    Scope::Cluster,
                    "argoproj.io",
                    &["clusterworkflowtemplates"],
                    READ,
                ),
                rule("pods", within, "", &["pods"], READ),
                rule("pod-logs", within, "", &["pods/log"], &[Verb::Get]),
                rule("events", within, "", &["events"], READ),
                rule("events", within, "events.k8s.io", &["events"], READ),
                rule("claims", within, "", &["persistentvolumeclaims"], &[Verb::Get, Verb::List]),
                rule("external-secrets", within, "external-secrets.io", &["externalsecrets"], ALL),
                rule("secret-stores", Scope::Cluster, "external-secrets.io", &["clustersecretstores"], READ),
                rule(
                    "config-maps",
                    within,
                    "",
                    &["configmaps"],
                    &[Verb::Get, Verb::Create, Verb::Patch, Verb::Delete],
                ),
            ],
            paths: ["/api", "/api/v1", "/apis", "/apis/*", "/openapi/v2", "/openapi/v3", "/openapi/v3/*"]
                .into_iter()
                .chain(["/version", "/healthz", "/readyz", "/livez"])
                .map(str::to_owned)
                .collect(),
        }
    }
}

fn rule(name: &str, scope: Scope, group: &str, resources: &[&str], verbs: &[Verb]) -> Rule {
    Rule {
        name: name.to_owned(),
        scope,
        groups: vec![group.to_owned()],
        resources: resources.iter().map(|resource| (*resource).to_owned()).collect(),
        verbs: verbs.to_vec(),
    }
}
