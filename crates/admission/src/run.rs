//! What a run may start on a build plane.

use buildplane_api::CiNamespace;
use buildplane_api::names::MAX_LABEL_LENGTH;
use serde_json::Value;

use crate::fold::is_field;
use crate::manifest::{self, MAX_BYTES};
use crate::violation::Violation;
use crate::walk;

/// The account under which builds run. It has no token and may report results, nothing else.
pub const SERVICE_ACCOUNT: &str = "workflow-sa";

const API_VERSION: &str = "argoproj.io/v1alpha1";
const KIND: &str = "Workflow";

/// An Argo Workflow that may run.
#[derive(Debug, Clone, PartialEq)]
pub struct AdmittedRun {
    object: Value,
    name: String,
}

impl AdmittedRun {
    /// The name of the Workflow.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The Workflow: in its namespace, under the account of builds, without a token.
    pub fn into_object(self) -> Value {
        self.object
    }
}

/// Judges what a run template rendered.
///
/// # Errors
/// Everything that is wrong with it.
pub fn judge_run(mut object: Value, namespace: &CiNamespace) -> Result<AdmittedRun, Vec<Violation>> {
    const ROOT: &str = "runTemplate";
    let mut violations = Vec::new();
    if object.to_string().len() > MAX_BYTES {
        return Err(vec![Violation::new(ROOT, format!("is larger than {MAX_BYTES} bytes"))]);
    }
    let identity = manifest::judge(&mut object, ROOT, namespace, &mut violations);
    if let Some(identity) = &identity {
        if (identity.api_version.as_str(), identity.kind.as_str()) != (API_VERSION, KIND) {
            let message =
                format!("must be {API_VERSION} {KIND}, not {} {}", identity.api_version, identity.kind);
            violations.push(Violation::new(ROOT, message));
        }
        if identity.name.len() > MAX_LABEL_LENGTH {
            violations.push(Violation::new(
                format!("{ROOT}.metadata.name"),
                format!(
                    "has {} characters, at most {MAX_LABEL_LENGTH} fit into a label",
                    identity.name.len()
                ),
            ));
        }
    }
    for key in object.as_object().into_iter().flat_map(serde_json::Map::keys) {
        if !["apiVersion", "kind", "metadata", "spec"].contains(&key.as_str()) {
            violations
                .push(Violation::new(format!("{ROOT}.{key}"), "may not be set by a template; remove it"));
        }
    }
    match object.get("spec") {
        Some(spec @ Value::Object(_)) => walk::judge(spec, &format!("{ROOT}.spec"), &mut violations),
        _ => violations.push(Violation::new(format!("{ROOT}.spec"), "is missing")),
    }
    match identity {
        Some(identity) if violations.is_empty() => {
            Ok(AdmittedRun { object: confine(object), name: identity.name })
        }
        _ => Err(violations),
    }
}

/// Says expressly what was left out.
fn confine(mut object: Value) -> Value {
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        // Whatever case they came in: a second spelling beside ours would leave open which one is read.
        spec.retain(|key, _| {
            !is_field(key, "serviceAccountName") && !is_field(key, "automountServiceAccountToken")
        });
        spec.insert("serviceAccountName".to_owned(), SERVICE_ACCOUNT.into());
        spec.insert("automountServiceAccountToken".to_owned(), false.into());
    }
    object
}

#[cfg(test)]
mod tests;
