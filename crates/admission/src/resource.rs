//! What may stand beside a run on a build plane.

use buildplane_api::CiNamespace;
use serde_json::{Map, Value};

use crate::fold::is_field;
use crate::manifest::{self, MAX_BYTES, doubled_keys};
use crate::violation::Violation;

/// The kinds that templates may make: everything else could reach beyond the run.
const KINDS: [(&str, &str, &str); 3] = [
    ("v1", "ConfigMap", "configmaps"),
    ("external-secrets.io/v1", "ExternalSecret", "externalsecrets"),
    ("external-secrets.io/v1beta1", "ExternalSecret", "externalsecrets"),
];

/// Nesting beyond this is refused; no manifest needs it.
const MAX_DEPTH: usize = 64;

/// An object that may stand beside a run.
#[derive(Debug, Clone, PartialEq)]
pub struct AdmittedResource {
    object: Value,
    api_version: &'static str,
    kind: &'static str,
    plural: &'static str,
    name: String,
}

impl AdmittedResource {
    /// Group and version of the object.
    pub fn api_version(&self) -> &'static str {
        self.api_version
    }

    /// Kind of the object.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// The kind's word in paths.
    pub fn plural(&self) -> &'static str {
        self.plural
    }

    /// Name of the object.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The object, in its namespace.
    pub fn into_object(self) -> Value {
        self.object
    }
}

/// The kind's word in paths, for a kind that templates may make.
pub fn plural_of(api_version: &str, kind: &str) -> Option<&'static str> {
    let known = KINDS.iter().find(|(version, name, _)| (*version, *name) == (api_version, kind));
    known.map(|(_, _, plural)| *plural)
}

/// Judges what the resource template `id` rendered, for a plane whose secrets are in the cluster's store `store`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn judge_resource(
    id: &str,
    mut object: Value,
    namespace: &CiNamespace,
    store: &str,
) -> Result<AdmittedResource, Vec<Violation>> {
    let root = format!("resources[{id}]");
    if object.to_string().len() > MAX_BYTES {
        return Err(vec![Violation::new(root, format!("is larger than {MAX_BYTES} bytes"))]);
    }
    let mut violations = Vec::new();
    let Some(identity) = manifest::judge(&mut object, &root, namespace, &mut violations) else {
        return Err(violations);
    };
    let known = KINDS.iter().find(|(version, kind, _)| {
        (*version, *kind) == (identity.api_version.as_str(), identity.kind.as_str())
    });
    let Some(&(api_version, kind, plural)) = known else {
        let allowed: Vec<String> =
            KINDS.iter().map(|(version, kind, _)| format!("{version} {kind}")).collect();
        let message = format!(
            "{} {} may not be made by a Workflow, only {}; ask the owner of the build plane to make it",
            identity.api_version,
            identity.kind,
            allowed.join(", ")
        );
        violations.push(Violation::new(root, message));
        return Err(violations);
    };
    if object.get("status").is_some() {
        violations.push(Violation::new(format!("{root}.status"), "may not be set by a template; remove it"));
    }
    if kind == "ExternalSecret" {
        external_secret(&object, &root, &mut violations);
        stores(&object, &root, store, 0, &mut violations);
    }
    if violations.is_empty() {
        Ok(AdmittedResource { object, api_version, kind, plural, name: identity.name })
    } else {
        Err(violations)
    }
}

/// An ExternalSecret makes a Secret of its own: it neither takes over another one nor makes another kind.
fn external_secret(object: &Value, root: &str, violations: &mut Vec<Violation>) {
    let target = field(object.get("spec"), "target");
    for (key, value) in target.and_then(Value::as_object).into_iter().flatten() {
        let path = format!("{root}.spec.target.{key}");
        if is_field(key, "manifest") {
            violations.push(Violation::new(path, "is not allowed: only Secrets may be made"));
        } else if is_field(key, "creationPolicy") && value.as_str() != Some("Owner") {
            violations.push(Violation::new(path, "must be Owner, so that the Secret goes with the run"));
        }
    }
}

/// An ExternalSecret reads the plane's own store, or one that stands in its namespace, wherever it names one.
fn stores(value: &Value, path: &str, store: &str, depth: usize, violations: &mut Vec<Violation>) {
    match value {
        Value::Object(_) | Value::Array(_) if depth > MAX_DEPTH => {
            violations.push(Violation::new(path, format!("is nested deeper than {MAX_DEPTH} levels")));
        }
        Value::Object(fields) => {
            for doubled in doubled_keys(fields) {
                violations
                    .push(Violation::new(format!("{path}.{doubled}"), "is there twice, in different case"));
            }
            for (key, value) in fields {
                let path = format!("{path}.{key}");
                if is_field(key, "generatorRef") && !value.is_null() {
                    violations
                        .push(Violation::new(path, "is not allowed: it acts under the plane's credentials"));
                } else if is_field(key, "secretStoreRef") || is_field(key, "storeRef") {
                    store_reference(value, &path, store, violations);
                } else {
                    stores(value, &path, store, depth + 1, violations);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                stores(item, &format!("{path}[{index}]"), store, depth + 1, violations);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn store_reference(value: &Value, path: &str, store: &str, violations: &mut Vec<Violation>) {
    let doubled = value.as_object().map(doubled_keys).unwrap_or_default();
    let text = |name| field(Some(value), name).and_then(Value::as_str).unwrap_or_default();
    let is_own = match text("kind") {
        "ClusterSecretStore" => text("name") == store,
        "SecretStore" | "" => true,
        _ => false,
    };
    if !is_own || !doubled.is_empty() {
        violations.push(Violation::new(
            path,
            format!("must be ClusterSecretStore {store}, the store of the build plane; write ${{workflowplane.secretStore}}"),
        ));
    }
}

fn field<'a>(object: Option<&'a Value>, name: &str) -> Option<&'a Value> {
    let fields: &Map<String, Value> = object?.as_object()?;
    fields.iter().find(|(key, _)| is_field(key, name)).map(|(_, value)| value)
}

#[cfg(test)]
mod tests;
