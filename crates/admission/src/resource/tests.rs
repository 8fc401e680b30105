use serde_json::json;

use super::*;

fn judge(object: Value) -> Result<AdmittedResource, Vec<Violation>> {
    judge_resource("r", object, &CiNamespace::parse("openchoreo-ci-org").unwrap_or_else(|| unreachable!()))
}

#[test]
fn config_maps_and_external_secrets_are_put_into_the_namespace() {
    for (api_version, kind, plural) in KINDS {
        let object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"},
            "spec": {"target": {"name": "a", "creationPolicy": "Owner"}}});
        let admitted = judge(object).expect("admitted");
        assert_eq!((admitted.kind(), admitted.plural(), admitted.name()), (kind, plural, "a"));
        assert_eq!(admitted.into_object()["metadata"]["namespace"], "openchoreo-ci-org");
    }
}

#[test]
fn everything_else_is_refused() {
    let meta = json!({"name": "a"});
    for object in [
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": meta}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": meta}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": meta}),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta}),
        json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": meta}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "kube-system"}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "-a"}}),
        json!({"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "metadata": meta,
            "spec": {"target": {"creationPolicy": "Merge"}}}),
        json!({"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "metadata": meta,
            "spec": {"target": {"manifest": {"kind": "Role"}}}}),
        json!({"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "metadata": meta,
            "status": {"refreshTime": "x"}}),
        json!("text"),
        json!({"kind": "ConfigMap"}),
    ] {
        assert!(judge(object.clone()).is_err(), "{object}");
    }
}
