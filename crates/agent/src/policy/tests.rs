use http::Method;

use buildplane_wire::{AllowedPlanes, CanonicalPath, CanonicalQuery};

use super::*;

const TEAM: &str = "buildplane/team/default";
const CLUSTER: &str = "clusterbuildplane/_cluster/default";

fn attributes(method: &str, target: &str) -> Result<Attributes, String> {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let path = CanonicalPath::parse(path).map_err(|error| error.to_string())?;
    let query = CanonicalQuery::parse(query).map_err(|error| error.to_string())?;
    let method = Method::from_bytes(method.as_bytes()).map_err(|error| error.to_string())?;
    Attributes::read(&method, &path, &query).map_err(|error| error.to_string())
}

fn decide(cr: &str, method: &str, target: &str) -> Result<Allowed, String> {
    let attributes = attributes(method, target)?;
    let cr = cr.parse().map_err(|error: buildplane_api::NameError| error.to_string())?;
    Policy::builds().decide(&cr, &attributes).map_err(|refusal| refusal.to_string())
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
        ("GET", "/apis/argoproj.io/v1alpha1/clusterworkflowtemplates/docker?x=y".to_owned()),
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
fn a_namespace_is_created_under_its_own_name_only() {
    assert_eq!(decide(TEAM, "POST", "/api/v1/namespaces"), Ok(Allowed::NamespaceInBody));
    let policy = Policy::builds();
    for (cr, name, allowed) in [
        (TEAM, "openchoreo-ci-team", true),
        (TEAM, "openchoreo-ci-other", false),
        (TEAM, "kube-system", false),
        (TEAM, "", false),
        (CLUSTER, "openchoreo-ci-other", true),
        (CLUSTER, "openchoreo-ci-", false),
        (CLUSTER, "openchoreo-build-plane", false),
    ] {
        assert_eq!(policy.decide_namespace(&cr.parse().unwrap(), name).is_ok(), allowed, "{cr} {name}");
    }
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
    let version = attributes("GET", "/version").unwrap();
    assert!(policy.decide(&TEAM.parse().unwrap(), &version).is_ok());
    let refusal = policy.decide(&CLUSTER.parse().unwrap(), &version).unwrap_err();
    assert!(refusal.to_string().contains("rule allowedPlanes"), "{refusal}");
}

#[test]
fn an_unknown_key_of_a_policy_is_an_error() {
    let text =
        r#"{"rules":[{"name":"x","scope":"cluster","groups":[""],"resources":["nodes"],"verbs":["get"]}]}"#;
    let policy: Policy = serde_json::from_str(text).unwrap();
    let node = attributes("GET", "/api/v1/nodes/n").unwrap();
    assert!(policy.decide(&TEAM.parse().unwrap(), &node).is_ok());
    for broken in
        [text.replace("rules", "rule"), text.replace("cluster", "everywhere"), text.replace("get", "*")]
    {
        assert!(serde_json::from_str::<Policy>(&broken).is_err(), "{broken}");
    }
}
