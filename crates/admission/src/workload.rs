//! What a build may bring back.

use std::collections::BTreeMap;

use buildplane_api::Workload;
use buildplane_api::meta::{API_VERSION, label};
use buildplane_api::names::is_subdomain;
use buildplane_api::workload::WorkloadSpec;
use serde_json::{Map, Value};

/// Why the Workload that a build produced is not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkloadRefusal {
    /// It is not for a component.
    #[error(
        "the run builds no component: it has no labels {} and {}, so that nothing it produces can be stored",
        label::PROJECT,
        label::COMPONENT
    )]
    NoComponent,
    /// It is something else.
    #[error("the output is no {API_VERSION} Workload")]
    NotAWorkload,
    /// A field has the wrong type or is missing.
    #[error("the output is no Workload: {0}")]
    Malformed(String),
    /// It has no usable name.
    #[error("the Workload has no usable metadata.name")]
    NoName,
    /// It belongs to another component.
    #[error(
        "the Workload is for component {owner}, but the run builds {built}; a build may store its own alone"
    )]
    ForeignComponent {
        /// Whose it says it is.
        owner: String,
        /// What the run builds.
        built: String,
    },
}

/// Judges the Workload that a build produced, for a run with the given labels.
///
/// Takes name, labels, annotations and spec from it, nothing else.
///
/// # Errors
/// Why it is not taken.
pub fn judge_workload(
    produced: &Value,
    run_labels: &BTreeMap<String, String>,
    namespace: &str,
) -> Result<Workload, WorkloadRefusal> {
    let (Some(project), Some(component)) = (run_labels.get(label::PROJECT), run_labels.get(label::COMPONENT))
    else {
        return Err(WorkloadRefusal::NoComponent);
    };
    let text = |pointer| produced.pointer(pointer).and_then(Value::as_str);
    if (text("/apiVersion"), text("/kind")) != (Some(API_VERSION), Some("Workload")) {
        return Err(WorkloadRefusal::NotAWorkload);
    }
    let name = text("/metadata/name").filter(|name| is_subdomain(name)).ok_or(WorkloadRefusal::NoName)?;
    let spec: WorkloadSpec = produced
        .get("spec")
        .cloned()
        .ok_or_else(|| WorkloadRefusal::Malformed("spec is missing".to_owned()))
        .and_then(|spec| {
            serde_json::from_value(spec).map_err(|e| WorkloadRefusal::Malformed(e.to_string()))
        })?;
    if (&spec.owner.project_name, &spec.owner.component_name) != (project, component) {
        return Err(WorkloadRefusal::ForeignComponent {
            owner: format!("{}/{}", spec.owner.project_name, spec.owner.component_name),
            built: format!("{project}/{component}"),
        });
    }
    let mut workload = Workload::new(name, spec);
    workload.metadata.namespace = Some(namespace.to_owned());
    workload.metadata.labels = texts(produced.pointer("/metadata/labels"));
    workload.metadata.annotations = texts(produced.pointer("/metadata/annotations"));
    Ok(workload)
}

fn texts(value: Option<&Value>) -> Option<BTreeMap<String, String>> {
    let entries: &Map<String, Value> = value?.as_object()?;
    let texts = entries.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    Some(texts.collect()).filter(|texts: &BTreeMap<_, _>| !texts.is_empty())
}

#[cfg(test)]
mod tests;
