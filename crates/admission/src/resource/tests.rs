use serde_json::json;

use super::*;

fn judge(object: Value) -> Result<AdmittedResource, Vec<Violation>> {
    let namespace = CiNamespace::parse("openchoreo-ci-org").unwrap_or_else(|| unreachable!());
    judge_resource("r", object, &namespace, "vault")
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

#[test]
fn an_external_secret_reads_the_store_of_its_plane_alone() {
    let own = json!({"kind": "ClusterSecretStore", "name": "vault"});
    let other = json!({"kind": "ClusterSecretStore", "name": "platform"});
    let spec = |spec: Value| json!({"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "metadata": {"name": "a"}, "spec": spec});
    for (expected, object) in [
        (true, json!({"secretStoreRef": own})),
        (true, json!({"secretStoreRef": {"kind": "SecretStore", "name": "of-the-namespace"}})),
        (true, json!({"secretStoreRef": own, "data": [{"sourceRef": {"storeRef": own}}]})),
        (false, json!({"secretStoreRef": other})),
        (false, json!({"SecretStoreRef": other})),
        (false, json!({"secretStoreRef": own, "secretstoreref": other})),
        (
            false,
            json!({"secretStoreRef": {"kind": "SecretStore", "Kind": "ClusterSecretStore", "name": "x"}}),
        ),
        (false, json!({"secretStoreRef": {"kind": "Other", "name": "vault"}})),
        (false, json!({"secretStoreRef": own, "data": [{"sourceRef": {"storeRef": other}}]})),
        (false, json!({"secretStoreRef": own, "dataFrom": [{"sourceRef": {"storeRef": other}}]})),
        (
            false,
            json!({"dataFrom": [{"sourceRef": {"generatorRef": {"kind": "ECRAuthorizationToken", "name": "x"}}}]}),
        ),
    ] {
        assert_eq!(judge(spec(object.clone())).is_ok(), expected, "{object}");
    }
}
