//! The objects of a run on its build plane.

use buildplane_admission::{AdmittedResource, SERVICE_ACCOUNT};
use buildplane_api::WorkflowRun;
use buildplane_api::meta::{annotation, label};
use buildplane_api::run::ResourceReference;
use serde_json::{Map, Value, json};

use super::validate::Validated;

/// Everything that a run puts onto its build plane, in the order in which it is created.
#[derive(Debug)]
pub(super) struct Objects {
    /// Where the run's objects stand.
    pub(super) namespace: Prerequisite,
    /// What all runs of the namespace share.
    pub(super) prerequisites: Vec<Prerequisite>,
    /// What the run's templates made.
    pub(super) resources: Vec<Owned>,
    /// The run itself.
    pub(super) run: Owned,
}

/// An object that is created once and never changed.
#[derive(Debug)]
pub(super) struct Prerequisite {
    /// The path that it is created under.
    pub(super) path: String,
    pub(super) object: Value,
}

/// An object that belongs to a run.
#[derive(Debug)]
pub(super) struct Owned {
    /// The path that it is created under.
    pub(super) path: String,
    pub(super) reference: ResourceReference,
    pub(super) object: Value,
}

pub(super) fn build(run: &WorkflowRun, validated: Validated) -> Objects {
    let namespace = validated.namespace.as_str().to_owned();
    let resources =
        validated.resources.into_iter().map(|resource| own_resource(run, &namespace, resource)).collect();
    let name = validated.run.name().to_owned();
    let mut object = validated.run.into_object();
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        // Holding and ending are the run's own fields; a template that set them would be undone at once.
        spec.retain(|key, _| !key.eq_ignore_ascii_case("suspend") && !key.eq_ignore_ascii_case("shutdown"));
        if run.spec.suspend {
            spec.insert("suspend".to_owned(), true.into());
        }
    }
    own(run, &mut object);
    let reference = ResourceReference {
        api_version: "argoproj.io/v1alpha1".to_owned(),
        kind: "Workflow".to_owned(),
        namespace: Some(namespace.clone()),
        name,
    };
    let path = format!("/apis/argoproj.io/v1alpha1/namespaces/{namespace}/workflows");
    Objects {
        namespace: ci_namespace(&namespace),
        prerequisites: prerequisites(&namespace),
        resources,
        run: Owned { path, reference, object },
    }
}

fn own_resource(run: &WorkflowRun, namespace: &str, resource: AdmittedResource) -> Owned {
    let reference = ResourceReference {
        api_version: resource.api_version().to_owned(),
        kind: resource.kind().to_owned(),
        namespace: Some(namespace.to_owned()),
        name: resource.name().to_owned(),
    };
    let path = collection(resource.api_version(), namespace, resource.plural());
    let mut object = resource.into_object();
    own(run, &mut object);
    Owned { path, reference, object }
}

/// The path of a namespaced collection.
pub(super) fn collection(api_version: &str, namespace: &str, plural: &str) -> String {
    let root = if api_version.contains('/') { "apis" } else { "api" };
    format!("/{root}/{api_version}/namespaces/{namespace}/{plural}")
}

/// Marks an object as the run's.
fn own(run: &WorkflowRun, object: &mut Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let (name, namespace) = (run.metadata.name.as_deref(), run.metadata.namespace.as_deref());
    let labels = entries(metadata, "labels");
    labels.insert(label::WORKFLOW_RUN.to_owned(), name.unwrap_or_default().into());
    labels.insert(label::WORKFLOW_RUN_NAMESPACE.to_owned(), namespace.unwrap_or_default().into());
    labels.insert(label::MANAGED_BY.to_owned(), label::MANAGED_BY_RUNS.into());
    let uid = run.metadata.uid.as_deref().unwrap_or_default();
    entries(metadata, "annotations").insert(annotation::WORKFLOW_RUN_UID.to_owned(), uid.into());
}

fn entries<'a>(metadata: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let value = metadata.entry(key).or_insert_with(|| Value::Object(Map::new()));
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(entries) => entries,
        _ => unreachable!("it was just made an object"),
    }
}

fn ci_namespace(name: &str) -> Prerequisite {
    Prerequisite {
        path: "/api/v1/namespaces".to_owned(),
        object: json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": {label::MANAGED_BY: label::MANAGED_BY_RUNS}},
        }),
    }
}

/// The account of builds without a token, and the one thing that Argo's executor does under it.
fn prerequisites(namespace: &str) -> Vec<Prerequisite> {
    const RBAC: &str = "rbac.authorization.k8s.io/v1";
    let managed = json!({label::MANAGED_BY: label::MANAGED_BY_RUNS});
    let role = format!("{SERVICE_ACCOUNT}-role");
    let binding = format!("{SERVICE_ACCOUNT}-role-binding");
    vec![
        Prerequisite {
            path: collection("v1", namespace, "serviceaccounts"),
            object: json!({
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": SERVICE_ACCOUNT, "namespace": namespace, "labels": managed},
                "automountServiceAccountToken": false,
            }),
        },
        Prerequisite {
            path: collection(RBAC, namespace, "roles"),
            object: json!({
                "apiVersion": RBAC,
                "kind": "Role",
                "metadata": {"name": role, "namespace": namespace, "labels": managed},
                "rules": [{
                    "apiGroups": ["argoproj.io"],
                    "resources": ["workflowtaskresults"],
                    "verbs": ["create", "patch"],
                }],
            }),
        },
        Prerequisite {
            path: collection(RBAC, namespace, "rolebindings"),
            object: json!({
                "apiVersion": RBAC,
                "kind": "RoleBinding",
                "metadata": {"name": binding, "namespace": namespace, "labels": managed},
                "subjects": [{"kind": "ServiceAccount", "name": SERVICE_ACCOUNT, "namespace": namespace}],
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
            }),
        },
    ]
}

#[cfg(test)]
mod tests;
