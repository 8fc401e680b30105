use serde_json::json;

use super::*;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/openchoreo-ci-team";

/// Decides about a request with its body, as the agent does.
fn write(cr: &str, method: &str, target: &str, body: &Value) -> Result<(), String> {
    match decide(cr, method, target)? {
        Allowed::AsAsked => panic!("{target} is not judged by its body"),
        Allowed::WithBody(rule) => {
            let cr = cr.parse().map_err(|error: buildplane_api::NameError| error.to_string())?;
            Policy::builds().decide_body(&cr, &rule, body).map_err(|refusal| refusal.to_string())
        }
    }
}

#[test]
fn a_namespace_is_created_under_its_own_name_only() {
    for (cr, name, allowed) in [
        (TEAM, "openchoreo-ci-team", true),
        (TEAM, "openchoreo-ci-other", false),
        (TEAM, "kube-system", false),
        (TEAM, "", false),
        (CLUSTER, "openchoreo-ci-other", true),
        (CLUSTER, "openchoreo-ci-", false),
        (CLUSTER, "openchoreo-build-plane", false),
    ] {
        let judged = write(cr, "POST", "/api/v1/namespaces", &json!({"metadata": {"name": name}}));
        assert_eq!(judged.is_ok(), allowed, "{cr} {name}: {judged:?}");
    }
}

#[test]
fn a_namespace_configures_nothing_of_the_cluster() {
    let of = |metadata: Value| {
        let mut body = json!({"metadata": {"name": "openchoreo-ci-team"}, "spec": {}, "status": {}});
        body["metadata"].as_object_mut().unwrap().append(&mut metadata.as_object().unwrap().clone());
        body
    };
    for metadata in [
        json!({"labels": {"openchoreo.dev/managed-by": "workflowrun-controller"}, "creationTimestamp": null}),
        json!({"labels": {"kubernetes.io/metadata.name": "openchoreo-ci-team"}, "annotations": null}),
    ] {
        assert_eq!(write(TEAM, "POST", "/api/v1/namespaces", &of(metadata)), Ok(()));
    }
    for metadata in [
        json!({"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}),
        json!({"labels": {"kubernetes.io/metadata.name": "kube-system"}}),
        json!({"labels": {"istio-injection": "disabled"}}),
        json!({"labels": ["x"]}),
        json!({"annotations": {"scheduler.alpha.kubernetes.io/node-selector": "x=y"}}),
        json!({"finalizers": ["never"]}),
        json!({"generateName": "openchoreo-ci-"}),
        json!({"ownerReferences": []}),
    ] {
        let refused = write(TEAM, "POST", "/api/v1/namespaces", &of(metadata.clone()));
        assert!(refused.is_err_and(|refusal| refusal.contains("rule bodies")), "{metadata}");
    }
    for body in [
        json!({"metadata": {"name": "openchoreo-ci-team"}, "spec": {"finalizers": ["never"]}}),
        json!({"metadata": []}),
        json!([]),
        json!(null),
    ] {
        assert!(write(TEAM, "POST", "/api/v1/namespaces", &body).is_err(), "{body}");
    }
}

#[test]
fn a_role_grants_what_the_policy_lists_only() {
    let roles = format!("{RBAC}/roles");
    let of = |rules: Value| json!({"metadata": {"name": "x"}, "rules": rules});
    let needed = json!([{"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"]}]);
    assert_eq!(write(TEAM, "POST", &roles, &of(needed)), Ok(()));
    assert_eq!(write(TEAM, "POST", &roles, &of(json!(null))), Ok(()));
    for rules in [
        json!([{"apiGroups": ["argoproj.io"], "resources": ["workflows"], "verbs": ["create"]}]),
        json!([{"apiGroups": ["argoproj.io", ""], "resources": ["workflowtaskresults"], "verbs": ["create"]}]),
        json!([{"apiGroups": ["*"], "resources": ["workflowtaskresults"], "verbs": ["create"]}]),
        json!([{"apiGroups": ["argoproj.io"], "resources": ["*"], "verbs": ["create"]}]),
        json!([{"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["*"]}]),
        json!([{"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["get"]}]),
        json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]),
        json!([{"nonResourceURLs": ["/"], "verbs": ["get"]}]),
        json!([[]]),
        json!({"a": "b"}),
        json!([{"apiGroups": "argoproj.io", "resources": ["workflowtaskresults"], "verbs": ["create"]}]),
    ] {
        assert!(write(TEAM, "POST", &roles, &of(rules.clone())).is_err(), "{rules}");
    }
    let aggregated = json!({"metadata": {"name": "x"}, "aggregationRule": {}});
    assert!(write(TEAM, "POST", &roles, &aggregated).is_err());
}

#[test]
fn a_role_binding_names_accounts_of_its_own_namespace_only() {
    let bindings = format!("{RBAC}/rolebindings");
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "x"});
    let account = json!({"kind": "ServiceAccount", "name": "workflow-sa", "namespace": "openchoreo-ci-team"});
    let of = |role: &Value, subject: Value| json!({"metadata": {"name": "x"}, "roleRef": role, "subjects": [subject]});
    assert_eq!(write(TEAM, "POST", &bindings, &of(&role, account.clone())), Ok(()));
    for subject in [
        json!({"kind": "ServiceAccount", "name": "x", "namespace": "kube-system"}),
        json!({"kind": "ServiceAccount", "name": "x"}),
        json!({"kind": "User", "name": "system:anonymous", "namespace": "openchoreo-ci-team"}),
        json!({"kind": "Group", "name": "system:unauthenticated"}),
        json!("x"),
    ] {
        assert!(write(TEAM, "POST", &bindings, &of(&role, subject.clone())).is_err(), "{subject}");
    }
    for role in [
        json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "buildplane-agent"}),
        json!({"kind": "Role", "name": "x"}),
        json!(null),
    ] {
        assert!(write(TEAM, "POST", &bindings, &of(&role, account.clone())).is_err(), "{role}");
    }
}

#[test]
fn what_cannot_be_judged_is_not_allowed_by_any_policy() {
    let shipped = Policy::shipped_yaml().replace("[get, create]", "[get, create, update, patch]");
    let policy = Policy::from_yaml(&shipped).unwrap();
    for target in [
        format!("{RBAC}/roles/x"),
        format!("{RBAC}/rolebindings/x"),
        "/api/v1/namespaces/openchoreo-ci-team".to_owned(),
    ] {
        let refusal = decide_by(&policy, TEAM, "PATCH", &target).unwrap_err();
        assert!(refusal.contains("rule bodies allows no patch"), "{refusal}");
        assert!(matches!(decide_by(&policy, TEAM, "PUT", &target), Ok(Allowed::WithBody(_))), "{target}");
    }
}
