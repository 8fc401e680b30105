//! What every cluster has from its first moment.

use buildplane_store::WriteError;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::kinds::RBAC_GROUP;
use crate::server::Api;
use crate::verbs;

/// Namespaces and roles that are missing are written.
pub(crate) async fn seed(api: &Api) -> Result<(), WriteError> {
    let now = Timestamp::now();
    for object in objects() {
        let kinds = api.kinds();
        let (api_version, kind) = (object["apiVersion"].as_str(), object["kind"].as_str());
        if let Some(kind) = kinds.find_kind(api_version.unwrap_or_default(), kind.unwrap_or_default()) {
            verbs::seed(api, kind, object, now).await?;
        }
    }
    Ok(())
}

fn objects() -> Vec<Value> {
    let mut objects: Vec<Value> = ["default", "kube-node-lease", "kube-public", "kube-system"]
        .into_iter()
        .map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
        .collect();
    let all = json!(["*"]);
    let read = json!(["get", "list", "watch"]);
    let write = json!(["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]);
    let namespaced =
        json!(["configmaps", "events", "persistentvolumeclaims", "pods", "pods/log", "serviceaccounts"]);
    let roles = [
        (
            "cluster-admin",
            json!([
                {"apiGroups": all, "resources": all, "verbs": all},
                {"nonResourceURLs": all, "verbs": all},
            ]),
        ),
        (
            "admin",
            json!([
                {"apiGroups": [""], "resources": namespaced, "verbs": write},
                {"apiGroups": [""], "resources": ["secrets"], "verbs": write},
                {"apiGroups": [""], "resources": ["namespaces"], "verbs": read},
                {"apiGroups": [RBAC_GROUP], "resources": ["roles", "rolebindings"], "verbs": write},
                {"apiGroups": ["authorization.k8s.io"], "resources": ["localsubjectaccessreviews"], "verbs": ["create"]},
            ]),
        ),
        (
            "edit",
            json!([
                {"apiGroups": [""], "resources": namespaced, "verbs": write},
                {"apiGroups": [""], "resources": ["secrets"], "verbs": write},
                {"apiGroups": [""], "resources": ["namespaces"], "verbs": read},
            ]),
        ),
        (
            "view",
            json!([
                {"apiGroups": [""], "resources": namespaced, "verbs": read},
                {"apiGroups": [""], "resources": ["namespaces"], "verbs": read},
            ]),
        ),
    ];
    for (name, rules) in roles {
        let mut role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}},
            "rules": rules,
        });
        if name != "cluster-admin" {
            let label = format!("rbac.authorization.k8s.io/aggregate-to-{name}");
            role["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]});
        }
        objects.push(role);
    }
    objects.push(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "cluster-admin", "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}},
        "roleRef": {"apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": RBAC_GROUP, "kind": "Group", "name": "system:masters"}],
    }));
    objects
}
