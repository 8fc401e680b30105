use http::Method;

use buildplane_wire::{AllowedPlanes, CanonicalPath, CanonicalQuery};

use super::*;

const TEAM: &str = "buildplane/team/default";
const CLUSTER: &str = "clusterbuildplane/_cluster/default";

fn read(method: &str, target: &str) -> Result<(Attributes, CanonicalQuery), String> {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let path = CanonicalPath::parse(path).map_err(|error| error.to_string())?;
    let query = CanonicalQuery::parse(query).map_err(|error| error.to_string())?;
    let method = Method::from_bytes(method.as_bytes()).map_err(|error| error.to_string())?;
    let attributes = Attributes::read(&method, &path, &query).map_err(|error| error.to_string())?;
    Ok((attributes, query))
}

fn decide_by(policy: &Policy, cr: &str, method: &str, target: &str) -> Result<Allowed, String> {
    let (attributes, query) = read(method, target)?;
    let cr = cr.parse().map_err(|error: buildplane_api::NameError| error.to_string())?;
    policy.decide(&cr, &attributes, &query).map_err(|refusal| refusal.to_string())
}

fn decide(cr: &str, method: &str, target: &str) -> Result<Allowed, String> {
    decide_by(&Policy::builds(), cr, method, target)
}

#[test]
fn what_builds_need_is_allowed() {
    let ns = "/api/v1/namespaces/openchoreo-ci-team";
    let argo = "/apis/argoproj.io/v1alpha1/namespaces/openchoreo-ci-team/workflows";
    for (method, target) in [
        ("GET", ns.to_owned()),
        ("POST", "/api/v1/namespaces".to_owned()),
        ("POST", format!("{ns}/serviceaccounts")),
        ("GET", format!("{ns}/serviceaccounts/workflow-sa")),
        ("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/openchoreo-ci-team/roles".to_owned()),
        ("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/openchoreo-ci-team/rolebindings".to_owned()),
        ("GET", argo.to_owned()),
        ("GET", format!("{argo}?watch=true&resourceVersion=1")),
        ("POST", argo.to_owned()),
        ("PATCH", format!("{argo}/run?fieldManager=x")),
        ("DELETE", format!("{argo}/run")),
        ("GET", format!("{ns}/pods?labelSelector=workflows.argoproj.io%2Fworkflow%3Drun")),
        ("GET", format!("{ns}/pods/run-1/log?follow=true&container=main")),
        ("GET", format!("{ns}/events?watch=1")),
        ("GET", "/apis/events.k8s.io/v1/namespaces/openchoreo-ci-team/events".to_owned()),
        ("PUT", "/apis/external-secrets.io/v1/namespaces/openchoreo-ci-team/externalsecrets/x".to_owned()),
        ("PATCH", format!("{ns}/configmaps/x")),
        ("GET", "/apis/argoproj.io/v1alpha1/clusterworkflowtemplates/docker?resourceVersion=0".to_owned()),
        ("GET", "/apis/external-secrets.io/v1/clustersecretstores/default".to_owned()),
        ("GET", "/version".to_owned()),
        ("HEAD", "/healthz".to_owned()),
        ("GET", "/apis".to_owned()),
        ("GET", "/apis/argoproj.io/v1alpha1".to_owned()),
        ("GET", "/openapi/v3/apis/argoproj.io/v1alpha1?hash=x".to_owned()),
    ] {
        for cr in [TEAM, CLUSTER] {
            assert_eq!(decide(cr, method, &target).map(drop), Ok(()), "{cr}: {method} {target}");
        }
    }
}

#[test]
fn everything_else_is_refused() {
    let ns = "/api/v1/namespaces/openchoreo-ci-team";
    for (method, target) in [
        ("GET", format!("{ns}/secrets")),
        ("GET", format!("{ns}/secrets/x")),
        ("GET", format!("{ns}/secrets?watch=true")),
        ("POST", format!("{ns}/secrets")),
        ("GET", "/api/v1/secrets".to_owned()),
        ("GET", "/api/v1/pods".to_owned()),
        ("GET", "/apis/argoproj.io/v1alpha1/workflows?watch=true".to_owned()),
        ("GET", "/api/v1/namespaces/kube-system/pods".to_owned()),
        ("GET", "/api/v1/namespaces/openchoreo-build-plane/pods".to_owned()),
        ("GET", "/api/v1/namespaces/openchoreo-ci-/pods".to_owned()),
        ("GET", "/api/v1/NameSpaces/openchoreo-ci-team/pods".to_owned()),
        ("GET", format!("{ns}/Pods")),
        ("GET", "/api/v1/namespaces".to_owned()),
        ("GET", "/api/v1/namespaces/kube-system".to_owned()),
        ("DELETE", ns.to_owned()),
        ("PATCH", ns.to_owned()),
        ("PUT", format!("{ns}/finalize")),
        ("PUT", format!("{ns}/status")),
        ("POST", format!("{ns}/pods")),
        ("DELETE", format!("{ns}/pods")),
        ("GET", format!("{ns}/pods/x/exec?command=sh")),
        ("POST", format!("{ns}/pods/x/exec?command=sh")),
        ("GET", format!("{ns}/pods/x/attach")),
        ("GET", format!("{ns}/pods/x/portforward")),
        ("GET", format!("{ns}/pods/x/proxy")),
        ("GET", format!("{ns}/pods/x:80/proxy/api/v1/secrets")),
        ("GET", format!("{ns}/services/x:80/proxy/")),
        ("POST", format!("{ns}/pods/x/eviction")),
        ("POST", format!("{ns}/pods/x/binding")),
        ("PATCH", format!("{ns}/pods/x/ephemeralcontainers")),
        ("POST", format!("{ns}/serviceaccounts/x/token")),
        ("PATCH", format!("{ns}/serviceaccounts/x")),
        ("PATCH", "/apis/rbac.authorization.k8s.io/v1/namespaces/openchoreo-ci-team/roles/x".to_owned()),
        ("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles".to_owned()),
        ("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings".to_owned()),
        ("PUT", "/apis/argoproj.io/v1alpha1/namespaces/openchoreo-ci-team/workflows/x/status".to_owned()),
        ("POST", "/apis/argoproj.io/v1alpha1/clusterworkflowtemplates".to_owned()),
        ("GET", "/api/v1/nodes".to_owned()),
        ("GET", "/api/v1/nodes/n/proxy/exec".to_owned()),
        ("GET", "/api/v1/watch/namespaces/openchoreo-ci-team/pods".to_owned()),
        ("GET", "/api/v1/proxy/namespaces/openchoreo-ci-team/pods/x".to_owned()),
        ("POST", "/apis/authentication.k8s.io/v1/tokenreviews".to_owned()),
        ("GET", "/metrics".to_owned()),
        ("GET", "/logs/x".to_owned()),
        ("GET", "/debug/pprof".to_owned()),
        ("GET", "/".to_owned()),
        ("POST", "/version".to_owned()),
        ("POST", "/apis".to_owned()),
        ("OPTIONS", "/version".to_owned()),
        ("GET", format!("{ns}/pods?watch=maybe")),
        ("GET", format!("{ns}/pods?watch=false&watch=true")),
        ("GET", format!("{ns}/pods/x/log/y")),
        ("GET", "/apis/apps/v1/namespaces/openchoreo-ci-team/deployments".to_owned()),
        ("GET", "/apis/argoproj.io/v1alpha1/namespaces/openchoreo-ci-team/pods".to_owned()),
        ("GET", "/api/v1/namespaces/openchoreo-ci-team/workflows".to_owned()),
    ] {
        for cr in [TEAM, CLUSTER] {
            assert!(decide(cr, method, &target).is_err(), "{cr}: {method} {target}");
        }
    }
}

#[test]
fn a_namespaced_custom_resource_is_confined_to_its_own_builds() {
    let others = "/api/v1/namespaces/openchoreo-ci-other/pods";
    assert!(decide(CLUSTER, "GET", others).is_ok());
    let refusal = decide(TEAM, "GET", others).unwrap_err();
    assert_eq!(
        refusal,
        "the agent's policy refuses this to buildplane/team/default: rule pods holds in namespace openchoreo-ci-team \
         only, and this would list pods in namespace openchoreo-ci-other"
    );
    let prefix = "/api/v1/namespaces/openchoreo-ci-team-2/pods";
    assert!(decide(TEAM, "GET", prefix).is_err());
    // A cluster-scoped resource's name is no namespace.
    assert!(decide("clusterbuildplane/_cluster/team", "GET", "/api/v1/namespaces/kube-system/pods").is_err());
}

#[test]
fn refusals_name_the_rule() {
    let refusal = decide(TEAM, "DELETE", "/api/v1/namespaces/openchoreo-ci-team/pods/x").unwrap_err();
    assert!(
        refusal.contains("rule pods allows get, list, watch only, and this would delete pods"),
        "{refusal}"
    );
    let refusal = decide(TEAM, "GET", "/api/v1/namespaces/openchoreo-ci-team/secrets").unwrap_err();
    assert!(refusal.contains("no rule allows to list secrets in namespace openchoreo-ci-team"), "{refusal}");
}

#[test]
fn the_owner_of_the_cluster_narrows_who_may_use_it() {
    let policy =
        Policy { allowed_planes: AllowedPlanes::only(vec![TEAM.parse().unwrap()]), ..Policy::builds() };
    assert!(decide_by(&policy, TEAM, "GET", "/version").is_ok());
    let refusal = decide_by(&policy, CLUSTER, "GET", "/version").unwrap_err();
    assert!(refusal.contains("rule allowedPlanes"), "{refusal}");
}

#[test]
fn all_namespaces_are_seen_by_our_label_alone() {
    let ours = "labelSelector=openchoreo.dev/managed-by%3Dworkflowrun-controller";
    let all = "/apis/argoproj.io/v1alpha1/workflows";
    for query in [
        ours.to_owned(),
        format!("{ours}&watch=true&resourceVersion=1&allowWatchBookmarks=true"),
        format!("{ours}&limit=500&continue=x"),
        format!("{ours}%2Cx%3Dy%2C%21z"),
        "labelSelector=x,openchoreo.dev/managed-by==workflowrun-controller".to_owned(),
    ] {
        assert_eq!(decide(CLUSTER, "GET", &format!("{all}?{query}")), Ok(Allowed::AsAsked), "{query}");
        let refusal = decide(TEAM, "GET", &format!("{all}?{query}")).unwrap_err();
        assert!(
            refusal.contains("rule managed-workflows is for cluster-scoped custom resources alone"),
            "{refusal}"
        );
    }
    for query in [
        "",
        "watch=true",
        "labelSelector=",
        "labelSelector=openchoreo.dev/managed-by",
        "labelSelector=openchoreo.dev/managed-by%21%3Dworkflowrun-controller",
        "labelSelector=%21openchoreo.dev/managed-by",
        "labelSelector=openchoreo.dev/managed-by%3Dworkflowrun-controller2",
        "labelSelector=openchoreo.dev/managed-by%3D",
        "labelSelector=xopenchoreo.dev/managed-by%3Dworkflowrun-controller",
        "labelSelector=a+in+(b,openchoreo.dev/managed-by%3Dworkflowrun-controller,c)",
        "labelSelector=a+notin+(b,openchoreo.dev/managed-by=workflowrun-controller,c)",
        "LabelSelector=openchoreo.dev/managed-by%3Dworkflowrun-controller",
        "fieldSelector=openchoreo.dev/managed-by%3Dworkflowrun-controller",
        "labelSelector=x&labelSelector=openchoreo.dev/managed-by%3Dworkflowrun-controller",
        "labelSelector=openchoreo.dev/managed-by%3Dworkflowrun-controller&labelSelector=x",
    ] {
        let refused = decide(CLUSTER, "GET", &format!("{all}?{query}"));
        assert!(refused.as_ref().is_err_and(|refusal| refusal.contains("rule ")), "{query}: {refused:?}");
    }
    // Nothing but Workflows, and nothing but looking.
    for (method, target) in [
        ("GET", "/api/v1/pods"),
        ("GET", "/api/v1/secrets"),
        ("GET", "/apis/external-secrets.io/v1/externalsecrets"),
        ("GET", "/api/v1/namespaces"),
        ("DELETE", all),
        ("POST", all),
        ("GET", "/apis/argoproj.io/v1alpha1/namespaces/kube-system/workflows"),
    ] {
        assert!(decide(CLUSTER, method, &format!("{target}?{ours}")).is_err(), "{method} {target}");
    }
}

#[test]
fn options_that_nobody_listed_are_refused() {
    let ns = "/api/v1/namespaces/openchoreo-ci-team";
    let workflow = "/apis/argoproj.io/v1alpha1/namespaces/openchoreo-ci-team/workflows/x";
    for (method, target) in [
        ("GET", format!("{ns}/pods/x/log?insecureSkipTLSVerifyBackend=true")),
        ("GET", format!("{ns}/pods/x/log?container=a&container=b")),
        ("GET", format!("{ns}/pods?limit=1&limit=2")),
        ("GET", format!("{ns}/pods?command=sh")),
        ("GET", format!("{ns}/pods?shardSelector=x")),
        ("PATCH", format!("{workflow}?dryRun=None")),
        ("PATCH", format!("{workflow}?dryRun=All&dryRun=")),
        ("PATCH", format!("{workflow}?fieldManager=a&fieldManager=b")),
        ("DELETE", format!("{workflow}?ignoreStoreReadErrorWithClusterBreakingPotential=true")),
        ("POST", format!("{ns}/serviceaccounts?propagationPolicy=Orphan")),
        ("GET", "/version?x=y".to_owned()),
    ] {
        let refusal = decide(TEAM, method, &target).unwrap_err();
        assert!(refusal.contains("rule options"), "{target}: {refusal}");
    }
    for (method, target) in [
        ("GET", format!("{ns}/pods?limit=500&fieldSelector=metadata.name%3Dx")),
        ("GET", format!("{ns}/pods/x/log?follow=true&tailLines=10&timestamps=true&container=main")),
        ("PATCH", format!("{workflow}?fieldManager=kubectl&force=true&fieldValidation=Strict&dryRun=All")),
        ("DELETE", format!("{workflow}?propagationPolicy=Background&gracePeriodSeconds=0")),
        ("GET", "/api?timeout=32s".to_owned()),
        ("GET", "/openapi/v3/apis/argoproj.io/v1alpha1?hash=AB&timeout=32s".to_owned()),
    ] {
        assert_eq!(decide(TEAM, method, &target), Ok(Allowed::AsAsked), "{target}");
    }
}

#[test]
fn a_file_that_only_narrows_leaves_the_rest_as_shipped() {
    let policy = Policy::from_yaml("allowedPlanes: [buildplane/team/default]\n").unwrap();
    assert!(policy.allowed_planes.is_narrowed());
    assert_eq!(Policy { allowed_planes: AllowedPlanes::default(), ..policy }, Policy::builds());
    // Half a policy is a slip, not a wish.
    for half in ["paths: [/version]\n", "allowedPlanes: []\ngrants: []\n"] {
        assert!(matches!(Policy::from_yaml(half), Err(InvalidPolicy::Text(_))), "{half}");
    }
    assert!(Policy::from_yaml("rules: []\n").unwrap().rules.is_empty());
}

#[test]
fn an_unknown_key_of_a_policy_is_an_error() {
    let text =
        r#"{"rules":[{"name":"x","scope":"cluster","groups":[""],"resources":["nodes"],"verbs":["get"]}]}"#;
    let policy = Policy::from_yaml(text).unwrap();
    assert!(decide_by(&policy, TEAM, "GET", "/api/v1/nodes/n").is_ok());
    for broken in [
        text.replace("rules", "rule"),
        text.replace("cluster", "everywhere"),
        text.replace("get", "*"),
        "rules: [".to_owned(),
        String::new(),
    ] {
        assert!(Policy::from_yaml(&broken).is_err(), "{broken}");
    }
    let rule = "- {name: x, scope: cluster, groups: [], resources: [], verbs: []}\n";
    assert!(matches!(
        Policy::from_yaml(&format!("rules:\n{}", rule.repeat(MAX_RULES + 1))),
        Err(InvalidPolicy::TooLong)
    ));
}

#[test]
fn the_reference_shows_the_shipped_policy_in_full() {
    let reference = include_str!("../../../../docs/reference/agent-policy.md");
    let shown =
        reference.split("```yaml\n").find(|block| block.starts_with("# What custom resources may do"));
    let shown = shown.and_then(|block| block.split("```").next());
    assert_eq!(
        shown,
        Some(Policy::shipped_yaml()),
        "copy crates/agent/src/policy/shipped.yaml into the reference"
    );
    assert!(!Policy::builds().allowed_planes.is_narrowed());
}

#[test]
fn the_shipped_policy_grants_nothing_that_leads_further() {
    for rule in Policy::builds().rules {
        for resource in &rule.resources {
            assert!(
                !resource.contains('*') && !rule.groups.iter().any(|group| group.contains('*')),
                "{}",
                rule.name
            );
            let parts: Vec<&str> = resource.split('/').collect();
            assert!(
                !["secrets", "clusterroles", "clusterrolebindings", "nodes"].contains(&parts[0]),
                "{resource}"
            );
            assert!(parts.get(1).is_none_or(|subresource| *subresource == "log"), "{resource}");
        }
    }
}

mod bodies;
